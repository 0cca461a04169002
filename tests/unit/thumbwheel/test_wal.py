"""Write-ahead mode, asked for by many processes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from tests.stores import store_in
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK
from thumbwheel.home import prepare
from thumbwheel.wal import use_wal

PROCESSES, ROUNDS = 4, 12
"""SQLite alone refused 45 of 600 such processes (4 a file): that 48 would all pass has a chance of one in 40."""


def _write_to_new_files(folder: Path, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait(30)
        log = SqliteEventLog(folder / f"{number}-events.db")
        log.append(FEEDBACK, [("a", b"x")], durable=True)
        log.close()
        barrier.wait(30)
        store_in(prepare(folder / str(number)).root).close()


def test_processes_that_make_the_same_files_at_once_are_all_let_in(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    processes = [context.Process(target=_write_to_new_files, args=(tmp_path, barrier)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    for number in range(ROUNDS):
        log = SqliteEventLog(tmp_path / f"{number}-events.db")
        assert len(log.read(FEEDBACK, 0, 0, 100)) == PROCESSES
        log.close()


def test_a_file_that_stays_taken_is_refused_when_the_time_is_over(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(StoreUnavailable, match="database is locked"):
        SqliteEventLog(path, busy_ms=50)
    holder.close()


def test_what_is_not_a_database_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    path.write_bytes(b"not a database, but long enough to be one" * 100)
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        use_wal(connection.execute, 3_600_000)
    connection.close()
