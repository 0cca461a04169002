"""`thumbwheel exclude`: what shall teach no more, and which releases have learnt from it.

    thumbwheel exclude --channel NAME (--feedback ID | --inference ID | --author NAME) --reason TEXT
                       [--withdraw] [--run] [--json]

It is an event in the log, which the consumer brings into the store; the next dataset lacks it, and one that is frozen
stays as it is. `--run` starts a run at once, which needs the service to be up. It writes the log itself, so all the
rest works while the service is down.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, select

from thumbwheel import admin_client, events, lineage
from thumbwheel.cli import COMMAND_LINE, a_text, add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.errors import NotFound
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import CURATION, ExclusionEvent
from thumbwheel.exclusions import KINDS
from thumbwheel.home import Home
from thumbwheel.ids import new_id
from thumbwheel.printable import printable, printable_lines
from thumbwheel.store import fleet_rows, release_rows, schema
from thumbwheel.store.connection import existing_store

MOST = 1_000  # characters of a reason, a name or an id


def run(argv: list[str]) -> int:
    """The verb `exclude`."""
    arguments = _options(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    what = next(kind for kind in KINDS if getattr(arguments, kind) is not None)
    value = str(getattr(arguments, what))
    now_ms = system_clock()
    event = ExclusionEvent(
        id=new_id("exclusion", now_ms),
        at_ms=now_ms,
        by=COMMAND_LINE,
        what=what,
        value=value,
        channel=arguments.channel,
        reason=arguments.reason,
        withdrawn=arguments.withdraw,
    )
    with closing(existing_store(settings, home)) as store:
        with store.read() as tx:
            release_rows.get_channel(tx, arguments.channel)
            told = concerned(tx, arguments.channel, what, value)
        if not told["feedback"] and not arguments.withdraw:
            raise NotFound(f"Channel {arguments.channel} has no feedback of this {what}.", code="unknown_id")
        with closing(open_log(settings, home)) as log:
            log.append(CURATION, [(event.id, events.encode(event))], durable=True)
        with store.write() as tx:  # without the value, which may be a person's name
            done = {"what": what, "exclusion": event.id, "withdrawn": event.withdrawn, "reason": event.reason}
            fleet_rows.record(tx, now_ms, COMMAND_LINE, "exclude", arguments.channel, None, done)
    told = {"exclusion": event.id, "withdrawn": event.withdrawn, **told}
    if arguments.run:
        told["run"] = admin_client.call(home, "POST", f"/admin/v1/channels/{arguments.channel}/runs", {})["id"]
    print(printable_lines(json.dumps(told)) if arguments.json else printable_lines("\n".join(_words(event, told))))
    return 0


def concerned(tx: Connection, channel: str, what: str, value: str) -> dict[str, Any]:
    """The feedback that an exclusion bears on, and the datasets, runs, releases and rollouts that it came to."""
    f, e = schema.feedback.c, schema.examples.c
    column = {"feedback": f.id, "inference": f.inference, "author": f.author}[what]
    feedback = list(tx.execute(select(f.id).where(f.channel == channel, column == value).order_by(f.id)).scalars())
    # By a subquery: an author may have said more than a statement may have parameters.
    theirs = select(f.id).where(f.channel == channel, column == value)
    held = select(e.dataset).where(e.feedback.in_(theirs)).distinct().order_by(e.dataset)
    datasets = list(tx.execute(held).scalars())
    return {"feedback": feedback, "datasets": datasets, **lineage.results(tx, datasets)}


def _words(event: ExclusionEvent, told: Mapping[str, Any]) -> list[str]:
    verb = "may teach again" if event.withdrawn else "shall teach no more"
    lines = [f"{len(told['feedback'])} feedback of this {event.what} {verb}; the next dataset is made so."]
    lines += lineage.in_words(told, "it")
    if "run" in told:
        lines.append(f"{told['run']} was started.")
    elif told["releases"] and not event.withdrawn:
        lines.append(f"`thumbwheel run start {printable(event.channel)}` makes a release that has not learnt from it.")
    return lines


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("exclude")
    options.add_argument("--channel", required=True, help="the channel's name")
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--feedback", type=a_text(MOST), metavar="ID", help="this feedback")
    which.add_argument("--inference", type=a_text(MOST), metavar="ID", help="all feedback on this answer")
    which.add_argument("--author", type=a_text(MOST), metavar="NAME", help="all feedback of this author")
    options.add_argument("--reason", required=True, type=a_text(MOST), help="why; it is kept, so it should name nobody")
    options.add_argument("--withdraw", action="store_true", help="take the exclusion of the same back")
    options.add_argument("--run", action="store_true", help="start a run at once")
    add_json(options)
    return options.parse_args(argv)
