"""How many events a second the consumer takes, beside the same loop without what makes it right.

    python -m bench.consumer [--rows 60000] [--stores sqlite,postgres] [--long [--many 3000000]] [--out FILE]
                                                                                       (make bench-consumer)

Ours is `feedback.ingest.step`, as the consumer calls it: read from the event log, decode and validate, insert what is
not there, settle the feedback, move the offset by compare-and-set, commit. The bare loop reads the same records, parses
the JSON and puts them into the same tables, with the same indexes, batches and durability, by COPY (PostgreSQL) or one
executemany (SQLite), and commits; a feedback's author is its inference's unit, which it looks up. It is written as fast
as that goes. They take turns, a slice each and another first each time, on stores of their own; the ratio is the median
of slices that followed each other, with the lowest and the highest. At the end all stores must hold the same rows,
column for column. PostgreSQL is started here, with its own defaults for durability.

For scale are printed: a loop of reading alone, which is part of both and brings every ratio nearer to 1; the ratio
without it; and ours `with care`, as the 20 batches are taken that follow one with something wrong or twice in it.
Where all is good and new, ours takes PostgreSQL's COPY as the bare loop does, and leaves it to the primary key to
refuse; with care it stages the rows and inserts what is missing.

Held, and else the exit status is 1: ours at least 70% of the bare loop on PostgreSQL and 85% on SQLite, for inferences
and for feedback. With `--long` one store of each kind is then filled with 3 x 10^6 inferences and one with 10^5 (half
an hour and 15 GB), and a row may cost at most 1.5 times in the former of what it costs in the latter, a tenth of them
duplicates of rows that are there.

It knows nothing of Kafka's own pace: the log is the SQLite one, so both loops read equally fast.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

from msgspec.json import decode as parse
from msgspec.json import encode as compose
from sqlalchemy import Connection, select

from feedback.ingest import BATCH, Position, step
from tests.integration.postgres.server import binaries, open_at, running
from tests.stores import store_in
from thumbwheel.clock import system_clock
from thumbwheel.eventlog import Record
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, Event, FeedbackEvent, InferenceEvent, encode
from thumbwheel.ids import day_of, feedback_id, mint_inference_id
from thumbwheel.store import data_rows, ingestion, partitions, schema
from thumbwheel.store.connection import Store

LEAST = {"postgres": 0.70, "sqlite": 0.85}
MOST_GROWTH = 1.5
FEW, MANY = 100_000, 3_000_000
GROWTH_ROWS = 40_000
STORES = 3  # ours, the bare loop's, and ours with care
SLICE = 2  # batches that one loop does before it is the other's turn
FILL = 5_000
DUPLICATE_EVERY = 10
SECRET = b"b" * 32
TENANT, CHANNEL = "bench", "support"
QUESTION = "My parcel was promised for Tuesday and the tracking page has not moved for four days. " * 8
ANSWER = "I am sorry about the delay. I have asked the carrier, and you will hear from us by tomorrow. " * 3
CORRECTION = "Category: delivery. Ask the carrier for a trace, and offer a refund after seven days without an answer."

Loop = Callable[[int], int]
"""Takes up to so many batches; how many events they held."""


@dataclass
class Pace:
    """What a loop has done in how many seconds."""

    events: int = 0
    seconds: float = 0.0
    slices: list[float] = field(default_factory=list)

    def add(self, loop: Loop) -> bool:
        """Let the loop do a slice; False where nothing is left."""
        gc.collect()  # what the others have left is not this one's to clear away
        began = time.perf_counter()
        count = loop(SLICE)
        took = time.perf_counter() - began
        if count:
            self.events, self.seconds = self.events + count, self.seconds + took
            self.slices.append(count / took)
        return count > 0

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


def beside(ours: Pace, other: Pace) -> tuple[float, float, float]:
    """The median, the lowest and the highest ratio of two slices that followed each other."""
    ratios = [one / two for one, two in zip(ours.slices, other.slices, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def inference(at_ms: int) -> InferenceEvent:
    """One of about 1.4 kB, minted at `at_ms`."""
    return InferenceEvent(
        id=mint_inference_id("chatcmpl", CHANNEL, TENANT, at_ms, SECRET),
        tenant=TENANT,
        channel=CHANNEL,
        unit=f"unit-{at_ms % 997}",
        at_ms=at_ms,
        assigned="rel-00000000000000000000000000",
        role="stable",
        served_by="rel-00000000000000000000000000",
        status="ok",
        messages=[{"role": "user", "content": QUESTION}],
        answer=ANSWER,
        finish_reason="stop",
        prompt_tokens=151,
        completion_tokens=60,
        ttft_ms=41.5,
        e2e_ms=803.25,
    )


def feedback(on: str, at_ms: int) -> FeedbackEvent:
    """A correction of about 0.4 kB."""
    return FeedbackEvent(
        id=feedback_id(on, None, str(at_ms).encode()),
        inference=on,
        tenant=TENANT,
        channel=CHANNEL,
        at_ms=at_ms,
        thumb="down",
        correction=CORRECTION,
        tags=["delivery"],
    )


def ours(store: Store, log: SqliteEventLog, topic: str, *, care: bool = False) -> Loop:
    """The consumer's own step; with `care`, each batch as if the one before had not been all good and new."""
    with store.write() as tx:
        at = Position(topic, 0, *data_rows.take_partition(tx, topic, 0))

    def loop(batches: int) -> int:
        nonlocal at
        before = at.offset
        for _ in range(batches):
            at = step(store, log, replace(at, wary=1) if care else at, system_clock())
        return at.offset - before

    return loop


