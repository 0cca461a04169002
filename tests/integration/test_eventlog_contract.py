"""The contract of every event log, run unchanged on SQLite, on a real Kafka, and on Kafka behind its relay.

A log may have several partitions; what is said of order is said of one key.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from feedback.consumer import take_partitions
from feedback.ingest import step
from tests.integration.kafka_broker import Broker
from thumbwheel.dead_letters import redrive
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import READ_BYTES, EventLog, Record
from thumbwheel.eventlog.opening import Role, open_log
from thumbwheel.eventlog.relay import Relay
from thumbwheel.events import (
    CURATION,
    DEAD_LETTER,
    FEEDBACK,
    INFERENCE,
    TOLD,
    TOPICS,
    DeadLetterEvent,
    FeedbackEvent,
    encode,
)
from thumbwheel.home import Home, prepare
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, dead_letter_rows, schema
from thumbwheel.store.connection import Store, open_store

PATIENCE_S = 60.0
NUMBERS = itertools.count()


@dataclass
class Place:
    """One log of one kind. `open` gives handles on it, each as another process would have it."""

    kind: str
    settings: Settings
    home: Home
    opened: list[EventLog] = field(default_factory=list)

    def open(self, role: Role | None = None) -> EventLog:
        usual: Role = "gateway" if self.kind == "relay" else "client"
        self.opened.append(open_log(self.settings, self.home, role or usual))
        return self.opened[-1]

    def nowhere(self) -> EventLog:
        """A handle on a log of this kind that is away: a file that is none, a port where nothing listens, no relay."""
        home = prepare(self.home.root / "elsewhere")
        home.events.write_bytes(b"not a database, and long enough to be looked at" * 40)
        kafka = None if self.settings.kafka is None else "127.0.0.1:1"
        self.opened.append(
            open_log(replace(self.settings, kafka=kafka), home, "gateway" if self.kind == "relay" else "client")
        )
        return self.opened[-1]


KAFKA = pytest.param("kafka", marks=pytest.mark.kafka)


@pytest.fixture(params=["sqlite", KAFKA, pytest.param("relay", marks=pytest.mark.kafka)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    home = prepare(tmp_path)
    chosen = Settings(home=home.root)
    if request.param != "sqlite":
        broker: Broker = request.getfixturevalue("broker")
        name = f"contract{os.getpid()}-{next(NUMBERS)}"
        chosen = replace(chosen, kafka=broker.servers, kafka_prefix=f"{name}.", kafka_group=name, kafka_partitions=2)
    made = Place(request.param, chosen, home)
    behind = made.open("client") if made.kind == "relay" else None
    relay = None if behind is None else Relay(behind, home.relay)
    if relay is not None:
        relay.start()
    yield made
    if relay is not None:
        relay.stop()
    for log in made.opened:
        log.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    home = prepare(tmp_path / "store")
    made = open_store(Settings(home=home.root), home)
    yield made
    made.close()


def everything(log: EventLog, topic: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    found: list[Record] = []
    for partition, end in log.ends()[topic].items():
        at = 0
        while at < end and (page := log.read(topic, partition, at, 100)):
            found += page
            at = page[-1].offset
        assert at == end
    return found


def of_key(log: EventLog, topic: str, key: str) -> list[bytes]:
    """What was appended under a key, in the log's order."""
    return [record.value for record in everything(log, topic) if record.key == key]


# appending and reading


def test_an_empty_log_ends_at_nought(place: Place) -> None:
    log = place.open()
    assert set(log.ends()) == set(TOPICS) == {INFERENCE, FEEDBACK, CURATION}
    assert all(set(parts.values()) == {0} for parts in log.ends().values())
    assert log.starts() == log.ends()
    assert log.read(FEEDBACK, 0, 0, 10) == []


@pytest.mark.parametrize("durable", [True, False])
def test_records_come_back_as_they_went_in(place: Place, durable: bool) -> None:
    log = place.open()
    log.append(FEEDBACK, [("schlüssel", b"\x00\xff"), ("schlüssel", b"")], durable=durable)
    first, second = everything(log, FEEDBACK)
    assert (first.topic, first.offset, first.key, first.value) == (FEEDBACK, 1, "schlüssel", b"\x00\xff")
    assert (second.partition, second.offset, second.key, second.value) == (first.partition, 2, "schlüssel", b"")


