"""Inferences past the feedback window: written as Parquet into the artifact store, then let go.

    thumbwheel archive [--home DIR] [--json]

The controller does it once an hour, and makes the partitions of the coming days. A day is archived whole, once none of
its inferences can get feedback any more; that is known when the consumer has read what had been acknowledged by then.
What somebody has said something of stays in the store: the next run curates it again, and the counts of thumbs go on.
So does what a rollout in progress is judged by. Examples hold their own text and need none of it. What a replay needs
of the event log is kept apart, with its offsets (segments.py); these files know none.

On PostgreSQL the day's partition is dropped, and what stays of it goes to `inferences_kept`; on SQLite rows are
deleted. A row that comes for a day after that is archived and let go by itself. Killed between any two steps it is
simply done again: at worst an artifact lies there that `archives` does not name.

An archive is an artifact of kind `inferences`: `inferences.parquet` in order of ids, with the columns of the table;
messages and flags are JSON text. The table `archives` says which artifacts a day has.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from msgspec.json import encode
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Float,
    Integer,
    RowMapping,
    TableClause,
    and_,
    column,
    delete,
    func,
    or_,
    select,
    table,
    text,
)

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import add_json, parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.home import Home, prepare
from thumbwheel.ids import DAY_MS, KINDS, day_bounds
from thumbwheel.records import ROLLOUT_ACTIVE
from thumbwheel.store import data_rows, release_rows, schema, segments
from thumbwheel.store.connection import Store, hold_ledger, insert_or, open_store
from thumbwheel.store.partitions import EPOCH, make_ahead, partitioned_days, take_away

KIND = "inferences"
FILE = "inferences.parquet"
ROWS_AT_ONCE = 5_000
CATCH_UP_S = 10.0
POLL_S = 1.0
SCRATCH = "archive"
NAMES = tuple(column.name for column in schema.inferences.c)

Sleep = Callable[[float], None]


def retain(
    store: Store, log: EventLog, artifacts: ArtifactStore, home: Home, window_s: float, clock: Clock, sleep: Sleep
) -> list[int]:
    """Make the coming days' partitions, archive and let go of the days that are over; those that had rows.

    What a replay needs of the log is kept first (segments.py).

    Raises StoreUnavailable; LostRace where a day's rows changed meanwhile. What was not done is done at the next call.
    """
    now_ms = clock()
    with store.write() as tx:
        make_ahead(tx, now_ms)
    closed_ms = now_ms - round(window_s * 1000)
    with store.read() as tx:
        days = due(tx, closed_ms)
    ahead = segments.pending(store, log, closed_ms, now_ms)
    if not days and not ahead:
        return []
    _await_consumer(store, log, sleep)
    segments.keep(store, log, artifacts, home.runs / SCRATCH, ahead, closed_ms, now_ms)
    return [day for day in days if archive(store, artifacts, home.runs / SCRATCH, day, now_ms) is not None]


def _await_consumer(store: Store, log: EventLog, sleep: Sleep) -> None:
    """Return when all that is in the log now is in the store. Raises StoreUnavailable after `CATCH_UP_S`."""
    ends = log.ends()
    wanted = {topic: ends[topic] for topic in (INFERENCE, FEEDBACK)}
    for _ in range(round(CATCH_UP_S / POLL_S)):
        with store.read() as tx:
            if data_rows.caught_up(tx, wanted):
                return
        sleep(POLL_S)
    raise StoreUnavailable(f"nothing is archived: the consumer has not read the log within {CATCH_UP_S:g} s")


def due(tx: Connection, closed_ms: int) -> list[int]:
    """The days that are over by `closed_ms` and of which something has to go, in order."""
    starts = [rollout.started_ms for rollout in release_rows.rollouts_in(tx, ROLLOUT_ACTIVE)]
    before = min([closed_ms, *starts]) // DAY_MS
    rows = _unpartitioned(tx)
    # By the ids, which the primary key orders: the day alone has no index.
    minted = or_(*(and_(rows.c.id >= f"{kind}-", rows.c.id < day_bounds(kind, before)[0]) for kind in KINDS))
    loose = tx.execute(select(rows.c.day).where(minted, rows.c.day > 0, _unrated(rows.c.id)).distinct()).scalars()
    return sorted({day for day in partitioned_days(tx) if day < before} | set(loose))


def _unpartitioned(tx: Connection) -> TableClause:
    """Where rows lie that are in no day's partition."""
    name = schema.KEPT if tx.dialect.name == "postgresql" else schema.inferences.name
    return table(name, column("id"), column("day"))