def bare(store: Store, log: SqliteEventLog, topic: str, postgres: bool) -> Loop:
    """Read, parse, insert, commit; as fast as that can be written."""
    table = schema.inferences if topic == INFERENCE else schema.feedback
    names = [column.name for column in table.c if column.name != "dataset"]
    lists = [name for name in ("messages", "flags", "tags", "metrics") if name in names]
    fixed: dict[str, object] = dict.fromkeys(names)
    fixed |= {"streamed": False, "trainable": True, "flags": [], "tags": [], "metrics": {}, "role": "user"}
    fixed |= {"state": "waiting", "reason": "no_run_yet"}
    columns, marks = ", ".join(names), ", ".join("?" * len(names))
    values = itemgetter(*names)
    offset = 0

    def row(said: dict[str, Any], **more: object) -> tuple[object, ...]:
        whole = {**fixed, **said, **more}
        for name in lists:
            whole[name] = compose(whole[name]).decode()
        found: tuple[object, ...] = values(whole)
        return found

    def unit_of(tx: Connection, inferences: list[str]) -> dict[str, str]:
        driver: Any = tx.connection.driver_connection
        if not postgres:
            query = "select id, unit from inferences where id in (select value from json_each(?))"
            return dict(driver.execute(query, [compose(inferences).decode()]).fetchall())
        query = """select id, unit from inferences
            where id = any(array(select json_array_elements_text(%s::json))) and day = any(%s)"""
        days = sorted(set(map(day_of, inferences)))
        return dict(driver.execute(query, [compose(inferences).decode(), days]).fetchall())

    def rows(tx: Connection, records: Sequence[Record]) -> Iterator[tuple[object, ...]]:
        said = [parse(record.value) for record in records]
        if topic == INFERENCE:
            return (row(one, day=day_of(one["id"])) for one in said)
        units = unit_of(tx, [one["inference"] for one in said])
        return (
            row(one, author=units.get(one["inference"]), seq=record.offset)
            for one, record in zip(said, records, strict=True)
        )

    def loop(batches: int) -> int:
        nonlocal offset
        before = offset
        for _ in range(batches):
            records = log.read(topic, 0, offset, BATCH)
            if not records:
                break
            with store.write(alone=False) as tx:
                if postgres:
                    driver: Any = tx.connection.driver_connection
                    ready = rows(tx, records)
                    with driver.cursor().copy(f"copy {table.name} ({columns}) from stdin") as copy:
                        for one in ready:
                            copy.write_row(one)
                else:
                    statement = f"insert into {table.name} ({columns}) values ({marks})"
                    tx.exec_driver_sql(statement, list(rows(tx, records)))
            offset = records[-1].offset
        return offset - before

    return loop


