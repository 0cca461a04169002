"""Reads a Kafka cluster's partitions from wherever its caller says, through buffers that are filled ahead.

A `KafkaConsumer` fetches on from where it is; our offsets are in the store, and whoever reads names the one to go on
after. As long as that is where the buffer begins, nothing is fetched twice; else the consumer is sent there.

What is buffered, and what one answer comes to, is bounded in bytes too: an answer by what its events are once those
that lie in the log by reference have been fetched, which is its caller's to do.

It is used by one thread at a time, as the client asks. It knows nothing of epochs: that another may have taken a
partition meanwhile is found out by whoever writes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import FencedInstanceIdError

from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import READ_BYTES, Assignment, Record
from thumbwheel.eventlog.kafka_cluster import REQUEST_MS, Cluster, away, connect, refresh
from thumbwheel.eventlog.references import weight
from thumbwheel.eventlog.topics import named
from thumbwheel.events import TOPICS

POLL_MS = 50
FETCH_WAIT_MS = 100  # the longest that a broker keeps a fetch waiting for records, and a seek behind it
AHEAD = 4_000  # records buffered of one partition before it is fetched no further: two batches of a consumer
AHEAD_BYTES = 16 << 20  # and bytes of them; what the client had fetched by then comes on top, a MiB as a rule
SESSION_MS = 10_000  # a member that is not heard of for so long loses its partitions
METADATA_MS = 30_000  # how soon a member sees partitions that were added
AGAIN_S = 0.05  # before a question that was answered by halves is asked again
FRESH_S = 1.0  # and anyone else, who is asked how far a run must see


@dataclass(frozen=True)
class Member:
    """Who this reader is in its group; `instance` where its membership is static."""

    group: str
    instance: str | None


@dataclass
class _Buffer:
    """What was fetched of one partition and not yet read; `after` is the offset before the first of it."""

    after: int
    records: deque[Any] = field(default_factory=deque)
    bytes: int = 0

    def put(self, record: Any) -> None:
        """Buffer one more."""
        self.records.append(record)
        self.bytes += len(record.value or b"")

    def take(self, limit: int) -> list[Any]:
        """Up to `limit` of them: the first, and those after it whose events come to READ_BYTES with it at most."""
        taken: list[Any] = []
        size = 0
        while self.records and len(taken) < limit:
            value = self.records[0].value or b""
            size += weight(value)
            if taken and size > READ_BYTES:
                break
            taken.append(self.records.popleft())
            self.bytes -= len(value)
        self.after = taken[-1].offset + 1 if taken else self.after
        return taken

    @property
    def full(self) -> bool:
        """Whether its partition is to be fetched no further."""
        return len(self.records) >= AHEAD or self.bytes >= AHEAD_BYTES

    @property
    def half(self) -> bool:
        """Whether it holds so little that its partition is to be fetched on."""
        return len(self.records) <= AHEAD // 2 and self.bytes <= AHEAD_BYTES // 2


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # the client has no types
    """What the group has given us, and how often that changed. Called on the client's own thread."""

    def __init__(self) -> None:
        self.given: tuple[int, frozenset[TopicPartition]] = (0, frozenset())

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """They may be another's from now on."""
        generation, held = self.given
        self.given = (generation + 1, held - frozenset(revoked))

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """They are ours."""
        generation, held = self.given
        self.given = (generation + 1, held | frozenset(assigned))


