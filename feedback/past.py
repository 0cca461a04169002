"""The event log as it was read when a dataset was frozen: an EventLog that ends at the dataset's positions.

What the log no longer holds comes from the archive (thumbwheel/store/segments.py). What belongs to somebody who has
been erased since is left out, whatever still holds it. Nothing can be appended: what a replay writes to the log, its
dead letters, is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from thumbwheel.erasure import Erased, scrubbed
from thumbwheel.eventlog import Assignment, EventLog, Place, Positions, Record
from thumbwheel.events import FeedbackEvent, InferenceEvent, decode
from thumbwheel.store.segments import Archive

PAGE = 1_000


@dataclass(frozen=True)
class Gap:
    """Records that are nowhere any more: those after offset `after`, up to `last`."""

    topic: str
    partition: int
    after: int
    last: int

    @property
    def told(self) -> str:
        """In words."""
        return f"{self.topic}/{self.partition}: records {self.after + 1} to {self.last}"


@dataclass
class Past:
    """An EventLog up to `positions`. `theirs` are the ids of what was left out: inferences have to be read before
    feedback, and that before what reviewers said of it.
    """

    log: EventLog
    archive: Archive
    positions: Positions
    erased: Erased
    theirs: set[str] = field(default_factory=set)
    left_out: set[tuple[str, int, int]] = field(default_factory=set)

    def gaps(self) -> list[Gap]:
        """What is missing between the archive's end and the log's beginning. Raises StoreUnavailable."""
        starts, ends = self.log.starts(), self.log.ends()
        return [
            gap
            for topic, partition in self.places()
            for gap in self._gaps_of(topic, partition, starts.get(topic, {}), ends.get(topic, {}))
        ]

    def _gaps_of(self, topic: str, partition: int, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[Gap]:
        last, at = self.positions[topic][partition], 0
        kept = [(one.after, one.last) for one in self.archive.of(topic, partition)]
        for after, until in [*kept, (starts.get(partition, 0), ends.get(partition, 0)), (last, last)]:
            if at < min(after, last):
                yield Gap(topic, partition, at, min(after, last))
            at = max(at, until)

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """See EventLog. Pages of which nothing is left are passed over."""
        last = self.positions[topic][partition]
        while after < last:
            page = self._page(topic, partition, after, min(limit, PAGE), last)
            if not page:
                return []
            theirs = {record.offset for record in page if self._is_theirs(record)}
            self.left_out |= {(topic, partition, offset) for offset in theirs}
            kept = [record for record in page if record.offset not in theirs]
            if kept:
                return kept
            after = page[-1].offset
        return []

    def _page(self, topic: str, partition: int, after: int, limit: int, last: int) -> list[Record]:
        kept = self.archive.end(topic, partition)
        page = self.archive.read(topic, partition, after, limit) if after < kept else []
        page = page or self.log.read(topic, partition, max(after, kept), limit)
        return [record for record in page if record.offset <= last]

    def _is_theirs(self, record: Record) -> bool:
        if not self.erased:
            return False
        try:
            event = decode(record.value)
        except msgspec.DecodeError:
            return False  # it becomes a dead letter, as it did
        if isinstance(event, InferenceEvent):
            theirs = self.erased.holds(event.tenant, event.unit)
            if theirs:
                self.theirs.add(event.id)
            return theirs
        if isinstance(event, FeedbackEvent):
            theirs = event.inference in self.theirs or self.erased.holds(event.tenant, event.author)
            if theirs:
                self.theirs.add(event.id)
            return theirs
        return scrubbed(event, self.erased, feedback=self.theirs) != event

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """Nothing becomes of it."""

    def ends(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return {topic: dict(parts) for topic, parts in self.positions.items()}

    def starts(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return {topic: dict.fromkeys(parts, 0) for topic, parts in self.positions.items()}

    def assigned(self) -> Assignment:
        """See EventLog: all of it."""
        return Assignment(1, frozenset(self.places()))

    def places(self) -> list[Place]:
        """Every partition that was read."""
        return [(topic, partition) for topic, parts in self.positions.items() for partition in parts]

    def close(self) -> None:
        """The log itself is its owner's to close."""


def positions_of(card: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[int, int]]:
    """A card's positions."""
    return {topic: {int(part): at for part, at in parts.items()} for topic, parts in card["positions"].items()}
