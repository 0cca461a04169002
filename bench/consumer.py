"""How many events a second the consumer takes, beside the same loop without what makes it right.

    python -m bench.consumer [--rows 20000] [--stores sqlite,postgres] [--long] [--out FILE]       (make bench-consumer)

Ours is `feedback.ingest.step`, as the consumer calls it: read from the event log, decode and validate, insert what is
not there, settle the feedback, move the offset by compare-and-set, commit. The bare loop reads the same records, parses
the JSON and puts them into the same tables, with the same indexes and durability, by COPY (PostgreSQL) or one
executemany (SQLite), and commits; a feedback's author is its inference's unit, which it looks up. Both take turns, a
slice each, on stores of their own; a slice of reading alone is printed for scale. PostgreSQL is started here, with its
own defaults for durability.

Held, and else the exit status is 1: ours at least 70% of the bare loop on PostgreSQL and 85% on SQLite, for inferences
and for feedback. With `--long` one store of each kind is then filled with 3 x 10^6 inferences and one with 10^5 (half
an hour and 15 GB), and a row may cost at most 1.5 times in the former of what it costs in the latter, a tenth of them
duplicates.

It knows nothing of Kafka's own pace: the log is the SQLite one, so both loops read equally fast.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.json import decode as parse
from msgspec.json import encode as compose
from sqlalchemy import Connection, select

from feedback.ingest import BATCH, Position, step
from tests.integration.postgres.server import binaries, open_at, running
from tests.stores import store_in
from thumbwheel.clock import system_clock
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, Event, FeedbackEvent, InferenceEvent, encode
from thumbwheel.ids import day_of, feedback_id, mint_inference_id
from thumbwheel.store import data_rows, ingestion, partitions, schema
from thumbwheel.store.connection import Store

LEAST = {"postgres": 0.70, "sqlite": 0.85}
MOST_GROWTH = 1.5
FEW, MANY = 100_000, 3_000_000
SLICE = 10  # batches that one loop does before it is the other's turn
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


def ours(store: Store, log: SqliteEventLog, topic: str) -> Loop:
    """The consumer's own step."""
    with store.write() as tx:
        at = Position(topic, 0, *data_rows.take_partition(tx, topic, 0))

    def loop(batches: int) -> int:
        nonlocal at
        before = at.offset
        for _ in range(batches):
            at = step(store, log, at, system_clock())
        return at.offset - before

    return loop


def bare(store: Store, log: SqliteEventLog, topic: str, postgres: bool) -> Loop:
    """Read, parse, insert, commit."""
    table = schema.inferences if topic == INFERENCE else schema.feedback
    names = [column.name for column in table.c if column.name != "dataset"]
    fixed: dict[str, object] = {"state": "waiting", "reason": "no_run_yet", "role": "user", "metrics": {}}
    fixed |= {"streamed": False, "trainable": True, "flags": []}
    columns, marks = ", ".join(names), ", ".join("?" * len(names))
    offset = 0

    def row(said: dict[str, object]) -> tuple[object, ...]:
        values = (said.get(name) for name in names)
        return tuple(compose(value).decode() if isinstance(value, list | dict) else value for value in values)

    def unit_of(tx: Connection, inferences: list[str]) -> dict[str, str]:
        i = schema.inferences.c
        found = tx.execute(select(i.id, i.unit).where(ingestion.at(tx, inferences)))
        return {row.id: row.unit for row in found}

    def loop(batches: int) -> int:
        nonlocal offset
        before = offset
        for _ in range(batches):
            records = log.read(topic, 0, offset, BATCH)
            if not records:
                break
            found = [{**fixed, **parse(record.value), "seq": record.offset} for record in records]
            with store.write(alone=False) as tx:
                if topic == FEEDBACK:
                    units = unit_of(tx, [said["inference"] for said in found])
                    ready = [row({**said, "author": units.get(said["inference"])}) for said in found]
                else:
                    ready = [row({**said, "day": day_of(said["id"])}) for said in found]
                if postgres:
                    driver: Any = tx.connection.driver_connection
                    with driver.cursor().copy(f"copy {table.name} ({columns}) from stdin") as copy:
                        for one in ready:
                            copy.write_row(one)
                else:
                    tx.exec_driver_sql(f"insert into {table.name} ({columns}) values ({marks})", ready)
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