def raw(log: SqliteEventLog, topic: str) -> Loop:
    """Reading alone."""
    offset = 0

    def loop(batches: int) -> int:
        nonlocal offset
        before = offset
        for _ in range(batches):
            records = log.read(topic, 0, offset, BATCH)
            offset = records[-1].offset if records else offset
        return offset - before

    return loop


def append(log: SqliteEventLog, topic: str, events: Sequence[Event]) -> None:
    """Put them into the log."""
    for start in range(0, len(events), FILL):
        part = [(event.id, encode(event)) for event in events[start : start + FILL]]
        log.append(topic, part, durable=False)


def without(reading: float, rate: float) -> float:
    """Events a second of a loop, had it not had to read them, at `reading` a second."""
    return 1 / max(1e-9, 1 / rate - 1 / reading)


def must_hold_the_same(stores: Sequence[Store], topic: str) -> None:
    """Else the loops did not do the same work. Raises SystemExit."""
    table = schema.inferences if topic == INFERENCE else schema.feedback
    with ExitStack() as stack:
        query = select(table).order_by(table.c.id)
        found = [stack.enter_context(store.read()).execute(query) for store in stores]
        for rows in zip_longest(*found):
            if any(row != rows[0] for row in rows):
                raise SystemExit(f"the loops have not written the same {topic} rows:\n" + "\n".join(map(str, rows)))


def compare(kind: str, stores: Sequence[Store], folder: Path, rows: int) -> dict[str, dict[str, float]]:
    """Topic -> events a second of each loop, and the ratio of ours to the bare one."""
    log = SqliteEventLog(folder / f"{kind}.events.db")
    now_ms = system_clock()
    for start in range(0, rows, FILL):
        served = [inference(now_ms + n) for n in range(start, min(rows, start + FILL))]
        append(log, INFERENCE, served)
        append(log, FEEDBACK, [feedback(one.id, one.at_ms + 60_000) for one in served])
    found = {}
    for topic in (INFERENCE, FEEDBACK):
        loops = {
            "ours": ours(stores[0], log, topic),
            "bare": bare(stores[1], log, topic, kind == "postgres"),
            "careful": ours(stores[2], log, topic, care=True),
            "raw": raw(log, topic),
        }
        paces = {name: Pace() for name in loops}
        gc.freeze()  # as the consumer does when it starts
        more, order = True, list(loops)
        while more:
            for name in order:
                more = paces[name].add(loops[name])
            order.reverse()
        found[topic] = {name: pace.rate for name, pace in paces.items()}
        names = ("ratio", "lowest", "highest")
        found[topic] |= dict(zip(names, beside(paces["ours"], paces["bare"]), strict=True))
        found[topic]["careful_ratio"] = beside(paces["careful"], paces["bare"])[0]
        rates = {name: without(paces["raw"].rate, paces[name].rate) for name in ("ours", "bare")}
        found[topic]["ratio_without_reading"] = rates["ours"] / rates["bare"]
        must_hold_the_same(stores, topic)
    log.close()
    return found


