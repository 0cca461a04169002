from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import select

from feedback.consumer import GIVE_UP_EVERY_S, PAUSE_S, consume, give_up, take_partitions
from feedback.ingest import STREAK, Position, step
from tests.full_disk import no_room
from tests.stores import store_in
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import Assignment
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, TOPICS, FeedbackEvent, InferenceEvent, encode
from thumbwheel.store import data_rows, schema
from thumbwheel.store.connection import Store

WINDOW_S = 3_600.0
WINDOW_MS = 3_600_000


class Place:
    """A store and an event log in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = store_in(folder, busy_ms=50)
        self.log = SqliteEventLog(folder / "events.db")

    def close(self) -> None:
        self.log.close()
        self.store.close()

    def append(self, topic: str, *values: bytes) -> None:
        self.log.append(topic, [("key", value) for value in values], durable=False)

    def positions(self) -> dict[str, dict[int, int]]:
        with self.store.read() as tx:
            return data_rows.positions(tx)

    def read_to(self) -> dict[str, int]:
        """The offsets of the topics in which anything was read."""
        return {topic: parts[0] for topic, parts in self.positions().items() if parts[0]}

    def epochs(self) -> dict[str, int]:
        with self.store.read() as tx:
            return {topic: epoch for (topic, _), epoch in data_rows.epochs(tx).items()}

    def acknowledged(self) -> int:
        with self.store.read() as tx:
            return int(data_rows.ledger(tx, "support")["acknowledged"])

    def standing(self, n: int) -> tuple[str, str | None]:
        with self.store.read() as tx:
            row = data_rows.feedback_row(tx, f"fb-{n}")
        assert row is not None
        return row.state, row.reason

    def buried(self) -> dict[int, tuple[bytes, str]]:
        with self.store.read() as tx:
            return {row.position: (row.value, row.reason) for row in tx.execute(select(schema.dead_letters))}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def feedback(n: int, at_ms: int = 200) -> bytes:
    return encode(FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", at_ms, correction="Free return."))


def inference(n: int) -> bytes:
    fields = {"tenant": "shop", "channel": "support", "unit": "u1", "at_ms": 100}
    served = {"assigned": "rel-1", "role": "stable", "served_by": "rel-1", "status": "ok"}
    said = [{"role": "user", "content": f"complaint {n}"}]
    return encode(InferenceEvent(f"inf-{n}", **fields, **served, messages=said, answer="Oh."))  # type: ignore[arg-type]


def on(place: Place, topic: str) -> Position:
    return next(at for at in take_partitions(place.store, place.log) if at.topic == topic)


def test_every_topic_of_the_log_is_taken(place: Place) -> None:
    assert take_partitions(place.store, place.log) == [Position(topic, 0, 1, 0) for topic in sorted(TOPICS)]


def test_a_restart_goes_on_where_the_data_is(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), feedback(2))
    step(place.store, place.log, on(place, FEEDBACK), 5, limit=1)
    assert on(place, FEEDBACK) == Position(FEEDBACK, 0, 2, 1)


def test_a_log_that_was_replaced_is_read_from_its_beginning(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.append(FEEDBACK, feedback(1), b"bad", feedback(2))
    read_all(place)
    place.log.close()
    for file in place.folder.glob("events.db*"):
        file.unlink()
    place.log = SqliteEventLog(place.folder / "events.db")
    place.append(FEEDBACK, feedback(2), b"worse")
    with caplog.at_level(logging.ERROR):
        at = on(place, FEEDBACK)
    assert "the log was replaced" in caplog.text
    assert step(place.store, place.log, at, 5).offset == 2
    place.append(FEEDBACK, feedback(3))
    read_all(place)
    assert (place.acknowledged(), place.positions()[FEEDBACK]) == (3, {0: 3})
    assert place.buried()[2][0] == b"worse"


def test_a_zombie_writes_nothing(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    zombie = on(place, FEEDBACK)
    heir = on(place, FEEDBACK)
    with pytest.raises(LostRace):
        step(place.store, place.log, zombie, 5)
    assert place.acknowledged() == 0
    step(place.store, place.log, heir, 5)
    assert place.acknowledged() == 1


class Turns:
    """Stops the loop after so many polls; the clock is moved by hand."""

    def __init__(self, polls: int) -> None:
        self.left = polls
        self.now_ms = 1_000
        self.waits: list[float] = []

    def clock(self) -> int:
        return self.now_ms

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now_ms += round(seconds * 1000)
        return False


def loop(place: Place, turns: Turns) -> None:
    consume(place.store, place.log, turns.clock, 0.05, WINDOW_S, turns)  # type: ignore[arg-type]


def test_the_loop_reads_all_topics_and_waits_when_there_is_nothing(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    place.append(INFERENCE, inference(1))
    turns = Turns(3)
    loop(place, turns)
    assert place.read_to() == {FEEDBACK: 1, INFERENCE: 1}
    assert turns.waits == [0.05, 0.05]


def test_a_stopped_partition_pauses_and_then_goes_on(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.append(FEEDBACK, *[b"bad"] * (STREAK + 1), feedback(1))
    place.append(INFERENCE, inference(1))
    with caplog.at_level(logging.ERROR):
        loop(place, Turns(10))
        assert place.read_to() == {FEEDBACK: STREAK, INFERENCE: 1}
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "feedback/0 stops for 30 s at 10" in caplog.text
    patient = Turns(3 + int(PAUSE_S / 0.05))
    loop(place, patient)
    assert place.positions()[FEEDBACK] == {0: STREAK + 2}
    assert place.acknowledged() == 1


class SetBack(Turns):
    """The clock is set back by an hour at one of the waits."""

    def __init__(self, polls: int, at: int) -> None:
        super().__init__(polls)
        self.now_ms += WINDOW_MS
        self.at = at

    def wait(self, seconds: float) -> bool:
        if len(self.waits) == self.at:
            self.now_ms -= WINDOW_MS
        return super().wait(seconds)


def test_a_stopped_partition_goes_on_though_the_clock_was_set_back(place: Place) -> None:
    place.append(FEEDBACK, *[b"bad"] * STREAK, feedback(1))
    loop(place, SetBack(8, at=3))
    assert place.acknowledged() == 1


def test_feedback_is_given_up_though_the_clock_was_set_back(place: Place) -> None:
    class Late(SetBack):
        """Feedback that came long ago is read when the clock has been set back."""

        def wait(self, seconds: float) -> bool:
            place.append(FEEDBACK, *[feedback(1, at_ms=-WINDOW_MS)] * (len(self.waits) == self.at))
            return super().wait(seconds)

    loop(place, Late(8, at=3))
    assert place.standing(1) == UNKNOWN


def test_the_loop_outlasts_a_log_that_is_away(place: Place) -> None:
    class Away(SqliteEventLog):
        """A log that answers only after some tries."""

        def __init__(self, path: Path) -> None:
            super().__init__(path)
            self.tries = 0

        def ends(self) -> dict[str, dict[int, int]]:
            self.tries += 1
            if self.tries < 8:
                raise StoreUnavailable("gone fishing")
            return super().ends()

    place.append(FEEDBACK, feedback(1))
    place.log.close()
    place.log = Away(place.folder / "events.db")
    turns = Turns(9)
    loop(place, turns)
    assert turns.waits[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert place.acknowledged() == 1


def test_the_loop_outlasts_a_full_disk(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))

    class Filled(Turns):
        """The disk is full until it has been waited for a while."""

        def wait(self, seconds: float) -> bool:
            if len(self.waits) == 4:
                full.close()
            return super().wait(seconds)

    turns = Filled(8)
    with ExitStack() as full:
        full.enter_context(no_room())
        loop(place, turns)
    assert turns.waits[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert place.acknowledged() == 1


def test_the_loop_ends_when_another_has_taken_over(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))

    class Overtaken(Turns):
        """Another consumer starts while this one waits."""

        def wait(self, seconds: float) -> bool:
            take_partitions(place.store, place.log)
            place.append(FEEDBACK, feedback(2))
            return super().wait(seconds)

    with pytest.raises(LostRace):
        loop(place, Overtaken(10))
    assert place.acknowledged() == 1


class Shared(SqliteEventLog):
    """A log that gives out its topics in parts: what is this handle's is said by hand."""

    given = Assignment(1, frozenset())

    def assigned(self) -> Assignment:
        return self.given


