from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec
import pytest

from feedback.ingest import STREAK, WARY, step
from tests.full_disk import no_room
from tests.unit.feedback.test_consumer import NOT_SEEN, Place, feedback, inference, on, place
from thumbwheel import rollouts
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import DEAD_LETTER, FEEDBACK, INFERENCE, DeadLetterEvent
from thumbwheel.ids import mint_inference_id
from thumbwheel.records import Policies
from thumbwheel.store import data_rows, dead_letter_rows

__all__ = ["place"]  # a fixture


def test_a_step_moves_data_and_offset_together(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), feedback(2), feedback(3))
    at = step(place.store, place.log, on(place, FEEDBACK), 5, limit=2)
    assert (at.offset, place.acknowledged()) == (2, 2)
    at = step(place.store, place.log, at, 5, limit=2)
    assert (at.offset, place.acknowledged()) == (3, 3)
    assert step(place.store, place.log, at, 5) is at
    assert place.positions()[FEEDBACK] == {0: 3}


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b'{"type":"feedback.v2"}',
        b'{"type":"feedback.v1","id":"fb-1"}',
        feedback(1).replace(b"200", b"true"),
        feedback(1, at_ms=1 << 70),  # readable, but no database takes such a number
        feedback(1).replace(b"Free", b"\\ud800"),
    ],
)
def test_a_bad_record_is_kept_with_its_reason_and_the_rest_goes_on(place: Place, bad: bytes) -> None:
    place.append(FEEDBACK, feedback(8), bad, feedback(9))
    at = step(place.store, place.log, on(place, FEEDBACK), 5)
    assert (at.offset, at.streak, place.standing(8), place.standing(9)) == (3, 0, NOT_SEEN, NOT_SEEN)
    ((position, (value, reason)),) = place.buried().items()
    assert (position, value) == (2, bad)
    assert reason.startswith(("not readable: ", "not handled: "))


@pytest.mark.parametrize("bad", [{1}, {64}, {7, 8, 50}, set(range(20, 20 + STREAK - 1)), {3, 33, 34, 63}])
def test_whatever_is_wrong_in_a_batch_all_else_is_ingested(place: Place, bad: set[int]) -> None:
    values = [feedback(n, at_ms=1 << 70 if n in bad else 200) for n in range(1, 65)]
    place.append(FEEDBACK, *(b"junk" if n in bad and n % 2 else value for n, value in enumerate(values, 1)))
    at = step(place.store, place.log, on(place, FEEDBACK), 5)
    assert (at.offset, at.streak, set(place.buried())) == (64, int(64 in bad), bad)
    junk = sum(n % 2 for n in bad)  # which says nothing of itself; the other dead letters wait in the ledger
    assert place.acknowledged() == 64 - junk


def test_after_a_batch_with_something_wrong_the_next_ones_are_taken_with_care(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), b"junk")
    at = step(place.store, place.log, on(place, FEEDBACK), 5)
    assert at.wary == WARY
    place.append(FEEDBACK, feedback(2))
    at = step(place.store, place.log, at, 5)
    assert (at.wary, place.standing(2)) == (WARY - 1, NOT_SEEN)


def test_an_unhandled_record_keeps_its_traceback(place: Place) -> None:
    place.append(FEEDBACK, feedback(1, at_ms=1 << 70))
    step(place.store, place.log, on(place, FEEDBACK), 5)
    assert "Traceback" in place.buried()[1][1] and "OverflowError" in place.buried()[1][1]


def test_a_full_streak_ends_the_step(place: Place) -> None:
    place.append(FEEDBACK, *[b"bad"] * (STREAK - 1), feedback(1), *[b"bad"] * (STREAK + 3), feedback(2))
    at = step(place.store, place.log, on(place, FEEDBACK), 5)
    assert (at.offset, at.streak) == (2 * STREAK, STREAK)
    assert len(place.buried()) == 2 * STREAK - 1
    assert place.positions()[FEEDBACK] == {0: 2 * STREAK}


def test_a_streak_is_counted_over_steps(place: Place) -> None:
    place.append(FEEDBACK, *[b"bad"] * 3)
    at = step(place.store, place.log, on(place, FEEDBACK), 5, limit=2)
    assert at.streak == 2
    assert step(place.store, place.log, at, 5, limit=2).streak == 3


