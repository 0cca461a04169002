"""An event log in memory with as many partitions as a test wants, which can be told to forget its oldest records."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from thumbwheel.eventlog import Assignment, Record
from thumbwheel.events import TOPICS


class PartitionedLog:
    """An EventLog. Records of one key are in one partition, as Kafka does it."""

    def __init__(self, partitions: int = 1) -> None:
        self.partitions = partitions
        self.held: dict[tuple[str, int], list[Record]] = {
            (topic, part): [] for topic in TOPICS for part in range(partitions)
        }
        self.forgotten: dict[tuple[str, int], int] = {}
        self.told: list[str] = []

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        if topic not in TOPICS:
            self.told += [topic] * len(records)
            return
        for key, value in records:
            place = (topic, zlib.crc32(key.encode()) % self.partitions)
            self.held[place].append(Record(*place, len(self.held[place]) + 1, key, value))

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        start = max(after, self.forgotten.get((topic, partition), 0))
        return self.held[topic, partition][start : start + limit]

    def ends(self) -> dict[str, dict[int, int]]:
        return {topic: {part: len(self.held[topic, part]) for part in range(self.partitions)} for topic in TOPICS}

    def starts(self) -> dict[str, dict[int, int]]:
        return {topic: {p: self.forgotten.get((topic, p), 0) for p in range(self.partitions)} for topic in TOPICS}

    def forget(self, topic: str, partition: int, upto: int) -> None:
        """Retention has taken the records up to this offset."""
        self.forgotten[topic, partition] = upto

    def assigned(self) -> Assignment:
        return Assignment(1, frozenset(self.held))

    def close(self) -> None:
        pass
