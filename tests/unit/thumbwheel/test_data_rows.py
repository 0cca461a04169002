from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from thumbwheel import ledger as words
from thumbwheel.errors import LostRace
from thumbwheel.eventlog import Record
from thumbwheel.events import FeedbackEvent, InferenceEvent, ProposalEvent
from thumbwheel.ids import DAY_MS, mint_inference_id
from thumbwheel.records import DEFAULT_STAGES, Rollout, Run
from thumbwheel.store import data_rows, dead_letter_rows, ingestion, release_rows, schema
from thumbwheel.store.connection import Store
from thumbwheel.store.dead_letter_rows import DeadLetter


@pytest.fixture
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    yield opened
    opened.close()


def inference(id_: str = "inf-1", **fields: Any) -> InferenceEvent:
    given_fields = {
        "tenant": "shop",
        "channel": "support",
        "unit": "u1",
        "at_ms": 100,
        "assigned": "rel-1",
        "role": "stable",
        "served_by": "rel-1",
        "status": "ok",
        "messages": [{"role": "user", "content": "it faded"}],
        "answer": "Oh.",
    }
    return InferenceEvent(id=id_, **{**given_fields, **fields})


def feedback(id_: str = "fb-1", on: str = "inf-1", **fields: Any) -> FeedbackEvent:
    given_fields = {"tenant": "shop", "channel": "support", "at_ms": 200, "correction": "Free return."}
    return FeedbackEvent(id=id_, inference=on, **{**given_fields, **fields})


def ingest(store: Store, *events: InferenceEvent | FeedbackEvent, start: int = 1) -> None:
    with store.write() as tx:
        ingestion.ingest(
            tx,
            [event for event in events if isinstance(event, InferenceEvent)],
            [(start + i, event) for i, event in enumerate(events) if isinstance(event, FeedbackEvent)],
        )


def standing(store: Store, id_: str = "fb-1") -> tuple[str, str | None]:
    with store.read() as tx:
        row = data_rows.feedback_row(tx, id_)
    assert row is not None
    return row.state, row.reason


def test_which_feedback_is_known_and_what_became_of_a_request(store: Store) -> None:
    old = mint_inference_id("chatcmpl", "support", "shop", 0, b"s" * 32, entropy=b"e" * 10)
    imported = inference(old, status="imported", assigned="imported", role="imported", served_by="imported")
    ingest(store, inference(), imported, feedback(), feedback("fb-2", on=old))
    assert standing(store, "fb-2") == ("waiting", "no_run_yet"), "its day is the first of all"
    with store.read() as tx:
        assert data_rows.known_feedback(tx, ["fb-0", "fb-1", "fb-2"]) == {"fb-1", "fb-2"}
        assert data_rows.known_feedback(tx, []) == set()
        found = [data_rows.status_of(tx, id_) for id_ in ("inf-1", old, "inf-2")]
    assert found == ["ok", "imported", None]


def author(store: Store, id_: str) -> str | None:
    with store.read() as tx:
        row = data_rows.feedback_row(tx, id_)
    assert row is not None
    return row.author


# feedback and inference meet


def test_feedback_waits_for_its_inference_and_takes_its_unit_as_author(store: Store) -> None:
    ingest(store, feedback())
    assert standing(store) == ("waiting", "inference_not_seen")
    ingest(store, inference(unit="u7"))
    assert standing(store) == ("waiting", "no_run_yet")
    with store.read() as tx:
        row = data_rows.feedback_row(tx, "fb-1")
    assert row is not None and row.author == "u7" and row.correction == "Free return."


def test_a_named_author_stays(store: Store) -> None:
    ingest(store, inference(), feedback(author="ann"))
    with store.read() as tx:
        row = data_rows.feedback_row(tx, "fb-1")
    assert row is not None and row.author == "ann"


def test_a_thumb_without_a_correction_waits_for_one(store: Store) -> None:
    ingest(store, inference(), feedback(correction=None, thumb="down"))
    assert standing(store) == ("waiting", "no_correction")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainable": False}, "training_not_permitted"),
        ({"messages": None, "answer": None}, "no_text"),
        ({"tenant": "other"}, "foreign"),
        ({"channel": "other"}, "foreign"),
    ],
)
def test_what_may_not_be_learnt_from_is_refused(store: Store, changes: dict[str, Any], reason: str) -> None:
    ingest(store, inference(**changes), feedback())
    assert standing(store) == ("refused", reason)
    assert author(store, "fb-1") == "u1"


