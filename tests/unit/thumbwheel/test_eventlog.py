"""The embedded event log's own: its file, its disk, its batches. tests/integration has every event log's contract."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import READ_BYTES, Record
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, TOPICS


def values(records: list[Record]) -> list[bytes]:
    return [record.value for record in records]


def test_big_records_come_a_few_at_a_time(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    big = b"x" * (READ_BYTES // 3)
    log.append(FEEDBACK, [("k", big)] * 5, durable=False)
    pages = [log.read(FEEDBACK, 0, after, 1_000) for after in (0, 3, 5)]
    assert [[record.offset for record in page] for page in pages] == [[1, 2, 3], [4, 5], []]
    log.close()


def test_a_batch_is_written_whole_and_in_one_place(tmp_path: Path) -> None:
    def write(log: SqliteEventLog, writer: int) -> None:
        for batch in range(10):
            records = [(f"{writer}", b"%d.%d.%d" % (writer, batch, part)) for part in range(3)]
            log.append(FEEDBACK, records, durable=batch % 2 == 0)

    handles = [SqliteEventLog(tmp_path / "events.db") for _ in range(3)]
    threads = [threading.Thread(target=write, args=(handles[n % 3], n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = handles[0].read(FEEDBACK, 0, 0, 1_000)
    assert [record.offset for record in records] == list(range(1, 121))
    batches = [value.rpartition(b".")[0] for value in values(records)]
    assert all(len(set(batches[i : i + 3])) == 1 for i in range(0, 120, 3))
    for log in handles:
        log.close()


def test_its_bounds(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    log.append(FEEDBACK, [("k", b"%d" % n) for n in range(4)], durable=True)
    log._durable.execute("delete from records where seq <= 2")
    assert log.ends() == {topic: {0: 4 if topic == FEEDBACK else 0} for topic in TOPICS}
    assert log.starts() == {topic: {0: 2 if topic == FEEDBACK else 0} for topic in TOPICS}
    plan = log._durable.execute("explain query plan select max(seq) from records where topic = 'x'").fetchall()
    assert all("SEARCH" in step[-1] for step in plan), "a consumer asks 20 times a second"
    log.close()


def test_its_file_is_private(tmp_path: Path) -> None:
    SqliteEventLog(tmp_path / "events.db").close()
    assert stat.S_IMODE((tmp_path / "events.db").stat().st_mode) == 0o600


def test_a_log_that_is_held_by_another_is_unavailable_and_takes_no_part(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db", busy_ms=20)
    holder = sqlite3.connect(tmp_path / "events.db", isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(StoreUnavailable):
        log.append(FEEDBACK, [("k", b"1")], durable=True)
    assert log.read(FEEDBACK, 0, 0, 10) == []
    holder.execute("rollback")
    holder.close()
    log.append(FEEDBACK, [("k", b"2")], durable=True)
    assert values(log.read(FEEDBACK, 0, 0, 10)) == [b"2"]
    log.close()


def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "events.db")
    log.append(FEEDBACK, [("k", b"1")], durable=True)
    (pages,) = log._durable.execute("pragma page_count").fetchone()
    log._durable.execute(f"pragma max_page_count = {pages}")
    with pytest.raises(StoreUnavailable, match="full"):
        log.append(FEEDBACK, [("k", b"2"), ("k", b"3" * 100_000)], durable=True)
    assert values(log.read(FEEDBACK, 0, 0, 10)) == [b"1"]
    log._durable.execute("pragma max_page_count = 1000000")
    log.append(FEEDBACK, [("k", b"4")], durable=True)
    assert values(log.read(FEEDBACK, 0, 0, 10)) == [b"1", b"4"]
    log.close()


def test_nothing_is_read_that_is_not_on_the_disk(tmp_path: Path) -> None:
    synced: list[str] = []
    writer = SqliteEventLog(tmp_path / "events.db")
    reader = SqliteEventLog(
        tmp_path / "events.db", sync=lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    assert reader.read(INFERENCE, 0, 0, 10) == [] and synced == []
    writer.append(INFERENCE, [("k", b"1")], durable=False)
    assert values(reader.read(INFERENCE, 0, 0, 10)) == [b"1"]
    assert synced == [str(tmp_path / "events.db-wal")]
    writer.close()
    reader.close()


def test_a_disk_that_cannot_sync_gives_nothing_to_read(tmp_path: Path) -> None:
    def broken(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    log = SqliteEventLog(tmp_path / "events.db", sync=broken)
    log.append(INFERENCE, [("k", b"1")], durable=False)
    with pytest.raises(StoreUnavailable):
        log.read(INFERENCE, 0, 0, 10)
    log.close()


def test_a_file_that_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"not a database, and long enough to be looked at" * 40)
    with pytest.raises(StoreUnavailable):
        SqliteEventLog(tmp_path / "events.db")