def test_appending_nothing_changes_nothing(place: Place) -> None:
    log = place.open()
    log.append(FEEDBACK, [], durable=True)
    assert everything(log, FEEDBACK) == []


def test_topics_are_apart(place: Place) -> None:
    log = place.open()
    for topic in (*TOPICS, *TOLD):
        log.append(topic, [("k", topic.encode())], durable=True)
    assert {topic: of_key(log, topic, "k") for topic in TOPICS} == {topic: [topic.encode()] for topic in TOPICS}
    for topic in TOLD:
        found = [record.value for part in log.ends()[FEEDBACK] for record in log.read(topic, part, 0, 10)]
        assert found == [topic.encode()]


def test_reading_starts_after_the_offset_and_keeps_to_the_limit(place: Place) -> None:
    log = place.open()
    log.append(FEEDBACK, [("k", b"%d" % n) for n in range(5)], durable=True)
    at = everything(log, FEEDBACK)[0].partition
    head = log.read(FEEDBACK, at, 0, 2)
    assert [record.value for record in head] == [b"0", b"1"]
    assert [record.value for record in log.read(FEEDBACK, at, head[-1].offset, 10)] == [b"2", b"3", b"4"]
    assert log.read(FEEDBACK, at, log.ends()[FEEDBACK][at], 10) == []


def test_one_answer_holds_no_more_bytes_than_a_batch_may(place: Place) -> None:
    """Of events that lie elsewhere, and in the log by reference, too: a reader has them all in memory."""
    log = place.open()
    values = [b"%d" % n * (READ_BYTES // 3) for n in range(5)]
    for value in values:
        log.append(INFERENCE, [("k", value)], durable=False)
    (partition,) = [part for part, end in log.ends()[INFERENCE].items() if end]
    read: list[bytes] = []
    while page := log.read(INFERENCE, partition, len(read), 2_000):
        assert len(page) == 1 or sum(len(record.value) for record in page) <= READ_BYTES
        read += [record.value for record in page]
    assert read == values


def test_the_log_is_replayed_from_any_offset_again_and_again(place: Place) -> None:
    log = place.open()
    log.append(FEEDBACK, [("k", b"%d" % n) for n in range(30)], durable=True)
    at = everything(log, FEEDBACK)[0].partition
    for after in (0, 29, 7, 7, 0, 12, 0):
        assert [record.value for record in log.read(FEEDBACK, at, after, 50)] == [b"%d" % n for n in range(after, 30)]
    assert everything(log, FEEDBACK) == everything(place.open(), FEEDBACK)


def test_what_was_durable_is_there_after_reopening(place: Place) -> None:
    first = place.open()
    first.append(FEEDBACK, [("k", b"1")], durable=True)
    first.close()
    assert of_key(place.open(), FEEDBACK, "k") == [b"1"]


def test_another_handle_sees_what_was_appended_and_goes_on_after_it(place: Place) -> None:
    writer, reader = place.open(), place.open()
    writer.append(FEEDBACK, [("k", b"1")], durable=True)
    at = everything(reader, FEEDBACK)[0].partition
    reader.append(FEEDBACK, [("k", b"2")], durable=True)
    assert [record.value for record in writer.read(FEEDBACK, at, 0, 10)] == [b"1", b"2"]
    writer.append(FEEDBACK, [("k", b"3")], durable=True)
    assert [record.value for record in reader.read(FEEDBACK, at, 2, 10)] == [b"3"], "without asking for its end"


def test_many_writers_lose_nothing_and_each_keeps_its_order(place: Place) -> None:
    def write(log: EventLog, writer: int) -> None:
        for batch in range(10):
            records = [(f"{writer}", b"%d.%d" % (batch, part)) for part in range(3)]
            log.append(FEEDBACK, records, durable=batch % 2 == 0)

    shared = place.open()
    handles = [shared, shared, place.open(), place.open()]
    threads = [threading.Thread(target=write, args=(log, n)) for n, log in enumerate(handles)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(everything(shared, FEEDBACK)) == 120
    for writer in range(4):
        expected = [b"%d.%d" % (batch, part) for batch in range(10) for part in range(3)]
        assert of_key(shared, FEEDBACK, f"{writer}") == expected


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.binary(max_size=5), max_size=4), max_size=6), st.integers(1, 5))
def test_paging_through_gives_all_in_order(place: Place, batches: list[list[bytes]], limit: int) -> None:
    log = place.opened[-1] if len(place.opened) > 1 else place.open()
    before = log.ends()[INFERENCE]
    for batch in batches:
        log.append(INFERENCE, [("k", value) for value in batch], durable=False)
    seen: list[bytes] = []
    for partition, at in before.items():
        while page := log.read(INFERENCE, partition, at, limit):
            assert len(page) <= limit
            assert [record.offset for record in page] == list(range(at + 1, at + 1 + len(page)))
            seen += [record.value for record in page]
            at = page[-1].offset
        assert at == log.ends()[INFERENCE][partition]
    assert seen == [value for batch in batches for value in batch]


