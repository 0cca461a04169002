"""Many rows at once, as fast as each database takes them: PostgreSQL by COPY, SQLite by one prepared statement.

Rows that are there already stay as they are, whoever wrote them and whenever. On PostgreSQL they go through a table of
the transaction's own for that, sorted, so that two writers of the same rows wait for each other and not in a circle.
Who believes that every row is new, and has another way where one is not, has COPY put them straight into the table.

Rows may be made while they are taken: PostgreSQL then inserts what it has got while Python makes the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import psycopg
from msgspec import json
from sqlalchemy import (
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Table,
    Text,
    UpdateBase,
    any_,
    bindparam,
    func,
    select,
    true,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

Row = tuple[object, ...]
Statement = Select[Any] | UpdateBase
Source = TypeVar("Source")


def insert_missing(
    tx: Connection, table: Table, names: Sequence[str], sources: Sequence[Source], row: Callable[[Source], Row]
) -> None:
    """Insert a row for each of `sources`, in their order, where its primary key is not there yet.

    `row` makes the values of the columns `names`, JSON as text. No two rows have the same key.
    """
    if not sources:
        return
    columns = _columns(names)
    if tx.dialect.name != "postgresql":
        statement = f"insert into {table.name} ({columns}) values ({_marks(names)}) on conflict do nothing"
        tx.exec_driver_sql(statement, [row(source) for source in sources])
        return
    stage, key = f"staged_{table.name}", ", ".join(column.name for column in table.primary_key)
    tx.exec_driver_sql(f"create temporary table {stage} (like {table.name}) on commit drop")
    _copy(tx, stage, columns, map(row, sources))
    tx.exec_driver_sql(
        f"insert into {table.name} ({columns}) select {columns} from {stage} order by {key} on conflict do nothing"
    )
    tx.exec_driver_sql(f"drop table {stage}")


def insert_new(
    tx: Connection, table: Table, names: Sequence[str], sources: Sequence[Source], row: Callable[[Source], Row]
) -> None:
    """As `insert_missing`, of rows that are all new. Raises IntegrityError where one is not."""
    if not sources:
        return
    columns = _columns(names)
    if tx.dialect.name == "postgresql":
        _copy(tx, table.name, columns, map(row, sources))
        return
    statement = f"insert into {table.name} ({columns}) values ({_marks(names)})"
    tx.exec_driver_sql(statement, [row(source) for source in sources])


def in_one_trip(tx: Connection, asked: Sequence[tuple[Statement, Mapping[str, object]]]) -> list[list[Any]]:
    """The rows that each statement returns with its parameters, in order; each sees what others have written by then.

    PostgreSQL is asked all of them at once, with the transaction's BEGIN. A row is a tuple of what the driver makes of
    texts, numbers and truth values (0 and 1 on SQLite). A statement is compiled once: it must be the same object each
    time. Raises DBAPIError.
    """
    texts = [(_compiled(statement, tx.dialect), values) for statement, values in asked]
    driver: Any = tx.connection.driver_connection
    with _wrapped(tx, "; ".join(text.said for text, _ in texts)):
        if tx.dialect.name != "postgresql":
            return [
                driver.execute(text.said, [values[name] for name in text.names]).fetchall() for text, values in texts
            ]
        # After a pipeline's flush PostgreSQL no longer counts how long a transaction is idle (IDLE_MS).
        with driver.pipeline() if len(texts) > 1 else nullcontext():
            cursors = [driver.execute(text.said, {**text.fixed, **values}) for text, values in texts]
        return [cursor.fetchall() for cursor in cursors]


@dataclass(frozen=True)
class _Text:
    """What a driver gets: SQL, its parameters' names in order, and those that are part of the statement itself."""

    said: str
    names: Sequence[str]
    fixed: Mapping[str, object]


@lru_cache(maxsize=64)
def _compiled(statement: Statement, dialect: Dialect) -> _Text:
    compiled: Any = statement.compile(dialect=dialect)
    return _Text(str(compiled), compiled.positiontup or (), compiled.params)


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def among(tx: Connection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Whether the column is one of `values`, however many: they are one parameter, and the statement stays the same."""
    if tx.dialect.name == "postgresql":
        return column == any_(bindparam(None, list(values), type_=postgresql.ARRAY(Text)))
    return column.in_(select(func.json_each(listed(values)).table_valued("value").c.value))


def look_up(
    tx: Connection, column: ColumnElement[str], values: Sequence[str], columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """The `columns` of the rows whose indexed `column` is one of `values`: a step through the index for each value.

    `among` says the same; of a table that it has no statistics of, PostgreSQL would read every row for it.
    """
    return looking_up(tx.dialect.name, column, columns).params(listed=listed(values))


def looking_up(dialect: str, column: ColumnElement[str], columns: Sequence[ColumnElement[Any]]) -> Select[Any]:
    """As `look_up`, of the values that its parameter `listed` will hold."""
    if dialect != "postgresql":
        return select(*columns).where(column.in_(in_list(dialect)))
    wanted = in_list(dialect).subquery()
    one = select(*columns).where(column == wanted.c.value).offset(0).lateral()  # the offset keeps it what it is
    return select(*one.c).select_from(wanted.join(one, true()))


def in_list(dialect: str) -> Select[tuple[str]]:
    """The texts in the parameter `listed`, which `listed` makes; one text, as a driver looks at each of an array."""
    given = bindparam("listed", type_=Text)
    if dialect != "postgresql":
        return select(func.json_each(given).table_valued("value").c.value)
    return select(
        func.json_array_elements_text(given.cast(postgresql.JSON)).table_valued("value").render_derived().c.value
    )


def listed(values: Sequence[str]) -> str:
    """The parameter `listed`."""
    return json.encode(values).decode()


def _copy(tx: Connection, into: str, columns: str, rows: Iterable[Row]) -> None:
    statement = f"copy {into} ({columns}) from stdin"
    with _wrapped(tx, statement), _driver(tx).cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _driver(tx: Connection) -> psycopg.Connection:
    driver = tx.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@contextmanager
def _wrapped(tx: Connection, statement: str) -> Iterator[None]:
    """What is done past SQLAlchemy raises its errors all the same, which everybody above relies on."""
    driver = tx.dialect.loaded_dbapi
    try:
        yield
    except driver.Error as error:
        raise DBAPIError.instance(statement, None, error, driver.Error, hide_parameters=True) from error