def test_every_field_of_an_event_is_in_its_own_column(store: Store) -> None:
    one = inference(
        mint_inference_id("chatcmpl", "support", "shop", 5 * DAY_MS + 1, b"s" * 32),
        **{name: f"an {name}" for name in ("tenant", "channel", "unit", "assigned", "role", "served_by", "rollout")},
        **{name: f"an {name}" for name in ("status", "answer", "finish_reason", "error")},
        **{"at_ms": 1, "prompt_tokens": 2, "completion_tokens": 3, "ttft_ms": 4.5, "e2e_ms": 5.5},
        **{"streamed": True, "trainable": False, "messages": [{"role": "user"}], "flags": ["empty"]},
    )
    said = feedback(
        on=one.id,
        **{name: f"a {name}" for name in ("tenant", "channel", "author", "role", "thumb", "comment", "correction")},
        **{"at_ms": 6, "score": 0.5, "tags": ["a tag"], "metrics": {"solved": True, "cost": 1.5}},
    )
    ingest(store, one, said, start=41)
    with store.read() as tx:
        (row,) = tx.execute(select(schema.inferences)).mappings()
        (told,) = tx.execute(select(schema.feedback)).mappings()
    assert dict(row) == {**{name: getattr(one, name) for name in row if name != "day"}, "day": 5}
    placed = {"seq": 42, "state": "refused", "reason": "foreign", "dataset": None}
    assert dict(told) == {**{name: getattr(said, name) for name in told if name not in placed}, **placed}


def answers(store: Store) -> list[str | None]:
    with store.read() as tx:
        return list(tx.execute(select(schema.inferences.c.answer)).scalars())


def test_the_same_inference_again_changes_nothing(store: Store) -> None:
    ingest(store, inference(answer="first"))
    ingest(store, inference(answer="second"), inference(answer="third"))
    assert answers(store) == ["first"]


def test_within_a_batch_the_first_of_the_same_inference_counts(store: Store) -> None:
    ingest(store, inference(answer="first"), inference(answer="second"))
    assert answers(store) == ["first"]


# superseding


