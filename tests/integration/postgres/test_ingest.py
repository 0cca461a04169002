"""A batch from the log into PostgreSQL: taken at once where it is all good and new, and found out where it is not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from feedback.ingest import WARY, Position, step
from tests.unit.feedback.test_consumer import feedback, inference
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.store import data_rows, dead_letter_rows, schema
from thumbwheel.store.connection import Store


class Place:
    """A log in a file, and the store beside it."""

    def __init__(self, store: Store, log: SqliteEventLog) -> None:
        self.store, self.log = store, log

    def append(self, topic: str, *values: bytes) -> None:
        self.log.append(topic, [("key", value) for value in values], durable=False)

    def take(self, topic: str) -> Position:
        with self.store.write() as tx:
            return Position(topic, 0, *data_rows.take_partition(tx, topic, 0))

    def step(self, at: Position, limit: int = 2_000) -> Position:
        return step(self.store, self.log, at, 5, limit=limit)

    def inferences(self) -> int:
        with self.store.read() as tx:
            return tx.execute(select(func.count()).select_from(schema.inferences)).scalar_one()

    def buried(self) -> list[int]:
        with self.store.read() as tx:
            return [one.record.offset for one in dead_letter_rows.listed(tx, 99)]

    def ledger(self) -> dict[str, int]:
        with self.store.read() as tx:
            return dict(data_rows.ledger(tx, "support")["waiting"])


@pytest.fixture
def place(stores: Callable[..., Store], tmp_path: Path) -> Iterator[Place]:
    with closing(SqliteEventLog(tmp_path / "events.db")) as log:
        yield Place(stores(), log)


def test_a_batch_of_what_is_new_is_taken_at_once(place: Place) -> None:
    place.append(INFERENCE, *map(inference, range(50)))
    place.append(FEEDBACK, *map(feedback, range(50)))
    at, on = place.step(place.take(INFERENCE)), place.step(place.take(FEEDBACK))
    assert (at.offset, at.wary, on.offset, on.wary) == (50, 0, 50, 0)
    assert (place.inferences(), place.ledger()) == (50, {"no_run_yet": 50})


def test_feedback_that_came_first_is_joined_by_its_inference(place: Place) -> None:
    place.append(FEEDBACK, *map(feedback, range(9)))
    place.step(place.take(FEEDBACK))
    assert place.ledger() == {"inference_not_seen": 9}
    place.append(INFERENCE, *map(inference, range(9)))
    assert place.step(place.take(INFERENCE)).wary == 0
    assert place.ledger() == {"no_run_yet": 9}


def test_what_is_there_already_is_counted_once_and_the_next_batches_expect_it(place: Place) -> None:
    place.append(INFERENCE, *map(inference, [1, 2, 2, 3]))
    at = place.step(place.take(INFERENCE))
    assert (place.inferences(), at.wary) == (3, 0), "one that comes twice in a batch is no matter"
    place.append(INFERENCE, *map(inference, [4, 2, 5]))
    at = place.step(at)
    assert (place.inferences(), at.offset, at.wary) == (5, 7, WARY)
    place.append(INFERENCE, *map(inference, [5, 6, 1]))
    at = place.step(at)
    assert (place.inferences(), at.offset, at.wary, place.buried()) == (6, 10, WARY - 1, [])
    assert place.step(at) is at, "nothing to read is no batch"


def test_one_bad_record_in_a_batch_costs_no_other(place: Place) -> None:
    numbers = range(64)
    wrong = feedback(99, at_ms=1 << 70)  # readable, but no database takes such a number
    place.append(INFERENCE, *map(inference, numbers))
    place.step(place.take(INFERENCE))
    values = [feedback(n) for n in numbers]
    place.append(FEEDBACK, *values[:20], wrong, *values[20:40], b"junk", *values[40:])
    at = place.step(place.take(FEEDBACK))
    assert (at.offset, place.buried()) == (66, [21, 42])
    assert place.ledger() == {"no_run_yet": 64, "dead_letter": 1}


def test_a_value_that_no_index_takes_is_its_records_fault(place: Place) -> None:
    """PostgreSQL's driver takes it for an outage, which would be waited out for ever."""
    long = random.Random(7).randbytes(6_000).hex().encode()
    place.append(INFERENCE, *map(inference, range(3)))
    place.step(place.take(INFERENCE))
    wrong = feedback(9).replace(b'"inference":"', b'"inference":"' + long)
    place.append(FEEDBACK, feedback(0), wrong, feedback(1))
    at = place.step(place.take(FEEDBACK))
    assert (at.offset, place.buried()) == (3, [2])
    assert place.ledger() == {"no_run_yet": 2, "dead_letter": 1}


@pytest.mark.parametrize(
    ("break_it", "mend_it"),
    [
        ("alter table feedback rename to elsewhere", "alter table elsewhere rename to feedback"),
        ("alter table feedback rename thumb to finger", "alter table feedback rename finger to thumb"),
    ],
)
def test_a_database_that_is_not_as_it_should_be_stalls_and_buries_nothing(
    place: Place, break_it: str, mend_it: str
) -> None:
    place.append(FEEDBACK, feedback(1), feedback(2))
    at = place.take(FEEDBACK)
    with place.store.write() as tx:
        tx.execute(text(break_it))
    for expecting in (0, WARY):
        with pytest.raises(StoreUnavailable):
            place.step(replace(at, wary=expecting))
    assert place.buried() == []
    with place.store.write() as tx:
        tx.execute(text(mend_it))
    assert place.step(at).offset == 2


def test_a_reader_that_was_displaced_writes_nothing(place: Place) -> None:
    place.append(INFERENCE, *map(inference, range(5)))
    displaced, reader = place.take(INFERENCE), place.take(INFERENCE)
    with pytest.raises(LostRace):
        place.step(displaced)
    assert place.inferences() == 0
    assert place.step(reader).offset == 5