def _unrated(inference: ColumnElement[Any]) -> ColumnElement[bool]:
    return ~select(schema.feedback.c.id).where(schema.feedback.c.inference == inference).exists()


def archive(store: Store, artifacts: ArtifactStore, scratch: Path, day: int, now_ms: int) -> str | None:
    """Write what has to go of `day` into the artifact store, then let go of it; the artifact, None if there is nothing.

    Of a day that has an archive already only what came later. Raises StoreUnavailable, LostRace.
    """
    c = schema.inferences.c
    with store.read() as tx:
        again = tx.execute(select(schema.archives.c.day).where(schema.archives.c.day == day)).first() is not None
        which = and_(c.day == day, _unrated(c.id)) if again else c.day == day
        rows = _write(tx, which, scratch)
    sha = None
    if rows:
        meta = {"day": (EPOCH + timedelta(days=day)).isoformat(), "rows": rows}
        sha = artifacts.publish(scratch, KIND, meta)
    shutil.rmtree(scratch, ignore_errors=True)
    with store.write() as tx:
        if tx.dialect.name == "postgresql":
            # No inference may come from here on. Before the ledger, as ingestion takes both in this order.
            tx.execute(text("lock table inferences in share row exclusive mode"))
        hold_ledger(tx)  # or feedback could find its inference here and lose it at once
        if sha is not None:
            row = {"day": day, "artifact": sha, "rows": rows, "at_ms": now_ms}
            tx.execute(insert_or(tx, schema.archives).values(**row).on_conflict_do_nothing())
        _let_go(tx, day, which, rows)
    return sha


def _write(tx: Connection, which: ColumnElement[bool], scratch: Path) -> int:
    """The rows as one Parquet file in the folder `scratch`, made anew; how many they are."""
    import pyarrow as arrow  # a third of a second and 50 MB, and most hours have nothing to archive
    from pyarrow import parquet

    kinds = {Boolean: arrow.bool_(), Integer: arrow.int64(), BigInteger: arrow.int64(), Float: arrow.float64()}
    found = [(one.name, kinds.get(type(one.type), arrow.string())) for one in schema.inferences.c]
    query = select(schema.inferences).where(which).order_by(schema.inferences.c.id)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)
    count, shape = 0, arrow.schema(found)
    with parquet.ParquetWriter(scratch / FILE, shape, compression="zstd") as writer:
        for part in tx.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).mappings().partitions():
            writer.write_table(arrow.Table.from_pylist([_plain(row) for row in part], shape))
            count += len(part)
    return count


def _plain(row: RowMapping) -> dict[str, Any]:
    return {key: encode(value).decode() if isinstance(value, list | dict) else value for key, value in row.items()}


def _let_go(tx: Connection, day: int, which: ColumnElement[bool], written: int) -> None:
    """Remove the day's rows but those with feedback. Raises LostRace where more has come than was `written`."""
    rows = _unpartitioned(tx)
    if tx.execute(select(func.count()).select_from(schema.inferences).where(which)).scalar_one() != written:
        raise LostRace(f"inferences of day {day} came while it was archived")
    if day in partitioned_days(tx):
        names, name = ", ".join(NAMES), take_away(tx, day)
        rated = f"exists (select from feedback where feedback.inference = {name}.id)"
        tx.execute(text(f"insert into inferences ({names}) select {names} from {name} where {rated}"))
        tx.execute(text(f"drop table {name}"))
    tx.execute(delete(rows).where(rows.c.day == day, _unrated(rows.c.id)))


def run(argv: list[str]) -> int:
    """The verb `archive`."""
    options = parser("archive")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = prepare(settings.home)
    artifacts = ArtifactStore(home.artifacts)
    with closing(open_store(settings, home)) as store, closing(open_log(settings, home)) as log:
        days = retain(store, log, artifacts, home, settings.feedback_window_s, system_clock, time.sleep)
    told = [(EPOCH + timedelta(days=day)).isoformat() for day in days]
    print(json.dumps({"archived": told}) if arguments.json else f"archived: {', '.join(told) or 'no day is over'}")
    return 0
