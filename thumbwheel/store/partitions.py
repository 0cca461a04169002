"""Inferences by day on PostgreSQL: one partition a day, made ahead, taken away whole. SQLite has none, and needs none.

A row whose day has no partition goes to `inferences_kept`, so a clock that is days ahead, or partitions that nobody has
made, refuse no event; making a day's partition takes the day's rows from there.
"""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import Connection, text

from thumbwheel.ids import DAY_MS
from thumbwheel.store.schema import KEPT

AHEAD_DAYS = 7
EPOCH = date(1970, 1, 1)


def name_of(day: int) -> str:
    """The partition of `day` (counted from 1970, UTC): `inferences_20261121`."""
    return f"inferences_{EPOCH + timedelta(days=day):%Y%m%d}"


def partitioned_days(tx: Connection) -> list[int]:
    """The days that have a partition, in order; none on SQLite."""
    if tx.dialect.name != "postgresql":
        return []
    query = "select inhrelid::regclass::text from pg_inherits where inhparent = 'inferences'::regclass"
    names = [name for name in tx.execute(text(query)).scalars() if name != KEPT]
    return sorted((date.fromisoformat(name.removeprefix("inferences_")) - EPOCH).days for name in names)


def make_ahead(tx: Connection, now_ms: int) -> list[int]:
    """Make what is missing of today's partition and the next `AHEAD_DAYS` ones; the days that were made."""
    if tx.dialect.name != "postgresql":
        return []
    today = now_ms // DAY_MS
    missing = sorted(set(range(today, today + AHEAD_DAYS + 1)) - set(partitioned_days(tx)))
    for day in missing:
        _make(tx, day)
    return missing


def _make(tx: Connection, day: int) -> None:
    name = name_of(day)
    # Attached, not made in place: that would lock all partitions. Nobody may put the day's rows into the other one
    # while they are moved.
    tx.execute(text(f"lock table {KEPT} in access exclusive mode"))
    tx.execute(text(f"create table {name} (like inferences, check (day = {day}))"))
    moved = f"with moved as (delete from {KEPT} where day = {day} returning *) insert into {name} select * from moved"
    tx.execute(text(moved))
    tx.execute(text(f"alter table inferences attach partition {name} for values from ({day}) to ({day + 1})"))
    tx.execute(text(f"alter table {name} drop constraint {name}_day_check"))


def take_away(tx: Connection, day: int) -> str:
    """Detach the day's partition, which only this transaction can see then; its name as a table. Fails if it is away.

    It waits for whoever reads inferences just now, for as long as a lock is waited for.
    """
    name = name_of(day)
    tx.execute(text(f"alter table inferences detach partition {name}"))
    return name
