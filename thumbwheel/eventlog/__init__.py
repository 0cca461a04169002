"""The event log's contract: an ordered, durable, replayable log of topics and partitions.

SQLite is the embedded default (`thumbwheel.eventlog.sqlite`), Kafka the production part (`thumbwheel.eventlog.kafka`),
which gateways reach through a process of its own (`thumbwheel.eventlog.relay`); `thumbwheel.eventlog.opening` chooses.
Offsets are kept with the data, in the store, not here: whoever reads says from where.

Offsets count from 1: an offset is that of the last record read, and 0 says that nothing was. Kafka's own are one less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

READ_BYTES = 32 << 20
"""Of records in one answer, where it has more than one: thousands, but a few where they are the biggest that a gateway
takes. An event that lies in the log by reference counts as what it is."""

Place = tuple[str, int]
"""Topic and partition."""

Positions = Mapping[str, Mapping[int, int]]
"""Topic -> partition -> the offset of the last record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


@dataclass(frozen=True)
class Assignment:
    """The partitions that are a handle's own to read. `generation` is another one each time they were given out."""

    generation: int
    places: frozenset[Place]


class EventLog(Protocol):
    """What every event log does. All methods raise StoreUnavailable when the log is away or full, within seconds."""

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """Append (key, value) pairs; those of one key are in order, after all that were appended before them.

        `durable` returns only once they are synced to disk. Where it raises, some of them may be in the log all the
        same: whoever reads tells events by their ids.
        """

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records with offsets over `after`, in order; none that a power cut could still take back.

        They are fewer, though there are more, where they would come to over READ_BYTES (a handle's limit may be lower),
        or are not at hand yet. Had the log lost records that a reader has counted, new ones would get their offsets and
        be skipped. None at all only where there are none, or where the partition is not this handle's to read (see
        `assigned`).
        """

    def ends(self) -> dict[str, dict[int, int]]:
        """The last offset of each of `events.TOPICS`, by partition; 0 where nothing was written yet."""

    def starts(self) -> dict[str, dict[int, int]]:
        """The offset before the first record that is still there, as of `ends`; 0 where all of them are."""

    def assigned(self) -> Assignment:
        """What is this handle's to read now: everything, or its part where several share the work.

        Call it often: a member that is not heard of for minutes loses its part to the others. Raises LostRace where
        another has taken this handle's own name: it gets no part again.
        """

    def close(self) -> None:
        """Give back files and connections."""
