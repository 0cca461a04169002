"""Opens the store, SQLite or PostgreSQL, and hands out transactions. Foreign errors end here and nowhere else.

What the rows' functions may rely on, on both databases:

- A `read` is one snapshot: whatever it reads belongs together. (PostgreSQL: REPEATABLE READ, READ ONLY.)
- A `write` that is `alone` (the default) is serial with every other such: what it has read stays true until it commits,
  so "look, then write" is right as it stands. SQLite has one writer anyway (BEGIN IMMEDIATE: the file is never found
  taken half-way). On PostgreSQL they queue for one advisory lock, in READ COMMITTED: under REPEATABLE READ the snapshot
  would be of before the wait. They are a few a second and short, so a queue costs less than SERIALIZABLE's aborts, and
  a block that cannot be repeated by its caller never has to be.
- A write with `alone=False` runs beside them: ingestion and heartbeats, which are many. Its statements must be right by
  themselves: compare-and-set, insert-or-update, or under `hold_ledger`.
- `hold_ledger` is held by whoever writes where feedback stands, until it commits: an inference and the feedback on it
  may be ingested by two consumers at once, and each would miss the other's uncommitted row. It is taken after ALONE,
  never before, and nothing else is waited for while it is held; so the two locks cannot wait for each other.

A write whose process says nothing for IDLE_MS loses its transaction, on PostgreSQL: by the server, or, where that does
not count, by whoever has waited for its locks in vain (see silent.py).

What is lost to a deadlock, a time limit or a broken connection raises StoreUnavailable with nothing written. What the
database refuses as wrong (a constraint, a type, a limit) is StoreRefused: a bug, no outage.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import (
    Connection,
    RootTransaction,
    Select,
    cast,
    create_engine,
    event,
    func,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from sqlalchemy.types import BigInteger, Text

from thumbwheel.errors import NotRunning, StoreError, StoreRefused, StoreUnavailable
from thumbwheel.home import Home, make_private
from thumbwheel.settings import Settings
from thumbwheel.store import schema, silent
from thumbwheel.store.remains import vacuum
from thumbwheel.wal import compact, use_wal

BUSY_MS = 5_000
CONNECT_S = 5
IDLE_MS = 20_000
"""How long PostgreSQL lets a write say nothing: a process that hangs within one, stopped or swapped out, holds rows and
the ledger, and whoever takes its place could only wait."""
LOCKED = "55P03"  # a lock was waited for in vain
# The database's user may not do this, or a table, a column or the schema is gone: the administrator's matter, and no
# statement's or row's fault.
ADMINISTRATORS = ("42501", "42P01", "42703", "3F000")
TOO_MUCH = "54"  # a value is over one of PostgreSQL's limits, an index's say, which its driver takes for an outage
BUGS = (IntegrityError, DataError, ProgrammingError, NotSupportedError)
READ_COMMITTED = psycopg.IsolationLevel.READ_COMMITTED
# Keys of PostgreSQL's advisory locks; any numbers that nobody else in this database takes.
ALONE, LEDGER = 7_526_001, 7_526_002
HOLD_LEDGER = select(func.pg_advisory_xact_lock(LEDGER))
BEGIN: Mapping[str, Mapping[str, str]] = {
    "sqlite": {"read": "begin", "alone": "begin immediate", "beside": "begin immediate"},
    "postgresql": {
        # A read holds up nobody, and may have long to do between two questions.
        "read": "set transaction isolation level repeatable read, read only; "
        "set local idle_in_transaction_session_timeout = 0",
        "alone": f"select pg_advisory_xact_lock({ALONE})",
        "beside": "",  # a statement more is a tenth of what ingesting a batch takes
    },
}
# A server's machine that is gone must not be waited for as long as TCP would.
POSTGRES_DEFAULTS: Mapping[str, object] = {
    "connect_timeout": CONNECT_S,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "thumbwheel",
}

log_lines = logging.getLogger("thumbwheel.store")


class Store:
    """A handle on the store; safe to share between threads. `url` is SQLAlchemy's.

    `busy_ms` is how long a lock is waited for, `limit_ms` how long a whole transaction may take where a caller must go
    on though the server hangs (SQLite has no server that could), `idle_ms` how long a write may say nothing.
    """

    def __init__(
        self, url: str, *, busy_ms: int = BUSY_MS, limit_ms: int | None = None, idle_ms: int = IDLE_MS
    ) -> None:
        parsed = make_url(url)
        self._postgres = parsed.get_backend_name() == "postgresql"
        self._begin = BEGIN[parsed.get_backend_name()]
        self._busy_ms, self._limit_ms, self._idle_ms = busy_ms, limit_ms, idle_ms
        self._looking = threading.Lock()
        self._silent: Mapping[silent.Session, float] = {}
        arguments: dict[str, object] = {"timeout": busy_ms / 1000}
        if self._postgres:
            arguments = {key: value for key, value in POSTGRES_DEFAULTS.items() if key not in parsed.query}
            if limit_ms is not None:
                arguments["connect_timeout"] = max(2, limit_ms // 1000)  # libpq knows no shorter one
        self._engine = create_engine(
            parsed,
            connect_args=arguments,
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=12,
            pool_timeout=busy_ms / 1000,
            hide_parameters=True,  # what users said belongs in no log and no traceback
        )
        event.listen(self._engine, "connect", self._on_connect)
        event.listen(self._engine, "begin", _on_begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from. Raises StoreUnavailable, StoreRefused."""
        with self._transaction("read", "the store cannot be read") as tx:
            yield tx

    @contextmanager
    def write(self, *, alone: bool = True) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises; `alone` as the module says.

        Raises StoreUnavailable, StoreRefused.
        """
        with self._transaction("alone" if alone else "beside", "the store took no write") as tx:
            yield tx

    @contextmanager
    def _transaction(self, kind: str, failed: str) -> Iterator[Connection]:
        try:
            connection, transaction = self._opened(kind)
            try:
                with self._limited(connection), transaction:
                    yield connection
            finally:
                connection.close()
        except PoolTimeout as error:
            raise StoreUnavailable(f"{failed}: every connection is in use") from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == LOCKED and self._limit_ms is None:
                self._end_silent()
            raise translated(error, failed) from error

    def _opened(self, kind: str) -> tuple[Connection, RootTransaction]:
        """A connection and its transaction; one that died in the pool, with its server say, is replaced once.

        A write that is not alone says nothing to the server yet, and finds that out by its first statement.
        """
        for last in (False, True):
            connection = self._engine.connect().execution_options(thumbwheel_begin=self._begin[kind])
            try:
                with self._limited(connection):
                    return connection, connection.begin()
            except DBAPIError as error:
                connection.close()
                if last or not error.connection_invalidated:
                    raise
        raise AssertionError("unreachable")

    @contextmanager
    def _limited(self, connection: Connection) -> Iterator[None]:
        """Hang up on a server that has not answered in `limit_ms`; the call that waits for it then fails."""
        if self._limit_ms is None or not self._postgres:
            yield
            return
        driver, lock, over = connection.connection.driver_connection, threading.Lock(), False

        def hang_up() -> None:
            with lock:  # the descriptor is this connection's as long as the block lasts, and no longer
                if not over and driver is not None and not driver.closed:
                    with suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as line:
                        line.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(self._limit_ms / 1000, hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with lock:
                over = True

    def _end_silent(self) -> None:
        """See silent.py. What fails is tried again by whoever waits in vain the next time."""
        with suppress(PoolTimeout, DBAPIError, psycopg.Error), self._looking, self._autocommit() as driver:
            self._silent = silent.end_overdue(driver, self._silent, time.monotonic(), self._idle_ms / 1000)

    @contextmanager
    def _autocommit(self) -> Iterator[psycopg.Connection]:
        """PostgreSQL's driver, each of whose statements is a transaction of its own."""
        connection = self._engine.raw_connection()
        driver = connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        try:
            driver.autocommit = True
            yield driver
            driver.autocommit = False
        finally:
            if driver.autocommit:  # nobody else must get it so
                connection.invalidate()
            connection.close()

    def compact(self, *, rewrite: bool = False) -> None:
        """Leave nothing in SQLite's files of what was removed or overwritten; on PostgreSQL let that be overwritten.

        With `rewrite` PostgreSQL's tables are written anew too (see remains.py). Raises StoreUnavailable, where others
        are at it say.
        """
        try:
            if self._postgres:
                with self._autocommit() as driver:
                    vacuum(driver, schema.metadata.tables, rewrite=rewrite)
                return
            connection = self._engine.raw_connection()
            try:
                file: Any = connection.driver_connection
                compact(file.execute)
            finally:
                connection.close()
        except (PoolTimeout, DBAPIError, sqlite3.Error, psycopg.Error) as error:
            raise StoreUnavailable(f"the store cannot be compacted: {error}") from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def _on_connect(self, connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        if self._postgres:
            cursor.execute(
                f"set lock_timeout = {self._busy_ms}; set idle_in_transaction_session_timeout = {self._idle_ms}"
            )
            # A plan that was made when a table was empty would read all of it for ever.
            cursor.execute("set plan_cache_mode = force_custom_plan")
            connection.commit()
            connection.isolation_level = READ_COMMITTED  # whatever the server's own default is
        else:
            connection.isolation_level = None  # transactions are begun by `_on_begin`, not by the driver's guess
            use_wal(cursor.execute, self._busy_ms)
            cursor.execute("pragma synchronous = full")
        cursor.close()


def _on_begin(connection: Connection) -> None:
    statement = connection.get_execution_options()["thumbwheel_begin"]
    if statement:
        connection.exec_driver_sql(statement)


def translated(error: DBAPIError, failed: str = "the store failed") -> StoreError:
    """The error in our tree, and what it says rid of what PostgreSQL quotes of the row."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None and error.orig is not None and diagnosis.message_primary:
        error.orig.args = (diagnosis.message_primary,)
        error.args = error.orig.args
    state = getattr(error.orig, "sqlstate", None) or ""
    if (isinstance(error, BUGS) or state.startswith(TOO_MUCH)) and state not in ADMINISTRATORS:
        return StoreRefused(f"{failed}: {error.orig}")
    return StoreUnavailable(f"{failed}: {error.orig}")


def address(settings: Settings, home: Home) -> str:
    """SQLAlchemy's URL of the settings' store. It may hold a password: it belongs in no message."""
    if settings.store_url is None:
        return f"sqlite:///{home.store}"
    return make_url(settings.store_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def open_store(settings: Settings, home: Home, *, busy_ms: int = BUSY_MS, limit_ms: int | None = None) -> Store:
    """The settings' store, made with its tables where there are none; an SQLite file is 0600. Raises StoreUnavailable.

    One of an older schema is left as it is: `thumbwheel up` and `thumbwheel migrate` bring it forward.
    """
    store = connect(settings, home, busy_ms=busy_ms, limit_ms=limit_ms)
    try:
        with store.read() as tx:
            found = version(tx)
        if found is None:
            with store.write() as tx:
                found = version(tx) or make_tables(tx)
        check_version(found)
    except StoreError:
        store.close()
        raise
    return store


def connect(settings: Settings, home: Home, *, busy_ms: int = BUSY_MS, limit_ms: int | None = None) -> Store:
    """A handle on the settings' store, whatever is in it: for `open_store`, and who brings it forward or looks at it.

    Raises StoreUnavailable.
    """
    if settings.store_url is None:
        try:
            make_private(home.store)
        except OSError as error:
            raise StoreUnavailable(f"the store cannot be opened: {error.strerror}") from error
    return Store(address(settings, home), busy_ms=busy_ms, limit_ms=limit_ms)


def existing_store(settings: Settings, home: Home) -> Store:
    """The settings' store, for those who only look. Raises NotRunning where there is none, StoreUnavailable."""
    if settings.store_url is None and not home.store.exists():
        raise NotRunning(f"nothing is here yet: {home.root} has no store. `thumbwheel up` makes it.")
    store = connect(settings, home)
    try:
        with store.read() as tx:
            found = version(tx)
        if found is None:
            raise NotRunning("nothing is here yet: the store has no tables. `thumbwheel up` makes them.")
        check_version(found)
    except (StoreError, NotRunning):
        store.close()
        raise
    return store


# the schema's version


def version(tx: Connection) -> int | None:
    """The schema's version in the database; None where it has no tables of ours."""
    if not inspect(tx).has_table(schema.meta.name):
        return None
    found = get_meta(tx, "schema")
    return None if found is None else int(found)


def check_version(found: int) -> None:
    """Raises StoreUnavailable for any version but ours, with what to do."""
    if found > schema.VERSION:
        raise StoreUnavailable(
            f"the store has schema {found}, and this Thumbwheel is older and reads {schema.VERSION}: update Thumbwheel"
        )
    if found < schema.VERSION:
        raise StoreUnavailable(
            f"the store has schema {found}, and this Thumbwheel reads {schema.VERSION}: run `thumbwheel migrate`, "
            "which `thumbwheel up` does by itself"
        )


def make_tables(tx: Connection) -> int:
    """Every table of the present schema, in a database that has none; returns its version."""
    schema.metadata.create_all(tx)
    if tx.dialect.name == "postgresql":
        for statement in schema.POSTGRES_PARTS:
            tx.execute(text(statement))
    put_meta(tx, "generation", "0")
    put_meta(tx, "schema", str(schema.VERSION))
    return schema.VERSION


def size_bytes(tx: Connection) -> int:
    """How much room the database takes, with all that is in it."""
    if tx.dialect.name == "postgresql":
        return int(tx.execute(select(func.pg_database_size(func.current_database()))).scalar_one())
    return int(
        tx.exec_driver_sql("select page_count * page_size from pragma_page_count, pragma_page_size").scalar_one()
    )


# statements for both databases


def insert_or(tx: Connection, table: Any) -> Any:
    """SQLAlchemy's insert of the database at hand, which has `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


def ledger_lock(tx: Connection) -> list[Select[Any]]:
    """What `hold_ledger` executes, for whoever sends more with it (bulk.in_one_trip)."""
    return [HOLD_LEDGER] if tx.dialect.name == "postgresql" else []


def hold_ledger(tx: Connection) -> None:
    """Be the only one, until the transaction ends, who writes where feedback stands."""
    for statement in ledger_lock(tx):
        tx.execute(statement)


def generation(tx: Connection) -> int:
    """How often anything that gateways must know has changed."""
    return int(tx.execute(select(schema.meta.c.value).where(schema.meta.c.key == "generation")).scalar_one())


def bump(tx: Connection) -> None:
    """Tell the gateways that something they hold has changed, with this transaction."""
    raised = cast(cast(schema.meta.c.value, BigInteger) + 1, Text)
    tx.execute(update(schema.meta).where(schema.meta.c.key == "generation").values(value=raised))


def get_meta(tx: Connection, key: str) -> str | None:
    """A setting of the store itself."""
    return tx.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar_one_or_none()


def put_meta(tx: Connection, key: str, value: str) -> None:
    """Write a fact of the store itself."""
    statement = insert_or(tx, schema.meta).values(key=key, value=value)
    tx.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
