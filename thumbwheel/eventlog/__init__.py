"""The event log's contract: an ordered, durable, replayable log of topics and partitions.

SQLite is the embedded default (`thumbwheel.eventlog.sqlite`). Offsets are kept with the data, in the store, not here:
whoever reads says from where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Positions = Mapping[str, Mapping[int, int]]
"""Topic -> partition -> the offset of the last record."""


@dataclass(frozen=True)
class Record:
    """One record as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes


class EventLog(Protocol):
    """What every event log does. All methods raise StoreUnavailable when the log is away or full."""

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """Append (key, value) pairs in order. `durable` returns only once they are synced to disk."""

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records with offsets over `after`, in order; none that a power cut could still take back.

        Had the log lost records that a reader has counted, new ones would get their offsets and be skipped.
        """

    def ends(self) -> dict[str, dict[int, int]]:
        """Every topic's last offset by partition; 0 where nothing was written yet."""

    def close(self) -> None:
        """Give back files and connections."""