def test_a_locked_store_buries_nothing(place: Place) -> None:
    place.append(FEEDBACK, feedback(1))
    at = on(place, FEEDBACK)
    holder = sqlite3.connect(place.folder / "store.db", isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(StoreUnavailable):
        step(place.store, place.log, at, 5)
    holder.execute("rollback")
    holder.close()
    assert step(place.store, place.log, at, 5).offset == 1
    assert (place.acknowledged(), place.buried()) == (1, {})


def test_a_full_disk_buries_nothing_and_skips_nothing(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), b"bad", feedback(2))
    at = on(place, FEEDBACK)
    with no_room(), pytest.raises(StoreUnavailable):
        step(place.store, place.log, at, 5)
    assert (place.acknowledged(), place.buried(), place.positions()[FEEDBACK]) == (0, {}, {0: 0})
    assert step(place.store, place.log, at, 5).offset == 3
    assert (place.acknowledged(), list(place.buried())) == (2, [2])


# what is told of dead letters


def waiting(place: Place) -> dict[str, int]:
    with place.store.read() as tx:
        found = data_rows.ledger(tx, "support")
    assert found["acknowledged"] == sum(found["waiting"].values())
    return dict(found["waiting"])


BROKEN = feedback(7).replace(b"200", b"true")


def test_a_dead_letter_waits_in_its_channels_ledger(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), BROKEN, BROKEN, b'{"type":"feedback.v1","channel":"support"}')
    step(place.store, place.log, on(place, FEEDBACK), 5)
    assert waiting(place) == {"inference_not_seen": 1, "dead_letter": 2}, "the same one twice, and one without an id"


def test_a_dead_letter_whose_event_came_another_time_counts_once(place: Place) -> None:
    place.append(FEEDBACK, BROKEN, feedback(7))
    step(place.store, place.log, on(place, FEEDBACK), 5)
    assert waiting(place) == {"inference_not_seen": 1}


def test_an_inference_among_the_dead_letters_is_in_no_ledger(place: Place) -> None:
    place.append(INFERENCE, inference(1).replace(b"100", b"true"))
    step(place.store, place.log, on(place, INFERENCE), 5)
    assert waiting(place) == {}


def test_the_key_tells_the_channel_of_a_record_that_says_nothing(place: Place) -> None:
    with place.store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
        rollouts.create_channel(tx, "sales", Policies(), "base", "main", 1, "test")
    key = mint_inference_id("chatcmpl", "support", "shop", 1, b"s" * 32)
    place.log.append(FEEDBACK, [(key, b"\xff"), ("no-id", b"{}")], durable=True)
    step(place.store, place.log, on(place, FEEDBACK), 5)
    assert waiting(place) == {"dead_letter": 1}
    with place.store.read() as tx:
        assert [letter.channel for letter in dead_letter_rows.listed(tx, 9)] == ["support", None]


def test_the_topic_of_dead_letters_has_each_with_its_place_and_its_bytes(place: Place) -> None:
    place.append(FEEDBACK, feedback(1), BROKEN, b"\xff")
    step(place.store, place.log, on(place, FEEDBACK), 5)
    told = [msgspec.json.decode(record.value, type=DeadLetterEvent) for record in place.log.read(DEAD_LETTER, 0, 0, 9)]
    assert [(one.topic, one.partition, one.offset, one.key, one.value, one.channel, one.event) for one in told] == [
        (FEEDBACK, 0, 2, "key", BROKEN, "support", "fb-7"),
        (FEEDBACK, 0, 3, "key", b"\xff", None, None),
    ]
    assert told[0].reason.startswith("not readable") and told[0].at_ms == 5


def test_a_channel_may_have_a_topic_of_its_own_for_them(place: Place) -> None:
    place.append(FEEDBACK, BROKEN, b"\xff", BROKEN.replace(b"fb-7", b"fb-8"))
    step(place.store, place.log, on(place, FEEDBACK), 5, apart=("support", "sales"))
    own, rest = place.log.read("dead-letter.support", 0, 0, 9), place.log.read(DEAD_LETTER, 0, 0, 9)
    found = [[msgspec.json.decode(one.value, type=DeadLetterEvent).offset for one in part] for part in (own, rest)]
    assert found == [[1, 3], [2]]


def test_nothing_is_buried_that_the_topic_of_dead_letters_does_not_take(place: Place) -> None:
    class Refusing(SqliteEventLog):
        """A log that takes no dead letters."""

        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            if topic == DEAD_LETTER:
                raise StoreUnavailable("no room")
            super().append(topic, records, durable=durable)

    place.append(FEEDBACK, feedback(1), b"bad")
    at = on(place, FEEDBACK)
    place.log.close()
    place.log = Refusing(place.folder / "events.db")
    with pytest.raises(StoreUnavailable):
        step(place.store, place.log, at, 5)
    assert (place.acknowledged(), place.buried(), place.read_to()) == (0, {}, {})
