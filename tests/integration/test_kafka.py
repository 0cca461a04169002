"""What a real Kafka does to the event log and to consumers that share it, beside the contract of every log."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import FencedInstanceIdError

from deploy import doctor
from tests.integration.kafka_broker import Broker
from thumbwheel import rollouts
from thumbwheel.clock import system_clock
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.kafka import KafkaEventLog
from thumbwheel.eventlog.kafka_reader import AHEAD, AHEAD_BYTES, FRESH_S
from thumbwheel.eventlog.opening import open_log
from thumbwheel.eventlog.topics import ALL, SYNCED
from thumbwheel.events import FEEDBACK, INFERENCE, FeedbackEvent, InferenceEvent, encode
from thumbwheel.home import Home, prepare
from thumbwheel.records import Policies
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, dead_letter_rows
from thumbwheel.store.connection import Store, open_store

pytestmark = pytest.mark.kafka
PATIENCE_S = 90.0
NUMBERS = itertools.count()
PARTITIONS = 3


class Place:
    """A data directory with a channel, whose log is on the broker under a prefix of its own."""

    def __init__(self, broker: Broker, root: Path) -> None:
        self.broker = broker
        self.home: Home = prepare(root)
        name = f"kafka{os.getpid()}-{next(NUMBERS)}"
        self.settings = Settings(
            home=root, kafka=broker.servers, kafka_prefix=f"{name}.", kafka_group=name, kafka_partitions=PARTITIONS
        )
        self.store: Store = open_store(self.settings, self.home)
        self.log = open_log(self.settings, self.home)
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")

    def close(self) -> None:
        self.log.close()
        self.store.close()

    def say(self, numbers: range) -> None:
        """Feedback first, its inferences after; every tenth feedback twice, every 25th record junk."""
        served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok", "answer": "Oh."}
        for n in numbers:
            event = FeedbackEvent(
                f"fb-{n}", f"inf-{n}", "shop", "support", system_clock() + n, correction=f"Free return {n}."
            )
            records = [(f"inf-{n}", encode(event))] * (2 if n % 10 == 0 else 1)
            self.log.append(FEEDBACK, records + [("k", b"junk")] * (n % 25 == 0), durable=True)
        told = [{"role": "user", "content": "complaint"}]
        inferences = [
            InferenceEvent(f"inf-{n}", "shop", "support", f"u{n}", 5_000, messages=told, **served)  # type: ignore[arg-type]
            for n in numbers
        ]
        self.log.append(INFERENCE, [(event.id, encode(event)) for event in inferences], durable=False)

    def start(self, **settings: str) -> subprocess.Popen[bytes]:
        """A consumer."""
        chosen = {
            "kafka": self.settings.kafka,
            "kafka_prefix": self.settings.kafka_prefix,
            "kafka_group": self.settings.kafka_group,
            **settings,
        }
        environment = {**os.environ, **{f"THUMBWHEEL_{key.upper()}": str(value) for key, value in chosen.items()}}
        command = [sys.executable, "-m", "thumbwheel", "consumer", "--home", str(self.home.root)]
        with open(self.home.logs / "consumer.log", "ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def caught_up(self) -> bool:
        with self.store.read() as tx:
            return data_rows.caught_up(tx, self.log.ends())

    def ledger(self) -> dict[str, Any]:
        with self.store.read() as tx:
            return data_rows.ledger(tx, "support")

    def epochs(self) -> dict[tuple[str, int], int]:
        with self.store.read() as tx:
            return data_rows.epochs(tx)

    def until(self, true: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not true():
            told = (self.home.logs / "consumer.log").read_text()[-3_000:]
            assert time.monotonic() < deadline_s, f"waited for {what}\n{told}"
            time.sleep(0.05)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """The client's own log is long, and holds on to its sockets."""
    caplog.set_level(logging.CRITICAL, "kafka")


@pytest.fixture
def place(broker: Broker, tmp_path: Path) -> Iterator[Place]:
    made = Place(broker, tmp_path)
    yield made
    made.close()