def test_only_what_is_assigned_is_read_and_each_assignment_raises_the_epoch(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    place.append(INFERENCE, inference(1))
    place.log.close()
    place.log = log = Shared(place.folder / "events.db")
    log.given = Assignment(1, frozenset({(FEEDBACK, 0)}))

    class Rebalanced(Turns):
        """The partitions are given out anew at each wait."""

        def wait(self, seconds: float) -> bool:
            both = {(INFERENCE, 0), (FEEDBACK, 0)}
            given = [{(INFERENCE, 0)}, set(), both, both][len(self.waits)]
            log.given = Assignment(log.given.generation + 1, frozenset(given))
            told.append((place.read_to(), place.epochs()))
            return super().wait(seconds)

    told: list[tuple[dict[str, int], dict[str, int]]] = []
    loop(place, Rebalanced(6))
    assert told == [
        ({FEEDBACK: 1}, {FEEDBACK: 1}),
        ({FEEDBACK: 1, INFERENCE: 1}, {FEEDBACK: 1, INFERENCE: 1}),
        ({FEEDBACK: 1, INFERENCE: 1}, {FEEDBACK: 1, INFERENCE: 1}),
        ({FEEDBACK: 1, INFERENCE: 1}, {FEEDBACK: 2, INFERENCE: 2}),
    ]


def test_a_partition_that_another_has_taken_is_let_go_and_the_others_are_read_on(place: Place) -> None:
    class Overtaken(Turns):
        """Another consumer takes the feedback while this one waits."""

        def wait(self, seconds: float) -> bool:
            if not self.waits:
                take_partitions(place.store, place.log, [(FEEDBACK, 0)])
                place.append(FEEDBACK, feedback(1))
                place.append(INFERENCE, inference(1))
            return super().wait(seconds)

    loop(place, Overtaken(10))
    assert place.read_to() == {INFERENCE: 1}


def test_records_that_expired_unread_are_said_so_and_reading_goes_on(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.append(FEEDBACK, feedback(1), feedback(2), feedback(3))
    place.log.close()
    with closing(sqlite3.connect(place.folder / "events.db")) as file, file:
        file.execute("delete from records where seq < 3")
    place.log = SqliteEventLog(place.folder / "events.db")
    with caplog.at_level(logging.ERROR):
        read_all(place)
    assert "2 records have expired unread" in caplog.text
    assert (place.acknowledged(), place.read_to()) == (1, {FEEDBACK: 3})


def test_nothing_is_refused_while_another_consumer_has_inferences_to_read(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    place.append(INFERENCE, inference(1))
    (mine,) = take_partitions(place.store, place.log, [(FEEDBACK, 0)])
    mine = step(place.store, place.log, mine, 5)
    assert give_up(place.store, place.log, [mine], WINDOW_S, 10 * WINDOW_MS) == 0
    assert place.standing(1) == NOT_SEEN


def test_a_stop_ends_the_loop(place: Place) -> None:
    stop = threading.Event()
    stop.set()
    consume(place.store, place.log, lambda: 0, 0.05, WINDOW_S, stop)
    assert place.positions() == {}


# what waits for too long


def read_all(place: Place) -> list[Position]:
    return [step(place.store, place.log, at, 5) for at in take_partitions(place.store, place.log)]


NOT_SEEN, UNKNOWN, JOINED = (
    ("waiting", "inference_not_seen"),
    ("refused", "inference_unknown"),
    ("waiting", "no_run_yet"),
)


def test_feedback_waits_for_its_inference_until_its_window_has_passed(place: Place) -> None:
    place.append(FEEDBACK, feedback(1, at_ms=200), feedback(2, at_ms=201))
    place.append(INFERENCE, inference(2))
    at = read_all(place)
    assert give_up(place.store, place.log, at, WINDOW_S, 200 + WINDOW_MS - 1) == 0
    assert place.standing(1) == NOT_SEEN
    assert give_up(place.store, place.log, at, WINDOW_S, 200 + WINDOW_MS) == 1
    assert give_up(place.store, place.log, at, WINDOW_S, 200 + WINDOW_MS) == 0
    assert (place.standing(1), place.standing(2)) == (UNKNOWN, JOINED)
    with place.store.read() as tx:
        view = data_rows.feedback_view(tx, "fb-1")
        assert data_rows.ledger(tx, "support") == {
            "acknowledged": 2,
            "used": 0,
            "refused": {"inference_unknown": 1},
            "waiting": {"no_run_yet": 1},
        }
    assert view is not None and (view["state"], view["reason"]) == UNKNOWN


def test_the_refusal_survives_a_restart_and_a_record_that_comes_again(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    give_up(place.store, place.log, read_all(place), WINDOW_S, 200 + WINDOW_MS)
    place.append(FEEDBACK, feedback(1))
    read_all(place)
    assert place.standing(1) == UNKNOWN


def test_an_inference_that_lies_in_the_log_unread_still_joins(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    at = read_all(place)
    place.append(INFERENCE, inference(1))  # the consumer was down for longer than the window, say
    assert give_up(place.store, place.log, at, WINDOW_S, 10 * WINDOW_MS) == 0
    assert place.standing(1) == NOT_SEEN
    at = [step(place.store, place.log, one, 5) for one in at]
    assert place.standing(1) == JOINED
    give_up(place.store, place.log, at, WINDOW_S, 10 * WINDOW_MS)
    assert place.standing(1) == ("refused", "unused"), "no run has come in that time either"


def test_an_inference_that_arrives_after_the_refusal_is_joined_after_all(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    give_up(place.store, place.log, read_all(place), WINDOW_S, 200 + WINDOW_MS)
    place.append(INFERENCE, inference(1))
    at = read_all(place)
    assert place.standing(1) == JOINED
    assert give_up(place.store, place.log, at, WINDOW_S, 200 + WINDOW_MS - 1) == 0
    assert place.standing(1) == JOINED and place.acknowledged() == 1
    assert give_up(place.store, place.log, at, WINDOW_S, 200 + WINDOW_MS) == 1
    assert place.standing(1) == ("refused", "unused"), "now it has waited for a run"


def test_a_reader_that_was_replaced_refuses_nothing(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    zombie = read_all(place)
    take_partitions(place.store, place.log)
    with pytest.raises(LostRace):
        give_up(place.store, place.log, zombie, WINDOW_S, 10 * WINDOW_MS)
    assert place.standing(1) == NOT_SEEN


def test_the_loop_gives_up_at_once_after_a_start_and_then_from_time_to_time(place: Place) -> None:
    place.append(FEEDBACK, feedback(1, at_ms=200), feedback(2, at_ms=1_500))
    turns = Turns(3)
    turns.now_ms = 200 + WINDOW_MS
    loop(place, turns)
    assert (place.standing(1), place.standing(2)) == (UNKNOWN, NOT_SEEN)
    turns = Turns(2 + int(GIVE_UP_EVERY_S / 0.05))
    turns.now_ms = 1_500 + WINDOW_MS - 100
    loop(place, turns)
    assert place.standing(2) == UNKNOWN
