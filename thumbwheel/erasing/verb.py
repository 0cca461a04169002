"""`thumbwheel erase`: everything that an end user has said, and what was made of it, out of this home.

    thumbwheel erase --end-user ID --tenant NAME [--rewrite-tables] [--yes] [--json]

It writes the event first, and then does the work (job.py) itself, whether the service is up or not; where it is
killed, the same command or the controller's next hour goes on. Gateways, consumers and runs may go on meanwhile. It is
not taken back: what this end user says later is counted and not kept.

What it cannot reach, and it says so: the weights of releases that learnt from the person, what a Kafka broker holds
until that expires, what a PostgreSQL server's files hold until that is overwritten, and backups.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from thumbwheel import events, lineage
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import COMMAND_LINE, add_json, parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.erasing.job import forget
from thumbwheel.erasure import person_of, tombstone
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog, topics
from thumbwheel.eventlog.opening import cluster_of, open_log
from thumbwheel.events import CURATION, DEAD_LETTER, FEEDBACK, INFERENCE, ErasureEvent
from thumbwheel.home import Home, read_secret
from thumbwheel.ids import DAY_MS
from thumbwheel.printable import printable_lines
from thumbwheel.settings import Settings
from thumbwheel.store import curation_rows, erasure_rows, fleet_rows
from thumbwheel.store.connection import Store, existing_store
from thumbwheel.store.remains import remains

KAFKA_S = 5.0  # the longest that brokers are waited for
CANNOT = (
    "The weights of the releases above keep what they learnt: roll out one that was trained without it.",
    "Backups of this home, and what other systems were sent, are not reached.",
)


def run(argv: list[str]) -> int:
    """The verb `erase`."""
    options = parser("erase")
    options.add_argument(
        "--end-user", required=True, type=_somebody, help="as `safety_identifier`, `user` or `author` say it"
    )
    options.add_argument("--tenant", required=True, help="whose end user it is")
    options.add_argument(
        "--rewrite-tables",
        action="store_true",
        help="PostgreSQL: write the tables' files anew. Nobody else uses a table meanwhile, so ingestion pauses; the "
        "largest must fit on the server's disk once more",
    )
    options.add_argument("--yes", action="store_true", help="do not ask first: it cannot be taken back")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    with closing(existing_store(settings, home)) as store:
        if not arguments.yes and not _agreed(arguments):
            return 1
        secret = read_secret(home)
        person = person_of(secret, arguments.tenant, arguments.end_user)
        with closing(open_log(settings, home)) as log:
            ask(store, log, arguments.tenant, person, system_clock)
            artifacts, rewrite = ArtifactStore(home.artifacts), arguments.rewrite_tables
            done = forget(store, log, artifacts, home, secret, system_clock, rewrite=rewrite)
        with store.read() as tx:
            told = {"person": tombstone(person), "changed": asdict(done), **learnt(tx, person)}
            told["database"] = remains(tx, rewritten=rewrite)
    told["broker"] = held_by_broker(settings)
    print(json.dumps(told) if arguments.json else printable_lines("\n".join(_words(told))))
    return 0


def ask(store: Store, log: EventLog, tenant: str, person: str, clock: Clock) -> None:
    """Write that the person is erased, into the log and then into the store; once. Raises StoreUnavailable."""
    with store.read() as tx:
        if any(one.person == person for one in curation_rows.erasures(tx)):
            return
    now_ms = clock()
    # One person, one id: asked for again after a kill, or twice at once, it is one event.
    event = ErasureEvent(id=f"erasure-{person}", at_ms=now_ms, by=COMMAND_LINE, tenant=tenant, person=person)
    log.append(CURATION, [(event.id, events.encode(event))], durable=True)
    with store.write() as tx:  # the consumer does so too, if it is up
        curation_rows.keep(tx, [(0, event)])
        fleet_rows.record(tx, now_ms, COMMAND_LINE, "erase", tombstone(person), None, {"event": event.id})


def learnt(tx: Connection, person: str) -> dict[str, Any]:
    """The datasets that held something of the person, as they are called now, and what came of them."""
    rows = [row["after"] for row in fleet_rows.audit_of(tx, tombstone(person)) if row["after"] is not None]
    datasets = sorted({erasure_rows.standing(tx, after["dataset"]) for after in rows if "dataset" in after})
    return {"datasets": datasets, **lineage.results(tx, datasets)}


def held_by_broker(settings: Settings) -> dict[str, str] | None:
    """Topic -> for how long a Kafka broker holds what it has of the person; None where there is no broker."""
    if settings.kafka is None:
        return None
    from thumbwheel.eventlog.kafka_cluster import describe  # the client takes its time to import

    held = (INFERENCE, FEEDBACK, CURATION, DEAD_LETTER)
    try:
        cluster = cluster_of(settings, settings.kafka)
        _, there = describe(cluster, time.monotonic() + KAFKA_S)
    except StoreUnavailable as error:
        return dict.fromkeys(held, f"not known: {error}")
    return {name: _how_long(found.settings) for name, found in there.items() if name.partition(".")[0] in held}


def _how_long(configuration: Mapping[str, str]) -> str:
    kept_ms = int(configuration["retention.ms"])
    return "for ever" if kept_ms == topics.FOR_EVER else f"for {kept_ms / DAY_MS:g} days after it was written"


def _somebody(name: str) -> str:
    if not name:  # any other text may be somebody's id
        raise argparse.ArgumentTypeError("an end user's id is right")
    return name


def _agreed(arguments: argparse.Namespace) -> bool:
    print(
        f"All that this end user of {arguments.tenant} has said is removed, and cannot be brought back. Type yes: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return sys.stdin.readline().strip() == "yes"


def _words(told: Mapping[str, Any]) -> list[str]:
    changed = {name: count for name, count in told["changed"].items() if count}
    figures = ", ".join(f"{count} {name}" for name, count in changed.items()) or "nothing was left to remove"
    lines = [f"{told['person']} is erased: {figures}."]
    lines += lineage.in_words(told, "them")
    if told["broker"] is not None:
        lines += [f"Kafka holds topic {topic} {kept}." for topic, kept in sorted(told["broker"].items())]
    if told["database"] is not None:
        lines += [f"PostgreSQL's {where}: {until}." for where, until in told["database"].items()]
    return lines + list(CANNOT if told["releases"] else CANNOT[1:])