@contextmanager
def running(place: Place, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    process = place.start(**settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def joined(count: int) -> dict[str, Any]:
    return {"acknowledged": count, "used": 0, "refused": {}, "waiting": {"no_run_yet": count}}


# consumers


def test_consumers_that_come_go_and_are_killed_count_everything_once(place: Place) -> None:
    place.say(range(100))
    with running(place):
        place.until(lambda: place.ledger()["acknowledged"] > 0, "the first")
        with running(place) as second:
            place.say(range(100, 200))
            place.until(place.caught_up, "two consumers to read everything")
            second.send_signal(signal.SIGKILL)
            place.say(range(200, 300))
            place.until(place.caught_up, "the other to take over")
    place.say(range(300, 350))
    with running(place):
        place.until(place.caught_up, "a new one to go on")
    assert place.ledger() == joined(350)
    with place.store.read() as tx:
        assert dead_letter_rows.count(tx) == 14


@pytest.mark.parametrize("instance", ["", "consumer-1"])
def test_a_zombie_that_comes_back_writes_nothing(place: Place, instance: str) -> None:
    """Hung, and replaced: by the group's own judgement, or (a static member) by whoever comes under its name."""
    place.say(range(20))
    with running(place, kafka_instance=instance) as zombie:
        place.until(place.caught_up, "the first")
        os.kill(zombie.pid, signal.SIGSTOP)
        before = place.epochs()
        with running(place, kafka_instance=instance) as heir:
            place.say(range(20, 60))
            place.until(place.caught_up, "its heir")
            assert all(epoch > before[at] for at, epoch in place.epochs().items()), "every partition was taken anew"
            os.kill(zombie.pid, signal.SIGCONT)
            place.say(range(60, 120))
            if instance:  # displaced for good: it finds no partition of its own
                heir_reads = place.epochs()
                place.until(lambda: zombie.poll() == 1, "the zombie to end")
                place.until(place.caught_up, "its heir to read on")
                assert place.epochs() == heir_reads and heir.poll() is None
            else:  # a member among others again
                place.until(place.caught_up, "both to read on")
    assert place.ledger() == joined(120)


class Fenced:
    """A client whose name in the group another has taken, as it says at each poll from then on."""

    def __init__(self, client: KafkaConsumer) -> None:
        self.assignment, self.close = client.assignment, client.close

    def poll(self, **_: object) -> None:
        raise FencedInstanceIdError


def test_a_member_whose_name_another_has_taken_is_no_outage_to_wait_for(place: Place) -> None:
    with closing(open_log(replace(place.settings, kafka_instance="consumer-1"), place.home, "member")) as log:
        log.assigned()
        log._reader._consumer = Fenced(log._reader._consumer)  # type: ignore[attr-defined]
        with pytest.raises(LostRace):
            log.assigned()


def test_a_static_member_that_is_back_soon_gets_its_partitions_at_once(place: Place) -> None:
    place.say(range(10))
    for n in range(3):
        with running(place, kafka_instance="consumer-1"):
            place.until(place.caught_up, "a restarted member")
            place.say(range(10 * n, 10 * n + 10))
    assert place.ledger()["acknowledged"] >= 10


def test_a_broker_that_restarts_costs_nothing(place: Place) -> None:
    place.say(range(50))
    with running(place):
        place.until(place.caught_up, "the first")
        place.broker.kill()
        with pytest.raises(StoreUnavailable):
            place.say(range(50, 51))
        place.broker.start()
        place.until(lambda: said(place, range(50, 120)), "the log to take more")
        place.until(lambda: place.ledger()["acknowledged"] == 120 and place.caught_up(), "the consumer to go on")
    assert place.ledger() == joined(120)


def said(place: Place, numbers: range) -> bool:
    try:
        place.say(numbers)
    except StoreUnavailable:
        return False
    return True


# topics and records


def test_topics_are_made_as_the_doctor_wants_them(place: Place) -> None:
    before = list(doctor.event_log(replace(place.settings, kafka_prefix="not-there."), place.home, None, {}))
    assert [one.what for one in before if one.advice] == [f"topic {name}" for name in ALL]
    place.log.ends()
    found = list(doctor.event_log(place.settings, place.home, None, {}))
    assert [one for one in found if one.advice] == []
    assert {one.what for one in found} == {"Kafka", "consumer", *(f"topic {name}" for name in ALL)}
    with closing(KafkaAdminClient(bootstrap_servers=place.broker.servers)) as admin:
        assert "not-there.feedback" not in admin.list_topics(), "it looks and changes nothing"


def test_feedback_is_on_the_brokers_disks_before_it_is_acknowledged(place: Place) -> None:
    """As the broker says it: each record of its topic is synced, and every replica in step has it."""
    place.say(range(1))
    topics = [f"{place.settings.kafka_prefix}{topic}" for topic in ALL]
    with closing(KafkaAdminClient(bootstrap_servers=place.broker.servers)) as admin:
        wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        found = admin.describe_configs(wanted, config_filter="all")["topic"]
    each = {topic: int(found[f"{place.settings.kafka_prefix}{topic}"]["flush.messages"]["value"]) for topic in ALL}
    assert {topic for topic, messages in each.items() if messages == 1} == set(SYNCED) == set(ALL) - {INFERENCE}
    config = place.log._producer.config  # type: ignore[attr-defined]
    assert config["acks"] in ("all", -1) and config["enable_idempotence"]


def test_a_channel_may_have_a_topic_of_its_own_for_dead_letters(place: Place) -> None:
    place.settings = replace(place.settings, dead_letter_channels=("support",))
    broken = encode(FeedbackEvent("fb-1", "inf-1", "shop", "support", 7)).replace(b":7", b":true")
    place.log.append(FEEDBACK, [("inf-1", broken)], durable=True)
    with running(place, dead_letter_channels="support"):
        place.until(lambda: place.ledger()["waiting"] == {"dead_letter": 1}, "the dead letter")
    with closing(open_log(place.settings, place.home)) as log:
        parts = range(PARTITIONS)
        found = [record for part in parts for record in log.read("dead-letter.support", part, 0, 9)]
    assert len(found) == 1 and b'"dead-letter.v1"' in found[0].value
    told = {one.what: one.advice for one in doctor.event_log(place.settings, place.home, None, {})}
    assert told["topic dead-letter.support"] is None


def test_a_broker_that_is_away_is_said_so(place: Place) -> None:
    (found,) = doctor.event_log(replace(place.settings, kafka="127.0.0.1:1"), place.home, None, {})
    assert found.what == "Kafka" and found.advice is not None


def test_the_brokers_clock_counts_not_ours(place: Place) -> None:
    """A record stamped an hour ahead fails its whole batch where the broker takes its sender's word (CreateTime)."""
    place.log.append(FEEDBACK, [("k", b"1")], durable=True)
    producer = place.log._connected(time.monotonic() + 10)  # type: ignore[attr-defined]
    ahead_ms = round(time.time() * 1000) + 5 * 3_600_000
    sent = producer.send(f"{place.settings.kafka_prefix}{FEEDBACK}", key=b"k", value=b"2", timestamp_ms=ahead_ms)
    assert sent.get(timeout=10).timestamp < ahead_ms - 3_600_000


def test_what_expired_is_gone_from_the_beginning_and_reading_goes_on(place: Place) -> None:
    place.log.append(FEEDBACK, [("k", b"%d" % n) for n in range(10)], durable=True)
    (partition,) = [part for part, end in place.log.ends()[FEEDBACK].items() if end]
    at = TopicPartition(f"{place.settings.kafka_prefix}{FEEDBACK}", partition)
    with closing(KafkaAdminClient(bootstrap_servers=place.broker.servers)) as admin:
        admin.delete_records({at: 7})
        assert place.log.starts()[FEEDBACK][partition] == 7
        assert [record.offset for record in place.log.read(FEEDBACK, partition, 0, 99)] == [8, 9, 10]
        admin.delete_records({at: 10})
    assert place.log.read(FEEDBACK, partition, 3, 99) == []
    with closing(open_log(place.settings, place.home)) as fresh:
        assert fresh.read(FEEDBACK, partition, 3, 99) == []
    place.log.append(FEEDBACK, [("k", b"10")], durable=True)
    assert [record.offset for record in place.log.read(FEEDBACK, partition, 3, 99)] == [11]


@pytest.mark.parametrize(("many", "size", "limit"), [(3 * AHEAD, 5, 500), (80, 800_000, 1)])
def test_a_partition_with_a_backlog_is_read_on_beside_others_that_have_records(
    place: Place, many: int, size: int, limit: int
) -> None:
    """Paused while its buffer is full; the client must not sit on what it had fetched of it by then."""
    values = [b"%05d" % n * (size // 5) for n in range(many)]
    for start in range(0, many, limit):
        place.log.append(INFERENCE, [("one key", value) for value in values[start : start + limit]], durable=False)
    (partition,) = [part for part, end in place.log.ends()[INFERENCE].items() if end]
    read: list[bytes] = []
    while len(read) < many:
        read += [record.value for record in place.log.read(INFERENCE, partition, len(read), limit)]
        place.log.append(FEEDBACK, [(f"k{n}", b"?") for n in range(9)], durable=False)
        for part, end in place.log.ends()[FEEDBACK].items():
            assert place.log.read(FEEDBACK, part, 0, 500) or not end
        assert buffered_bytes(place.log) < AHEAD_BYTES + (4 << 20)
    assert read == values


def buffered_bytes(log: EventLog) -> int:
    assert isinstance(log, KafkaEventLog) and log._reader is not None
    return sum(len(one.value) for buffer in log._reader._buffers.values() for one in buffer.records)


def test_partitions_can_be_added(place: Place) -> None:
    place.say(range(5))
    topic = f"{place.settings.kafka_prefix}{FEEDBACK}"
    with closing(KafkaAdminClient(bootstrap_servers=place.broker.servers)) as admin:
        admin.create_partitions({topic: PARTITIONS + 2})
    with closing(open_log(place.settings, place.home)) as log:
        place.until(lambda: len(log.ends()[FEEDBACK]) == PARTITIONS + 2, "the new partitions")
    time.sleep(FRESH_S)
    assert len(place.log.ends()[FEEDBACK]) == PARTITIONS + 2, "whoever asks for its end sees all of it"
    with running(place):
        place.log.close()
        place.log = open_log(place.settings, place.home)
        place.say(range(5, 60))
        place.until(place.caught_up, "the consumer to read them too")
    assert place.ledger() == joined(60)


def test_an_acknowledged_record_is_one_though_it_was_sent_through_a_hang(place: Place) -> None:
    """The idempotent producer's own tries leave one record."""
    log = open_log(place.settings, place.home, busy_ms=20_000)
    log.append(INFERENCE, [("warm", b"up")], durable=True)
    place.broker.freeze()
    thaw = threading.Timer(5.0, place.broker.thaw)  # longer than a send is waited for before it is tried again
    thaw.start()
    log.append(INFERENCE, [(f"k{n}", b"%d" % n) for n in range(100)], durable=True)
    thaw.join()
    log.close()
    found = []
    for partition, end in place.log.ends()[INFERENCE].items():
        at = 0
        while at < end:
            page = place.log.read(INFERENCE, partition, at, 100)
            found += [record.value for record in page]
            at = page[-1].offset
    assert sorted(found) == sorted([b"up", *(b"%d" % n for n in range(100))])


def test_looking_for_a_broker_all_night_leaks_nothing(place: Place) -> None:
    log = open_log(replace(place.settings, kafka="127.0.0.1:1"), place.home, busy_ms=150)
    assert isinstance(log, KafkaEventLog)

    def try_all() -> None:
        for ask in (log.ends, lambda: log.append(FEEDBACK, [("k", b"1")], durable=True)):
            with pytest.raises(StoreUnavailable):
                ask()

    try_all()
    before = held()
    for _ in range(5):
        try_all()
    assert held() == before
    log.close()


def test_a_client_that_outlives_its_broker_leaks_nothing(place: Place) -> None:
    log = open_log(place.settings, place.home)
    place.until(lambda: answers(log), "the log to say where it ends")
    before = held()
    place.broker.kill()
    try:
        until_s = time.monotonic() + 8.0  # some twenty tries to connect again
        while time.monotonic() < until_s:
            with pytest.raises(StoreUnavailable):
                log.ends()
    finally:
        place.broker.start()
    place.until(lambda: answers(log), "the log to say where it ends")
    (threads, files), (threads_before, files_before) = held(), before
    assert threads == threads_before and files <= files_before + 3  # a connection or two is under way at any time
    log.close()


def held() -> tuple[int, int]:
    """Threads and open files of this process."""
    gc.collect()  # a client's parts hold each other
    return threading.active_count(), len(os.listdir("/proc/self/fd"))


def answers(log: EventLog) -> bool:
    try:
        return bool(log.ends())
    except StoreUnavailable:
        return False


def test_what_a_broker_did_not_take_is_let_go_with_its_thread(place: Place) -> None:
    log = open_log(place.settings, place.home, busy_ms=1_500)
    place.until(lambda: taken(log), "the log to take something")
    log.close()
    before = threading.active_count()
    place.until(lambda: taken(log), "and again")
    place.broker.freeze()
    try:
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                log.append(FEEDBACK, [("k", b"3")], durable=True)
        assert threading.active_count() == before
    finally:
        place.broker.thaw()
    place.until(lambda: taken(log), "the log to take more")
    log.close()


def taken(log: EventLog) -> bool:
    try:
        log.append(FEEDBACK, [("k", b"4")], durable=True)
    except StoreUnavailable:
        return False
    return True


def test_other_clients_read_the_topics_as_they_are(place: Place) -> None:
    place.say(range(30))
    names = [TopicPartition(f"{place.settings.kafka_prefix}{FEEDBACK}", part) for part in range(PARTITIONS)]
    with closing(KafkaConsumer(bootstrap_servers=place.broker.servers, auto_offset_reset="earliest")) as other:
        other.assign(names)
        ends = other.end_offsets(names)
        seen: dict[TopicPartition, list[int]] = {name: [] for name in names}
        place.until(lambda: took(other, seen) == sum(ends.values()), "another client to read them")
    assert {name.partition: len(offsets) for name, offsets in seen.items()} == place.log.ends()[FEEDBACK]
    assert all(offsets == list(range(len(offsets))) for offsets in seen.values()), "our offsets are theirs plus one"


def took(other: Any, seen: dict[TopicPartition, list[int]]) -> int:
    for name, records in other.poll(timeout_ms=200).items():
        seen[name] += [record.offset for record in records]
    return sum(map(len, seen.values()))