def growth(kind: str, two: Sequence[Store], folder: Path, many: int) -> dict[str, float]:
    """Microseconds a row with `many` and with `FEW` stored, a tenth of them duplicates, in turns; and their ratio.

    Half of the duplicates are of a moment ago, as a client's second try is, and half of any of the first `FEW` rows.
    """
    log = SqliteEventLog(folder / f"{kind}.long.db")
    at_ms = system_clock()
    for store in two:
        with store.write() as tx:
            epoch, offset = data_rows.take_partition(tx, INFERENCE, 0)
            data_rows.advance(tx, INFERENCE, 0, epoch, offset, 0)
    stored: list[InferenceEvent] = []
    for start in range(0, many, FILL):
        page = [inference(at_ms + start + n) for n in range(FILL)]
        stored += page[::DUPLICATE_EVERY] if start < FEW else []
        for store in two if start < FEW else two[:1]:
            with store.write(alone=False) as tx:
                ingestion.ingest(tx, page, [], fresh=True)
    chance = random.Random(7)
    fresh = [inference(at_ms + many + n) for n in range(GROWTH_ROWS)]
    twice = []
    for n, new in enumerate(fresh):
        twice.append(new)
        if n % DUPLICATE_EVERY == 0:
            twice.append(chance.choice(stored) if n % (2 * DUPLICATE_EVERY) else fresh[max(0, n - 2 * BATCH)])
    append(log, INFERENCE, twice)
    loops, paces = [ours(store, log, INFERENCE) for store in two], [Pace(), Pace()]
    gc.freeze()
    more, order = True, [0, 1]
    while more:
        for n in order:
            more = paces[n].add(loops[n])
        order.reverse()
    log.close()
    full, light = (statistics.median(1e6 / rate for rate in pace.slices) for pace in paces)
    ratio, lowest, highest = beside(paces[1], paces[0])
    names = (f"us_at_{many}", f"us_at_{FEW}", "ratio", "lowest", "highest")
    return dict(zip(names, (full, light, ratio, lowest, highest), strict=True))


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Sequence[Store]]:
    """Three empty stores of a kind, with today's partitions."""
    with ExitStack() as stack:
        if kind == "postgres":
            programs = binaries()
            if programs is None:
                raise SystemExit(
                    "PostgreSQL is not here; name its programs' folder in POSTGRES_BIN, or --stores sqlite"
                )
            server = stack.enter_context(running(programs, settings=()))
            stores = [open_at(server.empty()) for _ in range(STORES)]
        else:
            homes = [folder / f"store{n}" for n in range(STORES)]
            for home in homes:
                home.mkdir()
            stores = [store_in(home) for home in homes]
        for store in stores:
            stack.callback(store.close)
            with store.write() as tx:
                partitions.make_ahead(tx, system_clock())
        yield stores


def main(argv: list[str]) -> int:
    """Run it; 1 where a figure is worse than what is held."""
    options = argparse.ArgumentParser(prog="python -m bench.consumer")
    options.add_argument("--rows", type=int, default=60_000, help="events of each topic")
    options.add_argument("--stores", default="sqlite,postgres")
    options.add_argument("--long", action="store_true")
    options.add_argument("--many", type=int, default=MANY, help="rows stored before, in the long form")
    options.add_argument("--out", type=Path)
    arguments = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    figures: dict[str, Any] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.stores.split(","):
            with opened(kind, Path(scratch)) as stores:
                figures[kind] = compare(kind, stores, Path(scratch), arguments.rows)
                for topic, found in figures[kind].items():
                    rates = "  ".join(f"{name} {found[name]:8,.0f}/s" for name in ("ours", "bare", "careful", "raw"))
                    spread = f"{found['ratio']:.0%} [{found['lowest']:.0%}, {found['highest']:.0%}]"
                    more = (
                        f"without reading {found['ratio_without_reading']:.0%}, with care {found['careful_ratio']:.0%}"
                    )
                    print(f"{kind:<9} {topic:<10} {rates}   ours/bare {spread}, {more}", flush=True)
                    if found["ratio"] < LEAST[kind]:
                        wrong.append(f"{kind} {topic}: {found['ratio']:.0%}, and {LEAST[kind]:.0%} is held")
                if arguments.long:
                    grown = figures[kind]["growth"] = growth(kind, stores[:2], Path(scratch), arguments.many)
                    print(f"{kind:<9} growth     {json.dumps(grown)}", flush=True)
                    if grown["ratio"] > MOST_GROWTH:
                        wrong.append(f"{kind}: a row costs {grown['ratio']:.2f} times, and {MOST_GROWTH} is held")
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    for one in wrong:
        print(f"NOT HELD: {one}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
