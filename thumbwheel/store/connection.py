"""Opens the store and hands out transactions.

Writes on SQLite begin with BEGIN IMMEDIATE: a transaction that reads and then writes never finds the file taken
half-way. Foreign errors become StoreUnavailable here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import make_private
from thumbwheel.store import schema
from thumbwheel.wal import use_wal

BUSY_MS = 5_000
SCHEMA_VERSION = "1"


class Store:
    """A handle on the store; safe to share between threads. `url` is SQLAlchemy's, `sqlite:////path/store.db`."""

    def __init__(self, url: str, *, busy_ms: int = BUSY_MS) -> None:
        self._engine = create_engine(
            url,
            connect_args={"timeout": busy_ms / 1000},
            poolclass=QueuePool,
            pool_size=4,
            max_overflow=12,
            hide_parameters=True,  # what users said belongs in no log and no traceback
        )
        event.listen(self._engine, "connect", lambda connection, _record: _on_connect(connection, busy_ms))
        event.listen(self._engine, "begin", _on_begin)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot to read from. Raises StoreUnavailable."""
        try:
            with self._engine.connect().execution_options(thumbwheel_begin="begin") as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise StoreUnavailable(f"the store cannot be read: {error.orig}") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits when the block ends and rolls back when it raises. Raises StoreUnavailable."""
        try:
            with (
                self._engine.connect().execution_options(thumbwheel_begin="begin immediate") as connection,
                connection.begin(),
            ):
                yield connection
        except DBAPIError as error:
            raise StoreUnavailable(f"the store took no write: {error.orig}") from error

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _on_connect(connection: Any, busy_ms: int) -> None:
    connection.isolation_level = None  # transactions are begun by `_on_begin`, not by the driver's guess
    cursor = connection.cursor()
    use_wal(cursor.execute, busy_ms)
    cursor.execute("pragma synchronous = full")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("thumbwheel_begin", "begin"))


def open_store(path: Path, *, busy_ms: int = BUSY_MS) -> Store:
    """The store in the SQLite file `path`, made (0600) with its tables if it is not there. Raises StoreUnavailable."""
    try:
        make_private(path)
    except OSError as error:
        raise StoreUnavailable(f"the store cannot be opened: {error.strerror}") from error
    store = Store(f"sqlite:///{path}", busy_ms=busy_ms)
    with store.write() as tx:
        schema.metadata.create_all(tx)
        tx.execute(
            text("insert or ignore into meta (key, value) values ('generation', '0'), ('schema', :v)").bindparams(
                v=SCHEMA_VERSION
            )
        )
        found = get_meta(tx, "schema")
    if found != SCHEMA_VERSION:
        store.close()
        raise StoreUnavailable(f"the store has schema {found}; this version of Thumbwheel reads {SCHEMA_VERSION}")
    return store


def generation(tx: Connection) -> int:
    """How often anything that gateways must know has changed."""
    return int(tx.execute(select(schema.meta.c.value).where(schema.meta.c.key == "generation")).scalar_one())


def bump(tx: Connection) -> None:
    """Tell the gateways that something they hold has changed, with this transaction."""
    tx.execute(update(schema.meta).where(schema.meta.c.key == "generation").values(value=str(generation(tx) + 1)))


def get_meta(tx: Connection, key: str) -> str | None:
    """A setting of the store itself."""
    return tx.execute(select(schema.meta.c.value).where(schema.meta.c.key == key)).scalar_one_or_none()


def put_meta(tx: Connection, key: str, value: str) -> None:
    """Write a fact of the store itself."""
    if tx.execute(update(schema.meta).where(schema.meta.c.key == key).values(value=value)).rowcount == 0:
        tx.execute(insert(schema.meta).values(key=key, value=value))