def compare(kind: str, two: tuple[Store, Store], folder: Path, rows: int) -> dict[str, dict[str, float]]:
    """Topic -> events a second of each loop, and the ratio of ours to the bare one."""
    log = SqliteEventLog(folder / f"{kind}.events.db")
    now_ms = system_clock()
    served = [inference(now_ms + n) for n in range(rows)]
    append(log, INFERENCE, served)
    append(log, FEEDBACK, [feedback(one.id, one.at_ms + 60_000) for one in served])
    found = {}
    for topic in (INFERENCE, FEEDBACK):
        loops = {
            "ours": ours(two[0], log, topic),
            "bare": bare(two[1], log, topic, kind == "postgres"),
            "raw": raw(log, topic),
        }
        paces = {name: Pace() for name in loops}
        more = True
        while more:
            for name, loop in loops.items():
                more = paces[name].add(loop)
        found[topic] = {name: pace.rate for name, pace in paces.items()}
        found[topic]["ratio"] = paces["ours"].rate / paces["bare"].rate
    log.close()
    return found


def growth(kind: str, two: tuple[Store, Store], folder: Path) -> dict[str, float]:
    """Microseconds a row with `MANY` and with `FEW` stored, a tenth of them duplicates, in turns; and their ratio."""
    log = SqliteEventLog(folder / f"{kind}.long.db")
    at_ms = system_clock()
    for store, rows in zip(two, (MANY, FEW), strict=True):
        with store.write() as tx:
            epoch, offset = data_rows.take_partition(tx, INFERENCE, 0)
            data_rows.advance(tx, INFERENCE, 0, epoch, offset, 0)
        for start in range(0, rows, FILL):
            with store.write(alone=False) as tx:
                ingestion.ingest(tx, [inference(at_ms + start + n) for n in range(FILL)], [])
    fresh = [inference(at_ms + MANY + n) for n in range(4 * FILL)]
    twice = [one for n, new in enumerate(fresh) for one in [new] * (2 if n % DUPLICATE_EVERY == 0 else 1)]
    append(log, INFERENCE, twice)
    loops, paces = [ours(store, log, INFERENCE) for store in two], [Pace(), Pace()]
    more = True
    while more:
        for pace, loop in zip(paces, loops, strict=True):
            more = pace.add(loop)
    log.close()
    many, few = (1e6 / pace.rate for pace in paces)
    return {f"us_at_{MANY}": many, f"us_at_{FEW}": few, "ratio": many / few}


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Store, Store]]:
    """Two empty stores of a kind, with today's partitions."""
    with ExitStack() as stack:
        if kind == "postgres":
            programs = binaries()
            if programs is None:
                raise SystemExit(
                    "PostgreSQL is not here; name its programs' folder in POSTGRES_BIN, or --stores sqlite"
                )
            server = stack.enter_context(running(programs, settings=()))
            two = (open_at(server.empty()), open_at(server.empty()))
        else:
            homes = [folder / "ours", folder / "bare"]
            for home in homes:
                home.mkdir()
            two = (store_in(homes[0]), store_in(homes[1]))
        for store in two:
            stack.callback(store.close)
            with store.write() as tx:
                partitions.make_ahead(tx, system_clock())
        yield two


def main(argv: list[str]) -> int:
    """Run it; 1 where a figure is worse than what is held."""
    options = argparse.ArgumentParser(prog="python -m bench.consumer")
    options.add_argument("--rows", type=int, default=20_000, help="events of each topic")
    options.add_argument("--stores", default="sqlite,postgres")
    options.add_argument("--long", action="store_true")
    options.add_argument("--out", type=Path)
    arguments = options.parse_args(argv)
    logging.basicConfig(level=logging.WARNING)
    figures: dict[str, Any] = {}
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for kind in arguments.stores.split(","):
            with opened(kind, Path(scratch)) as two:
                figures[kind] = compare(kind, two, Path(scratch), arguments.rows)
                for topic, found in figures[kind].items():
                    rates = "  ".join(f"{name} {found[name]:8,.0f}/s" for name in ("ours", "bare", "raw"))
                    print(f"{kind:<9} {topic:<10} {rates}   ours/bare {found['ratio']:.0%}", flush=True)
                    if found["ratio"] < LEAST[kind]:
                        wrong.append(f"{kind} {topic}: {found['ratio']:.0%}, and {LEAST[kind]:.0%} is held")
                if arguments.long:
                    grown = figures[kind]["growth"] = growth(kind, two, Path(scratch))
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
