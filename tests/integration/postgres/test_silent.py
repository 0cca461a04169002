"""What PostgreSQL shows of sessions within a write, and which of them are ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import text

from tests.integration.postgres.server import Server, open_at
from thumbwheel.errors import StoreUnavailable
from thumbwheel.store.connection import LEDGER, Store, get_meta, put_meta
from thumbwheel.store.silent import Session, end, look

PATIENCE_S = 30.0


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.new()


@contextmanager
def session(url: str, name: str = "thumbwheel") -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True, application_name=name) as connection:
        yield connection


def found(connection: psycopg.Connection, true: Callable[[list[Session]], bool]) -> list[Session]:
    """What is found once it is as it should be; a server may be behind what its clients have sent."""
    deadline = time.monotonic() + PATIENCE_S
    while not true(sessions := look(connection)):
        assert time.monotonic() < deadline, sessions
        time.sleep(0.02)
    return sessions


def test_a_copy_that_goes_on_is_heard_of_and_one_that_does_not_is_ended(url: str) -> None:
    with session(url) as me, session(url) as other, other.cursor() as cursor:
        cursor.execute("begin; select txid_current()")
        with pytest.raises(psycopg.OperationalError), cursor.copy("copy meta (key, value) from stdin") as copy:
            (first,) = found(me, lambda sessions: len(sessions) == 1)
            copy.write("".join(f"{n}\tvalue\n" for n in range(50_000)))
            (then,) = found(me, lambda sessions: len(sessions) == 1 and sessions != [first])
            assert then.pid == first.pid and not end(me, first), "it has been heard of since"
            assert found(me, bool) == [then], "and is still there"
            assert end(me, then)
            found(me, lambda sessions: sessions == [])


def test_only_writes_of_ours_are_found(url: str) -> None:
    store = open_at(url)
    with session(url) as me, session(url, "another") as another, session(url) as idle:
        assert idle.info.status.name == "OK"
        with another.transaction(), store.read() as tx:
            another.execute("select txid_current()")
            tx.execute(text("select 1"))
            assert look(me) == []
            with store.write(alone=False) as other:
                other.execute(text(f"select pg_advisory_xact_lock({LEDGER})"))
                assert len(found(me, bool)) == 1
    store.close()


def test_what_cannot_be_compacted_leaves_no_connection_that_commits_by_itself(url: str) -> None:
    store = open_at(url, busy_ms=50)
    with session(url) as reader, reader.transaction():
        reader.execute("select key from meta")
        with pytest.raises(StoreUnavailable, match="compacted"):
            store.compact(rewrite=True)
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        put_meta(tx, "thing", "taken back")
        raise ZeroDivisionError
    with store.read() as tx:
        assert get_meta(tx, "thing") is None
    store.close()


def test_whoever_waits_in_vain_ends_it_and_the_next_try_goes_through(url: str) -> None:
    with session(url) as hung, hung.cursor() as cursor:
        cursor.execute("begin; insert into meta values ('thing', 'held')")
        heir = Store(url.replace("postgresql:", "postgresql+psycopg:"), busy_ms=50, idle_ms=200)
        deadline, tries = time.monotonic() + PATIENCE_S, 0
        while True:
            try:
                with heir.write(alone=False) as tx:
                    put_meta(tx, "thing", "the heir's")
                break
            except StoreUnavailable:
                tries += 1
                assert time.monotonic() < deadline
        assert tries > 1, "one look alone ends nothing"
        with pytest.raises(psycopg.OperationalError):
            cursor.execute("select 1")
        heir.close()