class Reader:
    """A client that reads. Without a `member` it may read everything. Raises StoreUnavailable."""

    def __init__(self, cluster: Cluster, member: Member | None, deadline_s: float) -> None:
        self._topics = {named(cluster.prefix, topic): topic for topic in TOPICS}
        self._prefix, self._member = cluster.prefix, member
        self._listener = _Listener()
        self._buffers: dict[TopicPartition, _Buffer] = {}
        self._refreshed_s = float("-inf")
        self._seen = 0  # the generation that the buffers are of
        group = {} if member is None else {"group_id": member.group, "group_instance_id": member.instance}
        self._consumer = connect(
            KafkaConsumer,
            cluster,
            deadline_s,
            enable_auto_commit=False,  # offsets are in the store, with the data
            auto_offset_reset="earliest",  # where retention was faster than its reader; `starts` tells
            allow_auto_create_topics=False,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            session_timeout_ms=SESSION_MS,
            metadata_max_age_ms=METADATA_MS,
            request_timeout_ms=REQUEST_MS,
            **group,
        )
        if member is not None:
            self._consumer.subscribe(sorted(self._topics), listener=self._listener)

    def read(self, topic: str, partition: int, after: int, limit: int, deadline_s: float) -> list[Record]:
        """See EventLog.read. Raises StoreUnavailable at `deadline_s` of the monotonic clock."""
        place = TopicPartition(named(self._prefix, topic), partition)
        with away("cannot be read"):
            if not self._ours(place):
                return []
            buffer = self._buffer_at(place, after)
            end: int | None = None
            while not buffer.records:
                self._poll(POLL_MS)
                if not self._ours(place):
                    return []
                buffer = self._buffer_at(place, after)
                if buffer.records:
                    break
                if end is None:
                    end = self._bounds(KafkaConsumer.end_offsets, [place], deadline_s)[place]
                # Where retention has taken all that was left, the client's own position is past what was asked for.
                if end <= max(after, self._consumer.position(place, timeout_ms=_ms(deadline_s)) or 0):
                    return []
                if time.monotonic() > deadline_s:
                    raise StoreUnavailable(f"the event log cannot be read: nothing came of {topic}/{partition}")
        taken = buffer.take(limit)
        if buffer.half:
            self._resume(place)
        return [
            Record(topic, partition, one.offset + 1, (one.key or b"").decode("utf-8", "replace"), one.value or b"")
            for one in taken
        ]

    def ends(self, deadline_s: float) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._everywhere(KafkaConsumer.end_offsets, deadline_s)

    def starts(self, deadline_s: float) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._everywhere(KafkaConsumer.beginning_offsets, deadline_s)

    def assigned(self, deadline_s: float) -> Assignment:
        """See EventLog. Raises LostRace for good where another goes by this member's name."""
        if self._member is None:
            every = {(topic, part) for topic, parts in self.ends(deadline_s).items() for part in parts}
            return Assignment(1, frozenset(every))
        with away("gives out no partitions"):
            try:
                self._poll(0 if self._consumer.assignment() else POLL_MS)
            except FencedInstanceIdError as error:  # this client never reads again, whatever becomes of the other
                raise LostRace(f"another consumer goes by the name {self._member.instance}") from error
        generation, held = self._listener.given
        return Assignment(generation, frozenset((self._topics[one.topic], one.partition) for one in held))

    def close(self) -> None:
        """Leave the group and close the client; a broker that is away is not waited for long."""
        self._consumer.close(timeout_ms=1_000)

    def _ours(self, place: TopicPartition) -> bool:
        """Whether we may read there."""
        self._forget()
        if self._member is not None:
            return place in self._listener.given[1] & self._consumer.assignment()
        if place not in self._consumer.assignment():
            self._consumer.assign([*self._consumer.assignment(), place])
            self._buffers.clear()
        return True

    def _forget(self) -> None:
        """Throw away what was fetched under an earlier assignment."""
        if self._seen != self._listener.given[0]:
            self._seen = self._listener.given[0]
            self._buffers.clear()

    def _buffer_at(self, place: TopicPartition, after: int) -> _Buffer:
        buffer = self._buffers.get(place)
        if buffer is None or buffer.after != after:
            buffer = self._buffers[place] = _Buffer(after)
            self._consumer.seek(place, after)  # our offset of the last record is Kafka's of the next
            self._resume(place)
        return buffer

    def _resume(self, place: TopicPartition) -> None:
        """Have it fetched on, or again where it was paused.

        What the client had fetched of it by then is thrown away: it takes that up again only where it has nothing of
        another partition at hand (kafka-python 3.0.12), and until it does it fetches no more, which may be for ever.
        """
        parked = self._consumer._fetcher._paused_partition_records.pop(place, None)
        if parked is not None:
            parked.drain()
        self._consumer.resume(place)

    def _poll(self, timeout_ms: int) -> None:
        """Drive the client, and buffer what it has fetched of the partitions that were asked for."""
        fetched: Mapping[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms, max_records=AHEAD)
        self._forget()
        for place, records in fetched.items():
            buffer = self._buffers.get(place)
            if buffer is None:  # nobody has said from where to read it
                self._consumer.pause(place)
                continue
            last = buffer.records[-1].offset + 1 if buffer.records else buffer.after
            for one in records:
                if one.offset >= last:
                    buffer.put(one)
            if buffer.full:
                self._consumer.pause(place)

    def _everywhere(self, bound: Any, deadline_s: float) -> dict[str, dict[int, int]]:
        with away("does not say where it ends"):
            partitions = self._partitions()
            stale = self._member is None and time.monotonic() > self._refreshed_s + FRESH_S
            if stale or not all(partitions.values()):
                refresh(self._consumer, _ms(deadline_s))
                self._refreshed_s, partitions = time.monotonic(), self._partitions()
        places = [TopicPartition(name, partition) for name, found in partitions.items() for partition in sorted(found)]
        found: dict[str, dict[int, int]] = {topic: {} for topic in TOPICS}
        for place, offset in self._bounds(bound, places, deadline_s).items():
            found[self._topics[place.topic]][place.partition] = offset
        return found

    def _partitions(self) -> dict[str, Iterable[int]]:
        """What the client knows of each topic; nothing is asked for."""
        return {name: self._consumer._cluster.partitions_for_topic(name) or () for name in self._topics}

    def _bounds(self, bound: Any, places: list[TopicPartition], deadline_s: float) -> dict[TopicPartition, int]:
        return bounds(lambda: bound(self._consumer, places, timeout_ms=_ms(deadline_s)), deadline_s)


def bounds(ask: Callable[[], dict[TopicPartition, int]], deadline_s: float) -> dict[TopicPartition, int]:
    """What `ask` says, asked again where its answer lacks a partition. Raises StoreUnavailable.

    Under load kafka-python 3.0.12 has looked for a partition in an answer of its own that had not all of them.
    """
    with away("does not say where it ends"):
        while True:
            try:
                return ask()
            except KeyError as lacking:
                if time.monotonic() >= deadline_s:
                    raise StoreUnavailable(f"the event log does not say where {lacking} ends") from lacking
                time.sleep(AGAIN_S)


def _ms(deadline_s: float) -> int:
    return max(50, round(1000 * (deadline_s - time.monotonic())))