def test_ends_count_what_was_acknowledged(place: Place) -> None:
    log, other = place.open(), place.open()
    for n in range(1, 6):
        log.append(FEEDBACK, [("k", b"%d" % n)], durable=True)
        assert sum(other.ends()[FEEDBACK].values()) == n


@pytest.mark.parametrize("size", [899_000, 1_048_576, 5_000_000])
def test_an_event_of_any_size_comes_back_whole(place: Place, size: int) -> None:
    log = place.open()
    value = b"%d" % size + b"x" * size
    log.append(INFERENCE, [("k", b"before"), ("k", value), ("k", b"after")], durable=True)
    assert of_key(place.open(), INFERENCE, "k") == [b"before", value, b"after"]


def test_many_big_events_at_once(place: Place) -> None:
    log = place.open()
    values = [b"%d" % n + b"x" * 700_000 for n in range(40)]
    log.append(INFERENCE, [("k", value) for value in values], durable=False)
    assert of_key(log, INFERENCE, "k") == values


ASKED: dict[str, Callable[[EventLog], object]] = {
    "append": lambda log: log.append(FEEDBACK, [("k", b"1")], durable=True),
    "read": lambda log: log.read(FEEDBACK, 0, 0, 1),
    "ends": lambda log: log.ends(),
    "starts": lambda log: log.starts(),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("asked", ASKED)
def test_a_log_that_is_away_says_so(place: Place, asked: str) -> None:
    with pytest.raises(StoreUnavailable):
        ASKED[asked](place.nowhere())


# who reads what


def until_assigned(logs: list[EventLog]) -> list[set[tuple[str, int]]]:
    """Ask them in turn, as their processes would, until every partition is somebody's; what each has."""
    every = {(topic, part) for topic, parts in logs[0].ends().items() for part in parts}
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        held = [set(log.assigned().places) for log in logs]
        steady = [set(log.assigned().places) for log in logs]
        if held == steady and set().union(*held) == every and all(held):
            return held
        assert time.monotonic() < deadline_s, f"nobody reads {every - set().union(*held)}"


MEMBERS = pytest.mark.parametrize("place", ["sqlite", KAFKA], indirect=True)
"""A relay is no member of the consumers' group."""


@MEMBERS
def test_one_member_reads_everything(place: Place) -> None:
    log = place.open("member")
    (held,) = until_assigned([log])
    log.append(FEEDBACK, [(f"k{n}", b"%d" % n) for n in range(50)], durable=True)
    assert {topic for topic, _ in held} == set(TOPICS)
    assert sorted(record.value for record in everything(log, FEEDBACK)) == sorted(b"%d" % n for n in range(50))


@MEMBERS
def test_after_a_rebalance_only_whoever_took_a_partition_last_may_write_it(place: Place, store: Store) -> None:
    first = place.open("member")
    until_assigned([first])
    with store.write() as tx:
        before = {place: data_rows.take_partition(tx, *place) for place in first.assigned().places}
    generation = first.assigned().generation
    second = place.open("member")
    _, held = until_assigned([first, second])
    with store.write() as tx:
        after = {place: data_rows.take_partition(tx, *place) for place in held}
    moved = {place for place in held if after[place][0] > before[place][0]}
    assert moved == held, "each assignment raises the epoch"
    for topic, partition in held:
        with pytest.raises(LostRace), store.write() as tx:
            data_rows.advance(tx, topic, partition, before[topic, partition][0], 0, 5)
        with store.write() as tx:
            data_rows.advance(tx, topic, partition, after[topic, partition][0], 0, 5)
    assert first.assigned().generation > generation or first.assigned().places == held, "told, or all is everybody's"


@MEMBERS
def test_a_member_that_leaves_hands_its_part_on(place: Place) -> None:
    first, second = place.open("member"), place.open("member")
    until_assigned([first, second])
    first.close()
    place.opened.remove(first)
    (held,) = until_assigned([second])
    second.append(FEEDBACK, [(f"k{n}", b"%d" % n) for n in range(20)], durable=True)
    assert len(everything(second, FEEDBACK)) == 20
    assert {topic for topic, _ in held} == set(TOPICS)


# what is read is written once, with how far it was read


def event(n: int) -> bytes:
    return encode(FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", 6_000 + n, correction=f"Free return {n}."))


def ingested(place: Place, store: Store, batches: int | None = None) -> None:
    """A consumer's life: take the partitions, and read `batches` of 7 of each, or all there is."""
    log = place.open("member")
    until_assigned([log])
    for at in take_partitions(store, log):
        left = batches
        while left != 0 and at.offset < log.ends()[at.topic][at.partition]:
            at = step(store, log, at, 5, limit=7)
            at = replace(at, streak=0)
            left = None if left is None else left - 1
    log.close()
    place.opened.remove(log)


def lag(log: EventLog, store: Store) -> int:
    with store.read() as tx:
        read, of = data_rows.events_read(tx, log.ends())
    return of - read


@MEMBERS
def test_offsets_are_committed_with_the_data(place: Place, store: Store) -> None:
    log = place.open()
    records = [(f"inf-{n}", event(n)) for n in range(60)]
    log.append(FEEDBACK, [*records, *records[::5]], durable=True)
    assert lag(log, store) == 72
    ingested(place, store, batches=1)
    with store.read() as tx:
        assert 0 < data_rows.ledger(tx, "support")["acknowledged"] < 60
    assert 0 < lag(log, store) < 72
    ingested(place, store)
    with store.read() as tx:
        assert data_rows.ledger(tx, "support")["acknowledged"] == 60, "each once"
    assert lag(log, store) == 0


@MEMBERS
def test_a_log_that_is_read_again_from_its_beginning_changes_nothing(place: Place, store: Store) -> None:
    log = place.open()
    log.append(FEEDBACK, [(f"inf-{n}", event(n)) for n in range(20)], durable=True)
    ingested(place, store)
    with store.write() as tx:
        before = data_rows.ledger(tx, "support")
        tx.execute(update(schema.offsets).values(position=0))
    ingested(place, store)
    with store.read() as tx:
        assert data_rows.ledger(tx, "support") == before and before["acknowledged"] == 20
    assert lag(log, store) == 0


@MEMBERS
def test_dead_letters_wait_and_are_redriven(place: Place, store: Store) -> None:
    log = place.open()
    broken = event(1).replace(b"6001", b"true")
    log.append(FEEDBACK, [("inf-1", broken), ("inf-2", event(2)), ("inf-1", b"junk")], durable=True)
    ingested(place, store)
    with store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == {"inference_not_seen": 1, "dead_letter": 1}
        letters = {letter.record.value: letter for letter in dead_letter_rows.listed(tx, 9)}
    assert {letter.record.value for letter in letters.values()} == {broken, b"junk"}
    told = [decoded(record) for part in log.ends()[FEEDBACK] for record in log.read(DEAD_LETTER, part, 0, 9)]
    assert {(one.topic, one.partition, one.offset, one.key, one.value) for one in told} == {
        (FEEDBACK, letter.record.partition, letter.record.offset, "inf-1", letter.record.value)
        for letter in letters.values()
    }
    mended = replace(letters[broken], record=replace(letters[broken].record, value=event(1)))
    assert redrive(store, log, mended, 9, "test") and not redrive(store, log, mended, 9, "test")
    ingested(place, store)
    with store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == {"inference_not_seen": 2}
        assert [letter.record.value for letter in dead_letter_rows.listed(tx, 9)] == [b"junk"]


def decoded(record: Record) -> DeadLetterEvent:
    return msgspec.json.decode(record.value, type=DeadLetterEvent)
