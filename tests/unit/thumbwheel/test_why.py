"""What is said of a feedback, a run, a release and a rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update

from tests.unit.thumbwheel.test_adjudication import said
from tests.whole_way import DATASET, base_of, rollout_of, write_whole_way
from thumbwheel import ledger, rollouts
from thumbwheel.errors import NotFound
from thumbwheel.eventlog import Record
from thumbwheel.events import FeedbackEvent
from thumbwheel.records import Policies
from thumbwheel.store import dataset_rows, dead_letter_rows, ingestion, release_rows, schema
from thumbwheel.store.connection import Store
from thumbwheel.store.dead_letter_rows import DeadLetter
from thumbwheel.why import ENDED_BY, EXPLAINED, explain


@pytest.fixture(scope="module")
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    write_whole_way(opened)
    yield opened
    opened.close()


def test_why_a_feedback_is_used(store: Store) -> None:
    with store.read() as tx:
        told = explain(tx, "fb-1")
    assert told == [
        "fb-1 says a thumb down and a correction of answer inf-1 in channel support; "
        "received 1970-01-01 00:00:03 UTC by u1.",
        "It is used: dataset dddddddddddd holds it as ex-1 in its train split, so it is learnt from.",
        "run-1 used that dataset and is candidate; its release rel-2 is candidate.",
    ]


@pytest.mark.parametrize(
    ("feedback", "words"),
    [
        ("fb-2", ["refused (superseded)", "latest word on this answer is fb-3"]),
        ("fb-3", ["a score of 0.5", "waiting (no_correction)", "is not guessed", "until 1970-01-31", "`uncorrected`"]),
        ("fb-4", ["something without", "waiting (inference_not_seen)", "until 1970-01-31 00:00:0"]),
    ],
)
def test_why_a_feedback_is_not(store: Store, feedback: str, words: list[str]) -> None:
    with store.read() as tx:
        told = " ".join(explain(tx, feedback))
    assert all(word in told for word in words)


def test_every_wait_has_a_deadline_or_somebody_who_ends_it(store: Store) -> None:
    arrival = {ledger.INFERENCE_NOT_SEEN, ledger.NO_CORRECTION, ledger.NO_RUN_YET, ledger.DEAD_LETTER}
    assert set(ENDED_BY) == ledger.CURATION_WAITS | arrival
    assert set(ENDED_BY) - set(ledger.GIVEN_UP) == ledger.REVIEWABLE and not ledger.REVIEWABLE & set(ledger.GIVEN_UP)
    for feedback, reason in (("fb-4", "inference_unknown"), ("fb-3", "uncorrected")):
        with store.read() as tx:
            (told,) = [line for line in explain(tx, feedback, 60.0) if "at the latest" in line]
        assert "1970-01-01 00:01:0" in told and f"refused ({reason})" in told
    assert {ledger.waits_until_ms(reason, 5, 7) for reason in ledger.GIVEN_UP} == {12}
    assert {ledger.waits_until_ms(reason, 5, 7) for reason in ledger.REVIEWABLE} == {None}


def test_a_dead_letter_has_a_deadline_too(stores: Callable[..., Store]) -> None:
    store = stores()
    letter = DeadLetter(Record("feedback", 0, 3, "k", b"{"), "no JSON", 50, "support", "fb-dead")
    with store.write() as tx:
        dead_letter_rows.bury(tx, letter)
        waits = explain(tx, "fb-dead", 60.0)
        ingestion.give_up(tx, 50)
        over = explain(tx, "fb-dead", 60.0)
    assert "it is waiting (dead_letter)" in waits[0]
    assert "1970-01-01 00:01:00" in waits[-1] and "refused (unhandled)" in waits[-1]
    assert "it is refused (unhandled)" in over[0] and "redriven" in over[0]
    assert not any("waits" in line for line in over)


def test_why_a_run(store: Store) -> None:
    with store.read() as tx:
        told = explain(tx, "run-1")
        short = explain(tx, "run-2")
    assert "it is candidate" in told[0] and "asked for by ann" in told[0]
    text = " ".join(told)
    assert "The reason: it is better." in text
    assert "of 4 feedback, 1 are rows (1 train), 1 of them new" in text
    assert f"Not in it, 1: {EXPLAINED[ledger.SUPERSEDED]}." in text
    assert "Release rel-2 is adapter aaaaaaaaaaaa on the base and is candidate" in text
    assert "is running in stage 1 of 4" in text and "the smoke test has not passed yet" in text
    assert "report eeeeeeeeeeee" in text
    assert short[1] == "The reason: too little."


def test_why_anything_else_points_to_the_lineage(store: Store) -> None:
    with store.read() as tx:
        assert "is an inference" in explain(tx, "inf-1")[0]
        assert explain(tx, rollout_of(store))[0].startswith(f"Rollout {rollout_of(store)} of release rel-2 began")
        assert "the base alone" in explain(tx, base_of(store))[0]


def test_why_a_dataset_and_a_row_of_it(store: Store) -> None:
    with store.read() as tx:
        of_dataset, of_row = explain(tx, DATASET), explain(tx, "ex-1")
    assert of_dataset[0].startswith(f"It is dataset {DATASET[:12]}: of ") and "dataset show" in of_dataset[-1]
    assert of_row[0] == "ex-1 is a row, made of feedback fb-1, in datasets: dddddddddddd (train)."
    assert "It is used: dataset dddddddddddd holds it as ex-1" in of_row[2]


def test_why_a_row_was_left_out(stores: Callable[..., Store]) -> None:
    part = {"wanted": 0.25, "got": 0.25, "rows": 13, "left_out": 16}
    mix = {"shares": {"退货": part}, "other": {**part, "wanted": 0.75}, "max_age_days": 2, "too_old": 1}
    store = stores()
    day = 86_400_000
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
        for n, (at_ms, tags) in enumerate([(3 * day, ["退货"]), (3 * day, []), (day, ["退货"]), (9 * day, ["退货"])]):
            said = FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", at_ms, correction="可以退。", tags=tags)
            ingestion.ingest(tx, [], [(n + 1, said)])
        tx.execute(update(schema.feedback).values(state="refused", reason="left_out"))
        card = {"mix": mix, "as_of_ms": 4 * day}
        dataset_rows.insert_dataset(tx, "d" * 64, "support", "run-1", card, [], {}, 4 * day)
        told = [explain(tx, f"fb-{n}") for n in range(4)]
    where = "In dataset dddddddddddd it had"
    assert (
        f"{where} the tag 退货: 25% of the mix were wanted of these, so 13 are in it and 16 were left out." in told[0]
    )
    assert any(one.startswith(f"{where} no tag of the mix: 75%") for one in told[1])
    assert "It was older than the 2 days that the mix of dataset dddddddddddd looks back." in told[2]
    assert not any("dddddddddddd" in one for one in told[3]), "that dataset has not seen it"


def test_every_reason_that_follows_from_arrival_has_its_words() -> None:
    waits = ledger.GIVEN_UP.keys() | set(ledger.GIVEN_UP.values())
    assert ledger.ARRIVAL_REFUSALS | waits <= set(EXPLAINED)


def test_an_unknown_id(store: Store) -> None:
    with store.read() as tx, pytest.raises(NotFound, match="nothing-9"):
        explain(tx, "nothing-9")


def test_what_reviewers_made_of_a_feedback(stores: Callable[..., Store]) -> None:
    store = stores()
    write_whole_way(store)
    words = [
        said("ann", "refuse", reason="untrue", at_ms=1, id="rv-1"),
        said("ann", proposal="pr-1", id="rv-2", at_ms=2),
        said("ann", proposal="pr-2", id="rv-3", at_ms=3),
        said("bob", "refuse", reason="no", proposal="pr-2", id="rv-4", at_ms=4),
    ]
    with store.write() as tx:
        ingestion.ingest(tx, [], [], list(enumerate(words, 1)))
        told = explain(tx, "fb-1")[-3:]
    assert told == [
        "It was refused by reviewers (rv-1 by ann), because: untrue. Runs from then on go by that.",
        "What a model proposed for it, pr-1, was approved by reviewers (rv-2 by ann). Runs from then on go by that.",
        "What a model proposed for it, pr-2, has been reviewed by 2 who said different things: it is for an arbiter.",
    ]
    with store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(channel, policies=replace(channel.policies, reviews=2)))
        told = explain(tx, "fb-1")
    assert "It has been reviewed by 1 of the 2 reviewers that it takes." in told
    assert not any("rv-1" in sentence or "untrue" in sentence for sentence in told)
    store.close()
