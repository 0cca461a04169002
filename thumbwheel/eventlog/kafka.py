"""The event log over Apache Kafka: topics by a prefix, partitions by key, acknowledged by every replica in step.

Nothing waits for a broker for longer than `patience_s`: what it has not acknowledged by then is StoreUnavailable, and
may be in the log all the same. The producer is idempotent, so its own tries leave one record; a caller's leave two with
one event id. Brokers stamp records themselves (LogAppendTime), so no clock but theirs counts.

Appending is safe from several threads; reading takes turns. A send costs more than a whole request of the gateway, and
blocks when a broker hangs: gateways reach this through a process of its own (`thumbwheel.eventlog.relay`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaProducer

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Assignment, Record
from thumbwheel.eventlog.kafka_cluster import Cluster, away, connect, make_topics
from thumbwheel.eventlog.kafka_reader import Member, Reader
from thumbwheel.eventlog.references import outline, resolve
from thumbwheel.eventlog.topics import named

PATIENCE_S = 4.0
BATCH_BYTES = 256 * 1024
REQUEST_MS = 2_000  # a broker that has not answered a send by then is asked again

CLOSE_S = 1.0

Answer = TypeVar("Answer")


class KafkaEventLog:
    """An EventLog on `cluster`; big events' bytes lie in `artifacts`. Connects when it is first used.

    With a `member` it reads only the partitions that its group gives it.
    """

    def __init__(
        self,
        cluster: Cluster,
        artifacts: ArtifactStore,
        *,
        member: Member | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._cluster, self._artifacts, self._member, self._patience_s = cluster, artifacts, member, patience_s
        self._connecting, self._reading = threading.Lock(), threading.Lock()
        self._producer: Any = None
        self._reader: Reader | None = None
        self._topics_there = False

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """See EventLog. `durable` makes no difference: all records wait for every replica in step."""
        if not records:
            return
        deadline_s = time.monotonic() + self._patience_s
        lines = [(key.encode(), outline(self._artifacts, value)) for key, value in records]
        producer, name = self._connected(deadline_s), named(self._cluster.prefix, topic)
        try:
            with away("took no records"):
                sent = [producer.send(name, key=key, value=value) for key, value in lines]
                for record in sent:
                    record.get(timeout=max(0.01, deadline_s - time.monotonic()))
        except StoreUnavailable:
            self._give_up(producer)
            raise

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """See EventLog."""
        records = self._read(lambda reader, deadline_s: reader.read(topic, partition, after, limit, deadline_s))
        return [
            record
            if (value := resolve(self._artifacts, record.value)) is record.value
            else Record(record.topic, record.partition, record.offset, record.key, value)
            for record in records
        ]

    def ends(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._read(Reader.ends)

    def starts(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._read(Reader.starts)

    def assigned(self) -> Assignment:
        """See EventLog."""
        return self._read(Reader.assigned)

    def close(self) -> None:
        """See EventLog."""
        with self._connecting:
            if self._producer is not None:
                self._producer.close(timeout=1)
                self._producer = None
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _connected(self, deadline_s: float) -> Any:
        with _held(self._connecting, deadline_s):
            if self._producer is None:
                self._make_topics(deadline_s)
                self._producer = connect(
                    KafkaProducer,
                    self._cluster,
                    deadline_s,
                    enable_idempotence=True,
                    acks="all",
                    allow_auto_create_topics=False,
                    batch_size=BATCH_BYTES,
                    request_timeout_ms=min(REQUEST_MS, round(1000 * self._patience_s)),
                    delivery_timeout_ms=round(1000 * self._patience_s),
                    max_block_ms=round(1000 * self._patience_s),
                )
            return self._producer

    def _make_topics(self, deadline_s: float) -> None:
        if not self._topics_there:
            make_topics(self._cluster, deadline_s)
            self._topics_there = True

    def _give_up(self, producer: Any) -> None:
        """Throw the producer away with all that it still holds: its callers were told that it was not taken.

        Raises StoreUnavailable, which they are told anyway.
        """
        with self._connecting:
            if self._producer is producer:
                self._producer = None
        # Its own `close` gives up where records are left, and leaves its thread and sockets behind.
        producer._sender.force_close()
        producer._sender.join(CLOSE_S)
        with away("cannot be closed"):
            producer.close(timeout=0)

    def _read(self, asked: Callable[[Reader, float], Answer]) -> Answer:
        deadline_s = time.monotonic() + self._patience_s
        with _held(self._reading, deadline_s):
            if self._reader is None:
                self._make_topics(deadline_s)
                self._reader = Reader(self._cluster, self._member, deadline_s)
            return asked(self._reader, deadline_s)


@contextmanager
def _held(lock: threading.Lock, deadline_s: float) -> Iterator[None]:
    """Have the lock. Raises StoreUnavailable where others keep it until `deadline_s`."""
    if not lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
        raise StoreUnavailable("the event log is busy with others who wait for it")
    try:
        yield
    finally:
        lock.release()
