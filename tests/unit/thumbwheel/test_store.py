"""What a store promises, whichever it is: snapshots, one writer at a time, nothing half done, errors that keep secrets.

Run on SQLite here and on PostgreSQL in tests/integration/postgres.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel import rollouts
from thumbwheel.errors import Conflict, LostRace, StoreRefused
from thumbwheel.eventlog import Record
from thumbwheel.records import RUN_BUSY, Policies
from thumbwheel.store import data_rows, dataset_rows, dead_letter_rows, fleet_rows, ingestion, release_rows, schema
from thumbwheel.store.connection import Store, bump, generation, get_meta, put_meta
from thumbwheel.store.dataset_rows import ExampleRow, Ruling
from thumbwheel.store.dead_letter_rows import DeadLetter

ROUNDS = 12


@pytest.fixture
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores(busy_ms=20_000)
    yield opened
    opened.close()


def together(*works: Callable[[], Any]) -> list[Any]:
    """Start all at the same moment; what each returned, or raised."""
    gate = threading.Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        gate.wait()
        try:
            return work()
        except (Conflict, LostRace) as error:
            return error

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


# one transaction


def test_a_write_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        put_meta(tx, "thing", "half done")
        raise ZeroDivisionError
    with store.read() as tx:
        assert get_meta(tx, "thing") is None


def test_a_read_is_one_snapshot(store: Store) -> None:
    with store.read() as tx:
        before = generation(tx)
        with store.write() as other:
            bump(other)
            put_meta(other, "thing", "new")
        assert (generation(tx), get_meta(tx, "thing")) == (before, None)
    with store.read() as tx:
        assert (generation(tx), get_meta(tx, "thing")) == (before + 1, "new")


def test_a_meta_is_written_over(store: Store) -> None:
    with store.write() as tx:
        put_meta(tx, "thing", "old")
        put_meta(tx, "thing", "new")
        assert get_meta(tx, "thing") == "new"


def test_what_the_database_refuses_is_no_outage_and_repeats_nothing_that_a_user_said(store: Store) -> None:
    with pytest.raises(StoreRefused) as caught, store.write() as tx:
        tx.execute(insert(schema.feedback).values(id="fb-1", correction="my address is"))
    assert "null" in str(caught.value).lower() and caught.value.__cause__ is not None
    told = str(caught.value) + str(caught.value.__cause__) + str(caught.value.__cause__.__cause__)
    assert "my address is" not in told


def test_text_with_a_nul_is_kept_without_it(store: Store) -> None:
    with store.write() as tx:
        messages = [{"role": "user", "content": "a\0b"}]
        ingestion.ingest(
            tx, [inference(answer="c\0d", messages=messages)], [(1, feedback(correction="e\0f", tags=["g\0h"]))]
        )
        letter = DeadLetter(Record("feedback", 0, 3, "k\0", b"\0"), "not \0 handled", 50, "a\0b", "\ud800")
        dead_letter_rows.bury(tx, letter)
    with store.read() as tx:
        row = data_rows.feedback_row(tx, "fb-1")
        answer = tx.execute(select(schema.inferences.c.answer)).scalar_one()
    assert row is not None and (row.correction, answer) == ("ef", "cd")


def test_ids_sort_by_their_bytes(store: Store) -> None:
    names = ["a-b", "aB", "a_b", "ab", "B", "b"]
    with store.write() as tx:
        for name in names:
            rollouts.create_channel(tx, name, Policies(), "base", "default", 1, "test")
        assert [channel.name for channel in release_rows.all_channels(tx)] == sorted(names)


# writers at the same time


def test_no_change_of_generation_is_lost(store: Store) -> None:
    def raise_it() -> None:
        for _ in range(ROUNDS):
            with store.write() as tx:
                bump(tx)

    together(*[raise_it] * 4)
    with store.read() as tx:
        assert generation(tx) == 4 * ROUNDS


def test_of_two_administrators_who_make_a_channel_one_does(store: Store) -> None:
    def put(who: str) -> str:
        with store.write() as tx:
            if release_rows.find_channel(tx, "support") is not None:
                return "there"
            rollouts.create_channel(tx, "support", Policies(), "base", "default", 1, who)
            return "made"

    assert sorted(together(lambda: put("ann"), lambda: put("ben"))) == ["made", "there"]


def test_of_two_who_start_a_run_one_does(store: Store) -> None:
    def start() -> str:
        with store.write() as tx:
            if any(run.state in RUN_BUSY for run in release_rows.runs_of(tx, "support")):
                raise Conflict("busy")
            return rollouts.start_run(tx, "support", {}, None, 1, "test").id

    found = together(*[start] * 4)
    assert sum(isinstance(one, str) for one in found) == 1


def test_of_two_controllers_one_leads(store: Store) -> None:
    def lead(name: str) -> str:
        with store.write() as tx:
            fleet_rows.take_lease(tx, "leader", name, 1_000, 500)
        return name

    for _ in range(ROUNDS):
        found = together(lambda: lead("one"), lambda: lead("two"))
        assert len([name for name in found if isinstance(name, str)]) == 1
        with store.write() as tx:
            fleet_rows.drop_lease(tx, "leader", "one")
            fleet_rows.drop_lease(tx, "leader", "two")


def test_drafts_of_one_moment_have_different_times(store: Store) -> None:
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "default", 1, "test")

    def make() -> int:
        with store.write() as tx:
            channel = release_rows.get_channel(tx, "support")
            return rollouts.make_draft(tx, channel, "a" * 64, None, 1).created_ms

    assert sorted(together(*[make] * 4)) == [2, 3, 4, 5]


def test_of_two_changes_of_one_version_one_wins(store: Store) -> None:
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "default", 1, "test")
    with store.read() as tx:
        seen = release_rows.get_channel(tx, "support")

    def save() -> None:
        with store.write(alone=False) as tx:
            release_rows.save_channel(tx, seen)

    found = together(save, save)
    assert sum(isinstance(one, LostRace) for one in found) == 1


def test_beats_of_one_worker_never_collide(store: Store) -> None:
    def beat() -> None:
        for n in range(ROUNDS):
            with store.write(alone=False) as tx:
                fleet_rows.beat(tx, "w", n, n)

    together(beat, beat)
    with store.read() as tx:
        assert tx.execute(select(func.count()).select_from(schema.workers)).scalar_one() == 1


# ingestion beside others


def test_an_inference_and_its_feedback_meet_though_two_consumers_ingest_them_at_once(store: Store) -> None:
    def take(events: list[Any], feedbacks: list[Any]) -> None:
        with store.write(alone=False) as tx:
            ingestion.ingest(tx, events, feedbacks)

    for n in range(ROUNDS):
        ids = [f"inf-{n}-{i}" for i in range(20)]
        together(
            lambda ids=ids: take([inference(id_) for id_ in ids], []),
            lambda ids=ids: take([], [(i, feedback(f"fb-{id_}", id_)) for i, id_ in enumerate(ids)]),
        )
    with store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == {"no_run_yet": 20 * ROUNDS}


def test_the_same_events_from_two_consumers_count_once(store: Store) -> None:
    def take(ids: list[str]) -> None:
        with store.write(alone=False) as tx:
            ingestion.ingest(
                tx, [inference(id_) for id_ in ids], [(i, feedback(f"fb-{id_}", id_)) for i, id_ in enumerate(ids)]
            )

    for n in range(ROUNDS):
        ids = [f"inf-{n}-{i}" for i in range(20)]
        together(lambda ids=ids: take(ids), lambda ids=ids: take(ids[::-1]))
    with store.read() as tx:
        assert data_rows.ledger(tx, "support")["acknowledged"] == 20 * ROUNDS
        assert tx.execute(select(func.count()).select_from(schema.inferences)).scalar_one() == 20 * ROUNDS


def test_what_a_dataset_takes_stays_used_though_its_author_speaks_at_that_moment(store: Store) -> None:
    def freeze(n: int) -> None:
        with store.write() as tx:
            example = ExampleRow("ex", f"fb-{n}-first", f"inf-{n}", "u1", "train")
            dataset_rows.insert_dataset(tx, f"d{n}", "support", "run", {}, [example], {}, 1)

    def say(n: int) -> None:
        with store.write(alone=False) as tx:
            ingestion.ingest(tx, [], [(9, feedback(f"fb-{n}-second", f"inf-{n}", at_ms=300))])

    for n in range(ROUNDS):
        with store.write() as tx:
            ingestion.ingest(tx, [inference(f"inf-{n}")], [(1, feedback(f"fb-{n}-first", f"inf-{n}"))])
        together(lambda n=n: freeze(n), lambda n=n: say(n))
    with store.read() as tx:
        assert data_rows.ledger(tx, "support") == {
            "acknowledged": 2 * ROUNDS,
            "used": ROUNDS,
            "refused": {},
            "waiting": {"no_run_yet": ROUNDS},
        }


def test_a_ruling_on_what_its_author_has_replaced_does_nothing(store: Store) -> None:
    with store.write() as tx:
        ingestion.ingest(tx, [inference()], [(1, feedback()), (2, feedback("fb-2", author="ann"))])
    moved = Ruling("fb-1", 200, 1, ("waiting", "no_run_yet"), "refused", "too_short")
    stale = Ruling("fb-2", 100, 2, ("waiting", "no_run_yet"), "refused", "too_short")
    with store.write() as tx:
        dataset_rows.rule(tx, [moved, stale])
        dataset_rows.rule(tx, [])
        assert data_rows.ledger(tx, "support")["refused"] == {"too_short": 1}


def test_a_ruling_finds_what_was_given_up_meanwhile(store: Store) -> None:
    with store.write() as tx:
        ingestion.ingest(tx, [inference()], [(1, feedback()), (2, feedback("fb-2", author="ann"))])
        ingestion.give_up(tx, 200)
        dataset_rows.rule(tx, [Ruling("fb-1", 200, 1, ("waiting", "no_run_yet"), "waiting", "contradiction")])
        dataset_rows.rule(tx, [Ruling("fb-2", 200, 2, ("refused", "too_short"), "waiting", "contradiction")])
        found = data_rows.ledger(tx, "support")
    assert (found["waiting"], found["refused"]) == ({"contradiction": 1}, {"unused": 1})


def test_a_partition_has_one_reader_however_many_take_it(store: Store) -> None:
    def take() -> tuple[int, int]:
        with store.write(alone=False) as tx:
            return data_rows.take_partition(tx, "feedback", 0)

    found = together(*[take] * 4)
    assert sorted(epoch for epoch, _ in found) == [1, 2, 3, 4]
    with pytest.raises(LostRace), store.write(alone=False) as tx:
        data_rows.advance(tx, "feedback", 0, 3, 0, 5)
    with store.write(alone=False) as tx:
        data_rows.advance(tx, "feedback", 0, 4, 0, 5)


def test_a_reader_that_was_displaced_while_it_wrote_writes_nothing(store: Store) -> None:
    with store.write() as tx:
        data_rows.take_partition(tx, "inference", 0)

    def displaced() -> None:
        with store.write(alone=False) as tx:
            ingestion.ingest(tx, [inference("late")], [])
            data_rows.advance(tx, "inference", 0, 1, 0, 1)

    def takes_over() -> tuple[int, int]:
        with store.write(alone=False) as tx:
            return data_rows.take_partition(tx, "inference", 0)

    lost, (_, position) = together(displaced, takes_over)
    with store.read() as tx:
        there = tx.execute(select(func.count()).select_from(schema.inferences)).scalar_one()
    assert (there, position) == ((0, 0) if isinstance(lost, LostRace) else (1, 1))
