"""The contract of every EventLog. A further implementation joins by a parameter of `make`."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog, Record
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE

Opener = Callable[[], EventLog]


@pytest.fixture(params=["sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens the same log again and again; all of them are closed at the end."""
    opened: list[EventLog] = []

    def opener() -> EventLog:
        opened.append({"sqlite": SqliteEventLog}[request.param](tmp_path / "events.db"))
        return opened[-1]

    yield opener
    for log in opened:
        log.close()


def values(records: list[Record]) -> list[bytes]:
    return [record.value for record in records]


def last(log: EventLog, topic: str) -> int:
    (end,) = log.ends()[topic].values()
    return end


def test_an_empty_log_ends_at_nought(make: Opener) -> None:
    log = make()
    assert log.ends() == {INFERENCE: {0: 0}, FEEDBACK: {0: 0}}
    assert log.read(FEEDBACK, 0, 0, 10) == []


@pytest.mark.parametrize("durable", [True, False])
def test_records_come_back_as_they_went_in(make: Opener, durable: bool) -> None:
    log = make()
    log.append(FEEDBACK, [("k1", b"\x00\xff"), ("schlüssel", b"")], durable=durable)
    first, second = log.read(FEEDBACK, 0, 0, 10)
    assert (first.topic, first.partition, first.key, first.value) == (FEEDBACK, 0, "k1", b"\x00\xff")
    assert (second.key, second.value) == ("schlüssel", b"")
    assert 0 < first.offset < second.offset == last(log, FEEDBACK)


def test_appending_nothing_changes_nothing(make: Opener) -> None:
    log = make()
    log.append(FEEDBACK, [], durable=True)
    assert last(log, FEEDBACK) == 0


def test_topics_are_apart(make: Opener) -> None:
    log = make()
    log.append(FEEDBACK, [("k", b"f")], durable=True)
    log.append(INFERENCE, [("k", b"i")], durable=False)
    assert values(log.read(FEEDBACK, 0, 0, 10)) == [b"f"]
    assert values(log.read(INFERENCE, 0, 0, 10)) == [b"i"]


def test_reading_starts_after_the_offset_and_keeps_to_the_limit(make: Opener) -> None:
    log = make()
    log.append(FEEDBACK, [("k", b"%d" % n) for n in range(5)], durable=True)
    head = log.read(FEEDBACK, 0, 0, 2)
    assert values(head) == [b"0", b"1"]
    assert values(log.read(FEEDBACK, 0, head[-1].offset, 10)) == [b"2", b"3", b"4"]
    assert log.read(FEEDBACK, 0, last(log, FEEDBACK), 10) == []


def test_reading_takes_nothing_away(make: Opener) -> None:
    log = make()
    log.append(FEEDBACK, [("k", b"1")], durable=True)
    assert log.read(FEEDBACK, 0, 0, 10) == log.read(FEEDBACK, 0, 0, 10)


def test_what_was_durable_is_there_after_reopening(make: Opener) -> None:
    first = make()
    first.append(FEEDBACK, [("k", b"1")], durable=True)
    first.close()
    assert values(make().read(FEEDBACK, 0, 0, 10)) == [b"1"]


def test_another_handle_sees_what_was_appended_and_goes_on_after_it(make: Opener) -> None:
    writer, reader = make(), make()
    writer.append(FEEDBACK, [("k", b"1")], durable=True)
    assert values(reader.read(FEEDBACK, 0, 0, 10)) == [b"1"]
    reader.append(FEEDBACK, [("k", b"2")], durable=True)
    assert values(writer.read(FEEDBACK, 0, 0, 10)) == [b"1", b"2"]


def test_many_writers_lose_nothing_and_keep_each_batch_together(make: Opener) -> None:
    def write(log: EventLog, writer: int) -> None:
        for batch in range(10):
            records = [(f"{writer}", b"%d.%d.%d" % (writer, batch, part)) for part in range(3)]
            log.append(FEEDBACK, records, durable=batch % 2 == 0)

    shared = make()
    threads = [threading.Thread(target=write, args=(log, n)) for n, log in enumerate([shared, shared, make(), make()])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = shared.read(FEEDBACK, 0, 0, 1_000)
    assert len(records) == 120
    assert [record.offset for record in records] == sorted({record.offset for record in records})
    for writer in range(4):
        own = [record.value for record in records if record.key == str(writer)]
        assert own == [b"%d.%d.%d" % (writer, batch, part) for batch in range(10) for part in range(3)]
    batches = [value.rpartition(b".")[0] for value in values(records)]
    assert all(len(set(batches[i : i + 3])) == 1 for i in range(0, 120, 3))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.binary(max_size=5), max_size=4), max_size=6), st.integers(1, 5))
def test_paging_through_gives_all_in_order(make: Opener, batches: list[list[bytes]], limit: int) -> None:
    log = make()
    start = at = last(log, INFERENCE)
    for batch in batches:
        log.append(INFERENCE, [("k", value) for value in batch], durable=False)
    seen: list[bytes] = []
    while page := log.read(INFERENCE, 0, at, limit):
        assert len(page) <= limit
        seen += values(page)
        at = page[-1].offset
    assert seen == [value for batch in batches for value in batch]
    assert at == last(log, INFERENCE) >= start


# the embedded one


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
