"""A consumer that is stopped, not killed, within a transaction on PostgreSQL, and the one that takes its place.

What it stops in the midst of is one that PostgreSQL's own time limit does not see: its backend waits for rows to copy,
or for what comes after a pipeline.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select

from tests.integration.postgres.server import Server, open_at
from tests.unit.feedback.test_consumer import inference
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import INFERENCE
from thumbwheel.home import Home, prepare
from thumbwheel.store import data_rows, schema
from thumbwheel.store.connection import LEDGER, Store

PATIENCE_S = 120.0
MANY = 500
HELD = {
    "before the rows that it copies": ("lock table inferences in share mode", "copy %"),
    "after a pipeline": (f"select pg_advisory_lock({LEDGER})", "select pg_advisory_xact_lock%"),
}
"""What holds the consumer where it is stopped, and the statement that waits for it."""


class Place:
    """A data directory whose store is on PostgreSQL, with inferences in its log."""

    def __init__(self, root: Path, url: str) -> None:
        self.home: Home = prepare(root)
        self.url = url
        (root / "settings.yaml").write_text(f"store_url: {url}\n")
        self.store: Store = open_at(url)
        self.log = SqliteEventLog(self.home.events)
        self.log.append(INFERENCE, [("k", inference(n)) for n in range(MANY)], durable=True)

    def close(self) -> None:
        self.log.close()
        self.store.close()

    @contextmanager
    def consumer(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "thumbwheel", "consumer", "--home", str(self.home.root)]
        with (self.home.root / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def said(self, name: str) -> str:
        return (self.home.root / f"{name}.out").read_text()

    def rows(self) -> int:
        with self.store.read() as tx:
            return tx.execute(select(func.count()).select_from(schema.inferences)).scalar_one()

    def caught_up(self) -> bool:
        with self.store.read() as tx:
            return data_rows.caught_up(tx, self.log.ends())


@pytest.fixture
def place(postgres: Server, tmp_path: Path) -> Iterator[Place]:
    with closing(Place(tmp_path, postgres.new())) as made:
        yield made


def until(true: Callable[[], Any], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@contextmanager
def stopped(place: Place, point: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A consumer that is stopped at a point within its first batch's transaction, and the process id of its backend."""
    lock, statement = HELD[point]
    held = """select pid from pg_stat_activity where wait_event_type = 'Lock' and query ilike %s
        and datname = current_database()"""
    waits = "select pid from pg_stat_activity where pid = %s and wait_event_type = 'Client'"
    with place.consumer("stopped") as process, psycopg.connect(place.url, autocommit=True) as watcher:
        with psycopg.connect(place.url) as holder:
            holder.execute(lock.encode())
            until(lambda: watcher.execute(held, (statement,)).fetchone(), lambda: place.said("stopped"))
            (pid,) = watcher.execute(held, (statement,)).fetchone() or (0,)
            os.kill(process.pid, signal.SIGSTOP)
        until(lambda: watcher.execute(waits, (pid,)).fetchone(), lambda: place.said("stopped"))
        yield process, pid


@pytest.mark.parametrize("point", HELD)
def test_the_heir_of_a_stopped_consumer_ends_its_session_and_reads_on(place: Place, point: str) -> None:
    with stopped(place, point) as (zombie, pid), place.consumer("heir"):
        until(place.caught_up, lambda: place.said("heir"))
        assert place.rows() == MANY
        assert f"session {pid} of PostgreSQL" in place.said("heir")
        os.kill(zombie.pid, signal.SIGCONT)
        assert zombie.wait(PATIENCE_S) == 1
        assert place.rows() == MANY
        assert "another reader" in place.said("stopped")
