"""Many rows at once, as fast as each database takes them: PostgreSQL by COPY, SQLite by one prepared statement.

Rows that are there already stay as they are, whoever wrote them and whenever. On PostgreSQL that is found out by
trying: nearly always every row is new and COPY goes straight into the table; where one is not, all of them go through a
table of the transaction's own, sorted, so that two writers of the same rows wait for each other and not in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from msgspec import json
from sqlalchemy import ColumnElement, Connection, Select, Table, Text, any_, bindparam, func, select, true
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError, IntegrityError


def insert_missing(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert the rows whose primary key is not there yet. Each holds values of the columns `names`, JSON as text.

    No two of them have the same key.
    """
    if not rows:
        return
    columns = ", ".join(f'"{name}"' for name in names)
    if tx.dialect.name == "postgresql":
        _copy_missing(tx, table, columns, rows)
        return
    statement = f"insert into {table.name} ({columns}) values ({_marks(names)}) on conflict do nothing"
    tx.exec_driver_sql(statement, [tuple(row) for row in rows])


def insert_new(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Insert rows of which none can be there: nobody else writes such ones now. Each as for `insert_missing`."""
    if not rows:
        return
    columns = ", ".join(f'"{name}"' for name in names)
    if tx.dialect.name == "postgresql":
        _copy(tx, table.name, columns, rows)
        return
    tx.exec_driver_sql(f"insert into {table.name} ({columns}) values ({_marks(names)})", [tuple(row) for row in rows])


def _marks(names: Sequence[str]) -> str:
    return ", ".join("?" * len(names))


def among(tx: Connection, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Whether the column is one of `values`, however many: they are one parameter, and the statement stays the same."""
    if tx.dialect.name == "postgresql":
        return column == any_(bindparam(None, list(values), type_=postgresql.ARRAY(Text)))
    listed = func.json_each(json.encode(values).decode()).table_valued("value")
    return column.in_(select(listed.c.value))


def look_up(
    tx: Connection, column: ColumnElement[str], values: Sequence[str], columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """The `columns` of the rows whose indexed `column` is one of `values`: a step through the index for each value.

    `among` says the same; of a table that it has no statistics of, PostgreSQL would read every row for it.
    """
    if tx.dialect.name != "postgresql":
        return select(*columns).where(among(tx, column, values))
    listed = bindparam(None, list(values), type_=postgresql.ARRAY(Text))
    wanted = func.unnest(listed).table_valued("wanted").render_derived()
    one = select(*columns).where(column == wanted.c.wanted).offset(0).lateral()  # the offset keeps it what it is
    return select(*one.c).select_from(wanted.join(one, true()))


def _copy_missing(tx: Connection, table: Table, columns: str, rows: Sequence[Sequence[object]]) -> None:
    try:
        with tx.begin_nested():
            _copy(tx, table.name, columns, rows)
        return
    except IntegrityError as error:
        if not isinstance(error.orig, psycopg.errors.UniqueViolation):
            raise
    stage, key = f"staged_{table.name}", ", ".join(column.name for column in table.primary_key)
    tx.exec_driver_sql(f"create temporary table {stage} (like {table.name}) on commit drop")
    _copy(tx, stage, columns, rows)
    tx.exec_driver_sql(
        f"insert into {table.name} ({columns}) select {columns} from {stage} order by {key} on conflict do nothing"
    )
    tx.exec_driver_sql(f"drop table {stage}")


def _copy(tx: Connection, into: str, columns: str, rows: Sequence[Sequence[object]]) -> None:
    driver = tx.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    statement = f"copy {into} ({columns}) from stdin"
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:  # past SQLAlchemy's wrapping, which everybody above relies on
        raise DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from error