def test_a_later_one_by_the_same_author_supersedes(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1", at_ms=200), feedback("fb-2", at_ms=300))
    assert standing(store, "fb-1") == ("refused", "superseded")
    assert standing(store, "fb-2") == ("waiting", "no_run_yet")
    assert author(store, "fb-1") == "u1"


def test_receipt_decides_not_arrival_in_the_store(store: Store) -> None:
    ingest(store, feedback("fb-2", at_ms=300), feedback("fb-1", at_ms=200))
    ingest(store, inference())
    assert standing(store, "fb-1") == ("refused", "superseded")
    assert standing(store, "fb-2") == ("waiting", "no_run_yet")


def test_at_the_same_millisecond_the_offset_decides(store: Store) -> None:
    ingest(store, inference(), feedback("fb-2"), feedback("fb-1"))
    assert standing(store, "fb-2") == ("refused", "superseded")


def test_another_author_does_not_supersede(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1", author="ann"), feedback("fb-2", author="ben", at_ms=300))
    assert standing(store, "fb-1") == standing(store, "fb-2") == ("waiting", "no_run_yet")


def test_naming_the_unit_as_author_is_the_same_author(store: Store) -> None:
    ingest(store, feedback("fb-1", author="u1"), feedback("fb-2", at_ms=300))
    assert standing(store, "fb-1") == ("waiting", "inference_not_seen")
    ingest(store, inference(unit="u1"))
    assert standing(store, "fb-1") == ("refused", "superseded")


def test_saying_the_first_thing_again_makes_it_the_latest(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1", at_ms=200), feedback("fb-2", at_ms=300))
    ingest(store, feedback("fb-1", at_ms=400), start=10)
    assert standing(store, "fb-1") == ("waiting", "no_run_yet")
    assert standing(store, "fb-2") == ("refused", "superseded")


def test_a_replayed_receipt_does_not_go_back_in_time(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1", at_ms=400), start=5)
    ingest(store, feedback("fb-1", at_ms=200), start=1)
    with store.read() as tx:
        row = data_rows.feedback_row(tx, "fb-1")
    assert row is not None and (row.at_ms, row.seq) == (400, 6)


def test_what_a_dataset_holds_stays_used(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1"))
    with store.write() as tx:
        tx.execute(schema.feedback.update().values(state="used", reason=None, dataset="d1"))
    ingest(store, feedback("fb-2", at_ms=300))
    assert standing(store, "fb-1") == ("used", None)
    assert author(store, "fb-1") == "u1"
    assert standing(store, "fb-2") == ("waiting", "no_run_yet")


def test_a_refusal_of_curation_stands_until_superseded(store: Store) -> None:
    ingest(store, inference(), feedback("fb-1"))
    with store.write() as tx:
        tx.execute(schema.feedback.update().values(state="refused", reason="too_short"))
    ingest(store, feedback("fb-2", author="ben", at_ms=300))
    assert standing(store, "fb-1") == ("refused", "too_short")
    assert author(store, "fb-1") == "u1"
    ingest(store, feedback("fb-3", at_ms=400))
    assert standing(store, "fb-1") == ("refused", "superseded")


# the ledger adds up

EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda n, unit, ok, text: inference(
                f"inf-{n}", unit=unit, trainable=ok, **({} if text else {"messages": None, "answer": None})
            ),
            st.integers(0, 3),
            st.sampled_from(["u1", "u2"]),
            st.sampled_from([True, True, False]),
            st.sampled_from([True, True, False]),
        ),
        st.builds(
            lambda n, text, author, at: feedback(
                f"fb-{n}-{author}-{text}", f"inf-{n}", correction=text, author=author, at_ms=at
            ),
            st.integers(0, 3),
            st.sampled_from(["a", "b", None]),
            st.sampled_from([None, "u1", "ann"]),
            st.integers(0, 5),
        ),
    ),
    max_size=25,
)


Placed = tuple[int, InferenceEvent | FeedbackEvent]


@pytest.fixture(scope="module")
def shared(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    yield opened
    opened.close()


def deliver(store: Store, events: list[Placed], cuts: set[int], given_up_ms: int = -1) -> dict[str, Any]:
    """Ingest `events`, each with its offset in the log, in the given order and cut into transactions, from nothing.

    After each transaction, what was received by `given_up_ms` and waits is given up.
    """
    with store.write() as tx:
        tx.execute(schema.feedback.delete())
        tx.execute(schema.inferences.delete())
    bounds = sorted({0, len(events)} | {cut for cut in cuts if cut < len(events)})
    ledger: dict[str, Any] = {"acknowledged": 0}
    for low, high in itertools.pairwise(bounds):
        batch = events[low:high]
        with store.write() as tx:
            ingestion.ingest(
                tx,
                [event for _, event in batch if isinstance(event, InferenceEvent)],
                [(seq, event) for seq, event in batch if isinstance(event, FeedbackEvent)],
            )
            ingestion.give_up(tx, given_up_ms)
            ledger = data_rows.ledger(tx, "support")
        assert ledger["acknowledged"] == ledger["used"] + sum(ledger["refused"].values()) + sum(
            ledger["waiting"].values()
        )
    with store.read() as tx:
        rows = tx.execute(select(schema.feedback).order_by(schema.feedback.c.id)).all()
    return {"ledger": ledger, "rows": [(row.id, row.author, row.at_ms, row.state, row.reason) for row in rows]}


@settings(max_examples=40, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False), st.sets(st.integers(1, 30)))
def test_the_ledger_is_the_same_however_events_interleave(
    shared: Store, events: list[InferenceEvent | FeedbackEvent], order: random.Random, cuts: set[int]
) -> None:
    served = {event.id: event for event in events if isinstance(event, InferenceEvent)}
    log = [(i, served.get(event.id, event)) for i, event in enumerate(events, 1)]  # an inference is served once
    shuffled = [*log, *log[:5]]  # some are delivered twice
    order.shuffle(shuffled)
    in_order = deliver(shared, log, set())
    assert in_order["ledger"]["acknowledged"] == len({event.id for event in events if isinstance(event, FeedbackEvent)})
    assert deliver(shared, shuffled, cuts) == in_order
    # Nor does it matter how often feedback was given up before what it waits for came after all.
    assert deliver(shared, shuffled, cuts, given_up_ms=10) == deliver(shared, log, set(), given_up_ms=10)


def test_the_ledger_counts_a_channel_by_state_and_reason(store: Store) -> None:
    ingest(
        store,
        inference("inf-1"),
        inference("inf-2", trainable=False),
        feedback("fb-1", "inf-1"),
        feedback("fb-2", "inf-2"),
        feedback("fb-3", "inf-3"),
        feedback("fb-4", "inf-3", author="ann", channel="other"),
    )
    with store.read() as tx:
        assert data_rows.ledger(tx, "support") == {
            "acknowledged": 3,
            "used": 0,
            "refused": {"training_not_permitted": 1},
            "waiting": {"inference_not_seen": 1, "no_run_yet": 1},
        }
        assert data_rows.ledger(tx, "nowhere") == {"acknowledged": 0, "used": 0, "refused": {}, "waiting": {}}


# positions


def test_a_partition_has_one_writer(store: Store) -> None:
    with store.write() as tx:
        assert data_rows.take_partition(tx, "feedback", 0) == (1, 0)
        data_rows.advance(tx, "feedback", 0, 1, 0, 7)
    with store.write() as tx:
        assert data_rows.take_partition(tx, "feedback", 0) == (2, 7)
    with pytest.raises(LostRace), store.write() as tx:
        data_rows.advance(tx, "feedback", 0, 1, 7, 8)
    with pytest.raises(LostRace), store.write() as tx:
        data_rows.advance(tx, "feedback", 0, 2, 6, 8)
    with store.read() as tx:
        assert data_rows.positions(tx) == {"feedback": {0: 7}}


def test_caught_up_takes_partitions_as_numbers_and_as_text(store: Store) -> None:
    with store.write() as tx:
        data_rows.take_partition(tx, "feedback", 0)
        data_rows.advance(tx, "feedback", 0, 1, 0, 7)
        assert data_rows.caught_up(tx, {"feedback": {0: 7}})
        assert data_rows.caught_up(tx, {"feedback": {"0": 6}})
        assert not data_rows.caught_up(tx, {"feedback": {"0": 8}})
        assert data_rows.caught_up(tx, {"inference": {"0": 0}})
        assert not data_rows.caught_up(tx, {"inference": {"0": 1}})


def test_a_bad_record_keeps_its_bytes(store: Store) -> None:
    with store.write() as tx:
        dead_letter_rows.bury(tx, DeadLetter(Record("feedback", 0, 3, "k", b"\xff{"), "no JSON", 50, None, None))
        assert dead_letter_rows.count(tx) == 1
        row = tx.execute(select(schema.dead_letters)).one()
    assert (row.position, row.key, row.value, row.reason, row.at_ms) == (3, "k", b"\xff{", "no JSON", 50)


# views


def run(id_: str, dataset: str | None, created_ms: int = 0) -> Run:
    return Run(id_, "support", "queued", {}, dataset, None, None, (), {}, "admin", 0, created_ms, created_ms, 1)


def test_a_view_names_the_runs_that_hold_the_feedback(store: Store) -> None:
    ingest(store, inference(), feedback())
    with store.write() as tx:
        for dataset in ("d1", "d2"):
            row = {"dataset": dataset, "id": "ex-1", "feedback": "fb-1", "inference": "inf-1", "author": "u1"}
            tx.execute(insert(schema.examples).values(**row, split="train"))
        release_rows.insert_run(tx, run("run-1", "d1"))
        release_rows.insert_run(tx, run("run-2", None))
        release_rows.insert_run(tx, run("run-3", "d2"))
        view = data_rows.feedback_view(tx, "fb-1")
    assert view == {
        "id": "fb-1",
        "inference_id": "inf-1",
        "state": "waiting",
        "reason": "no_run_yet",
        "dataset": None,
        "runs": ["run-1", "run-3"],
        "releases": [],
    }


def test_unknown_feedback_has_no_view(store: Store) -> None:
    with store.read() as tx:
        assert data_rows.feedback_view(tx, "fb-9") is None


def test_a_thumb_that_a_model_answered_waits_for_a_reviewer(store: Store) -> None:
    asked = [inference(f"inf-{n}") for n in range(4)]
    said = [feedback(f"fb-{n}", f"inf-{n}", correction=None, thumb="down") for n in range(3)]
    ingest(store, *asked, *said, feedback("fb-3", "inf-3"))
    made = [ProposalEvent(f"p-{n}", f"fb-{n}", "support", 300, "明天。", "teacher", "m", "v") for n in (0, 3, 9)]
    with store.write() as tx:
        tx.execute(schema.feedback.update().where(schema.feedback.c.id == "fb-2").values(state="used", reason=None))
        made.append(ProposalEvent("p-2", "fb-2", "support", 300, "明天。", "teacher", "m", "v"))
        ingestion.ingest(tx, [], [], list(enumerate(made, start=1)))
    ingest(store, said[0], start=50)
    assert [standing(store, f"fb-{n}") for n in range(4)] == [
        ("waiting", "proposed"),
        ("waiting", "no_correction"),
        ("used", None),
        ("waiting", "no_run_yet"),
    ]


def test_train_due_counts_corrections_since_the_last_run(store: Store) -> None:
    ingest(store, inference("inf-1"), inference("inf-2"), feedback("fb-1", "inf-1", at_ms=200))
    ingest(store, feedback("fb-2", "inf-2", at_ms=300), feedback("fb-3", "inf-2", at_ms=301, correction=None))
    ingest(store, feedback("fb-4", "inf-1", at_ms=302, author="ann"))
    with store.write() as tx:
        assert data_rows.train_due(tx, "support") == 2
        release_rows.insert_run(tx, run("run-1", None, created_ms=250))
        assert data_rows.train_due(tx, "support") == 1
        assert data_rows.train_due(tx, "other") == 0


def test_what_no_run_has_taken_in_its_window_still_counts(store: Store) -> None:
    ingest(store, inference("inf-1"), inference("inf-2"), feedback("fb-1", "inf-1", at_ms=200))
    ingest(store, feedback("fb-2", "inf-2", correction=None, thumb="up"))
    with store.write() as tx:
        assert ingestion.give_up(tx, 200) == 2
        assert data_rows.ledger(tx, "support")["refused"] == {"uncorrected": 1, "unused": 1}
        assert data_rows.train_due(tx, "support") == 1
        release_rows.insert_run(tx, run("run-1", None, created_ms=250))
        assert data_rows.train_due(tx, "support") == 0


# the end of a wait


def place_as(store: Store, id_: str, state: str, reason: str | None) -> None:
    with store.write() as tx:
        c = schema.feedback.c
        tx.execute(schema.feedback.update().where(c.id == id_).values(state=state, reason=reason))


def test_all_that_waits_for_no_reviewer_is_given_up_with_its_window(store: Store) -> None:
    waits = sorted({*words.GIVEN_UP, *words.REVIEWABLE} - {words.DEAD_LETTER})
    asked = [inference(f"inf-{n}") for n in range(len(waits) + 3)]
    ingest(store, *asked, *(feedback(f"fb-{n}", f"inf-{n}") for n in range(len(waits) + 3)))
    for n, reason in enumerate(waits):
        place_as(store, f"fb-{n}", "waiting", reason)
    place_as(store, f"fb-{len(waits)}", "used", None)
    place_as(store, f"fb-{len(waits) + 1}", "refused", "too_long")
    ingest(store, feedback(f"fb-{len(waits) + 2}", f"inf-{len(waits) + 2}", at_ms=201), start=99)
    with store.write() as tx:
        assert ingestion.give_up(tx, 199) == 0
        assert ingestion.give_up(tx, 200) == len(words.GIVEN_UP) - 1
        assert ingestion.give_up(tx, 200) == 0
    found = {reason: standing(store, f"fb-{n}") for n, reason in enumerate(waits)}
    assert found == {one: ("waiting", one) for one in words.REVIEWABLE} | {
        one: ("refused", words.GIVEN_UP[one]) for one in waits if one in words.GIVEN_UP
    }
    rest = [standing(store, f"fb-{len(waits) + n}") for n in range(3)]
    assert rest == [("used", None), ("refused", "too_long"), ("waiting", "no_run_yet")]


def test_who_says_it_again_waits_anew(store: Store) -> None:
    ingest(store, inference(), feedback(correction=None, thumb="down"))
    with store.write() as tx:
        ingestion.give_up(tx, 200)
    ingest(store, feedback(correction=None, thumb="down"), start=50)
    assert standing(store) == ("refused", "uncorrected"), "a record that comes again says nothing new"
    ingest(store, feedback(correction=None, thumb="down", at_ms=300), start=51)
    assert standing(store) == ("waiting", "no_correction")


def test_a_proposal_for_a_thumb_that_was_given_up_waits_for_a_reviewer(store: Store) -> None:
    ingest(store, inference(), feedback(correction=None, thumb="down"))
    proposal = ProposalEvent("p-1", "fb-1", "support", 300, "明天。", "teacher", "m", "v")
    with store.write() as tx:
        ingestion.give_up(tx, 200)
        ingestion.ingest(tx, [], [], [(1, proposal)])
        ingestion.give_up(tx, 10_000)
    assert standing(store) == ("waiting", "proposed")


def test_a_dead_letter_is_given_up_and_counts_as_that(store: Store) -> None:
    def letter(offset: int, at_ms: int, event: str | None) -> DeadLetter:
        return DeadLetter(Record("feedback", 0, offset, "k", b"{"), "no JSON", at_ms, "support", event)

    with store.write() as tx:
        for one in (letter(1, 50, "fb-8"), letter(2, 50, None), letter(3, 51, "fb-9")):
            dead_letter_rows.bury(tx, one)
        assert (ingestion.give_up(tx, 50), ingestion.give_up(tx, 50)) == (2, 0)
        assert data_rows.ledger(tx, "support") == {
            "acknowledged": 3,
            "used": 0,
            "refused": {"unhandled": 2},
            "waiting": {"dead_letter": 1},
        }
        assert [one.given_up for one in dead_letter_rows.listed(tx, 9)] == [True, True, False]
        dead_letter_rows.bury(tx, letter(1, 52, "fb-8"))
        assert data_rows.ledger(tx, "support")["waiting"] == {"dead_letter": 2}, "it was tried again"


def test_outcomes_are_the_candidates_and_the_concurrent_stables(store: Store) -> None:
    rollout = Rollout("ro-1", "support", "rel-2", "running", 0, DEFAULT_STAGES, 5.0, {}, 100, 150, None, 1)
    candidate = {"assigned": "rel-2", "role": "candidate", "served_by": "rel-2", "rollout": "ro-1"}
    with store.write() as tx:
        release_rows.insert_rollout(tx, rollout)
        assert data_rows.rollout_outcomes(tx, "ro-1") == []
    ingest(
        store,
        inference("before", at_ms=90),
        inference("smoke-time", at_ms=120),
        inference("c1", at_ms=150, ttft_ms=3.0, flags=["empty"], **candidate),
        inference("s1", at_ms=151, completion_tokens=9),
        inference("c2", at_ms=152, status="release_error", **{**candidate, "served_by": "rel-1"}),
        inference("other", at_ms=153, **{**candidate, "assigned": "rel-9"}),
        inference("elsewhere", at_ms=153, channel="other"),
        feedback("fb-1", "c1", thumb="up", at_ms=200),
        feedback("fb-2", "c1", thumb="down", at_ms=201),
        feedback("fb-3", "s1", at_ms=201),
    )
    with store.read() as tx:
        found = data_rows.rollout_outcomes(tx, "ro-1")
        counts = data_rows.thumb_counts(tx)
    assert [(outcome.id, outcome.role, outcome.thumb) for outcome in found] == [
        ("c1", "candidate", "down"),
        ("s1", "stable", None),
        ("c2", "candidate", None),
    ]
    assert counts == {("support", "rel-2", "candidate", "up"): 1, ("support", "rel-2", "candidate", "down"): 1}
    assert found[0].flags == ("empty",) and found[0].ttft_ms == 3.0
    assert found[1].completion_tokens == 9
    assert found[2].status == "release_error" and found[2].served_by == "rel-1"
