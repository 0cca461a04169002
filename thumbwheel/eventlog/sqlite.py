"""The event log in one SQLite file: many writers, ordered readers, one partition a topic.

Durable appends sync the write-ahead log before they return; others may lose the last moments in a power cut, though not
in a crash of the process. Reading syncs first, so nobody has read what is lost. A connection is used by one thread at a
time; the lock here sees to that.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import READ_BYTES, Assignment, Record
from thumbwheel.events import TOPICS
from thumbwheel.home import make_private
from thumbwheel.wal import compact, use_wal

BUSY_MS = 5_000

SCHEMA = """
create table if not exists records (
    topic text not null,
    seq integer not null,
    key text not null,
    value blob not null,
    primary key (topic, seq)
) without rowid
"""


class SqliteEventLog:
    """An EventLog in the file `path`, made (0600) if it is not there. `sync` puts an open file's bytes on the disk."""

    def __init__(self, path: Path, *, busy_ms: int = BUSY_MS, sync: Callable[[int], None] = os.fsync) -> None:
        self._path, self._sync = path, sync
        self._lock = threading.Lock()
        try:
            make_private(path)
            self._durable = self._connect("full", busy_ms)
            self._quick = self._connect("normal", busy_ms)
            self._durable.execute(SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"the event log cannot be opened: {error}") from error

    def _connect(self, synchronous: str, busy_ms: int) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False)
        use_wal(connection.execute, busy_ms)
        connection.execute(f"pragma synchronous = {synchronous}")
        return connection

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """See EventLog."""
        connection = self._durable if durable else self._quick
        with self._lock:
            try:
                connection.execute("begin immediate")
                (last,) = connection.execute(
                    "select coalesce(max(seq), 0) from records where topic = ?", (topic,)
                ).fetchone()
                connection.executemany(
                    "insert into records (topic, seq, key, value) values (?, ?, ?, ?)",
                    [(topic, last + 1 + i, key, value) for i, (key, value) in enumerate(records)],
                )
                connection.execute("commit")
            except sqlite3.Error as error:
                if connection.in_transaction:
                    connection.execute("rollback")
                raise StoreUnavailable(f"the event log took no records: {error}") from error

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """See EventLog."""
        with self._lock:
            try:
                found = self._quick.execute(
                    "select seq, key, value from records where topic = ? and seq > ? order by seq limit ?",
                    (topic, after, limit),
                )
                rows: list[tuple[int, str, bytes]] = []
                size = 0
                for row in found:
                    size += len(row[2])
                    if rows and size > READ_BYTES:
                        break
                    rows.append(row)
                found.close()
                if rows:
                    self._sync_writes()
            except (sqlite3.Error, OSError) as error:
                raise StoreUnavailable(f"the event log cannot be read: {error}") from error
        return [Record(topic, partition, seq, key, value) for seq, key, value in rows]

    def _sync_writes(self) -> None:
        """Sync what others have written; SQLite itself syncs what it moves from there to the main file."""
        with contextlib.suppress(FileNotFoundError), open(f"{self._path}-wal", "rb") as file:
            self._sync(file.fileno())

    def ends(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._bounds("max(seq)")

    def starts(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._bounds("min(seq) - 1")

    def _bounds(self, bound: str) -> dict[str, dict[int, int]]:
        """One look-up in the primary key for each topic: grouping them all would read every record's place."""
        query = f"select coalesce({bound}, 0) from records where topic = ?"
        with self._lock:
            try:
                return {topic: {0: self._quick.execute(query, (topic,)).fetchone()[0]} for topic in TOPICS}
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the event log cannot be read: {error}") from error

    def topics(self) -> list[str]:
        """Every topic that has a record. Raises StoreUnavailable."""
        found: list[str] = []
        with self._busy("the event log cannot be read"):
            while row := self._quick.execute(
                "select min(topic) from records where topic > ?", (found[-1] if found else "",)
            ).fetchone():
                if row[0] is None:
                    break
                found.append(row[0])
        return found

    def rewrite(self, topic: str, values: Mapping[int, bytes]) -> int:
        """Put other values under these offsets, durably; how many were there. Raises StoreUnavailable."""
        if not values:
            return 0
        with self._busy("the event log took no records"):
            statement = "update records set value = ? where topic = ? and seq = ?"
            told = [(value, topic, seq) for seq, value in values.items()]
            return self._durable.executemany(statement, told).rowcount

    def trim(self, topic: str, upto: int) -> int:
        """Remove the records up to this offset, but for the topic's last, from which offsets go on; how many.

        Raises StoreUnavailable.
        """
        with self._busy("the event log cannot be trimmed"):
            statement = "delete from records where topic = ? and seq <= ?"
            last = " and seq < (select max(seq) from records where topic = ?)"
            return self._quick.execute(statement + last, (topic, upto, topic)).rowcount

    def compact(self) -> None:
        """Leave nothing in the files of what was removed or rewritten. Raises StoreUnavailable."""
        with self._busy("the event log cannot be compacted"):
            compact(self._durable.execute)

    @contextlib.contextmanager
    def _busy(self, failed: str) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise StoreUnavailable(f"{failed}: {error}") from error

    def assigned(self) -> Assignment:
        """See EventLog: all of it, for every handle; the store's epochs say who writes."""
        return Assignment(1, frozenset((topic, 0) for topic in TOPICS))

    def close(self) -> None:
        """See EventLog."""
        with self._lock:
            self._durable.close()
            self._quick.close()
