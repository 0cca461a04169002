"""`thumbwheel dead-letters`: what the consumer could not handle, and the way back for it.

    thumbwheel dead-letters list [--topic TOPIC] [--channel NAME] [--limit N]
    thumbwheel dead-letters show TOPIC/PARTITION/OFFSET [--raw]
    thumbwheel dead-letters redrive TOPIC/PARTITION/OFFSET ... | --all [--topic TOPIC] [--channel NAME]

Redriving appends the record to its topic again, as it was, for the consumer to read once more: after an update that can
handle it, say. Only when it is in the log does it cease to be a dead letter, so a killed command may append it twice;
its event has its effect once. What still cannot be handled becomes a dead letter again, at its new place.

What people said is hidden in `show`, unless it is asked for.

It reads store and log themselves, so it answers while the service is down too. It knows nothing of what is wrong with
a record.
"""

from __future__ import annotations

import argparse
import json
import re
from contextlib import closing

from thumbwheel.cli import COMMAND_LINE, a_number, add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.errors import NotFound
from thumbwheel.eventlog import EventLog, Place
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import TOPICS
from thumbwheel.home import Home
from thumbwheel.printable import printable, printable_lines
from thumbwheel.store import dead_letter_rows, fleet_rows
from thumbwheel.store.connection import Store, existing_store
from thumbwheel.store.dead_letter_rows import DeadLetter

LISTED = 50
PAGE = 500
SHOWN = 60  # characters of a reason that the list shows
PLAIN = frozenset(
    {
        "type",
        "id",
        "inference",
        "feedback",
        "tenant",
        "channel",
        "at_ms",
        "assigned",
        "role",
        "served_by",
        "status",
        "streamed",
        "rollout",
        "key",
        "finish_reason",
        "prompt_tokens",
        "completion_tokens",
        "ttft_ms",
        "e2e_ms",
        "trainable",
        "thumb",
        "score",
        "verdict",
        "proposal",
        "model",
        "version",
    }
)
"""Fields of an event that hold nothing that a person said, nor a person's name."""
WORD = re.compile(r"[\w.:-]{1,128}", re.ASCII)
NAME = re.compile(r"([a-z-]+)/([0-9]{1,9})/([0-9]{1,18})", re.ASCII)

Name = tuple[str, int, int]
"""Topic, partition and offset."""


def redrive(store: Store, log: EventLog, letter: DeadLetter, now_ms: int, who: str) -> bool:
    """Append the record again and bury it no longer; False where another has done so meanwhile.

    Raises StoreUnavailable, with the dead letter still there.
    """
    record = letter.record
    log.append(record.topic, [(record.key, record.value)], durable=True)
    with store.write() as tx:
        removed = dead_letter_rows.remove(tx, record)
        if removed:
            told = {"reason": letter.reason.splitlines()[0], "channel": letter.channel, "event": letter.event}
            fleet_rows.record(tx, now_ms, who, "redrive", letter.name, told, None)
    return removed


def run(argv: list[str]) -> int:
    """The verb `dead-letters`."""
    arguments = _options(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    with closing(existing_store(settings, home)) as store:
        if arguments.action == "list":
            return _list(store, arguments)
        if arguments.action == "show":
            return _show(_found(store, arguments.names[0]), arguments)
        with closing(open_log(settings, home)) as log:
            return _redrive(store, log, arguments)


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("dead-letters")
    options.add_argument("action", choices=("list", "show", "redrive"))
    options.add_argument("names", nargs="*", type=_name, metavar="TOPIC/PARTITION/OFFSET", help="as `list` says them")
    options.add_argument("--topic", choices=TOPICS, help="list, redrive --all: this topic's alone")
    options.add_argument("--channel", help="list, redrive --all: this channel's alone")
    options.add_argument(
        "--limit", type=a_number(PAGE), default=LISTED, help=f"list: so many, the oldest; {LISTED} by default"
    )
    options.add_argument("--raw", action="store_true", help="show: with what people said in it")
    options.add_argument("--all", action="store_true", help="redrive: all of them")
    add_json(options)
    arguments = options.parse_args(argv)
    wanted = {"list": len(arguments.names) == 0, "show": len(arguments.names) == 1}
    if not wanted.get(arguments.action, bool(arguments.names) != arguments.all):
        options.error({"list": "list takes no name", "show": "show takes one name"}.get(
            arguments.action, "redrive takes names, or --all"))  # fmt: skip
    return arguments


def _name(text: str) -> Name:
    found = NAME.fullmatch(text)
    if found is None or found[1] not in TOPICS:
        raise argparse.ArgumentTypeError(f"topic/partition/offset is right, of {', '.join(TOPICS)}")
    return found[1], int(found[2]), int(found[3])


def _found(store: Store, name: Name) -> DeadLetter:
    with store.read() as tx:
        letter = dead_letter_rows.find(tx, *name)
    if letter is None:
        raise NotFound(
            f"There is no dead letter {name[0]}/{name[1]}/{name[2]}; `thumbwheel dead-letters list` has all."
        )
    return letter


def _list(store: Store, arguments: argparse.Namespace) -> int:
    with store.read() as tx:
        letters = dead_letter_rows.listed(tx, arguments.limit, arguments.topic, arguments.channel)
        total = dead_letter_rows.count(tx)
    if arguments.json:
        print(json.dumps({"dead_letters": [_summary(letter) for letter in letters], "total": total}))
        return 0
    for letter in letters:
        reason = letter.reason.strip().splitlines()[-1][:SHOWN]  # a traceback says what it was in its last line
        print(printable(f"{letter.name}  {letter.channel or '-'}  {letter.event or '-'}  {reason}"))
    print(f"{len(letters)} of {total} dead letters")
    return 0


def _summary(letter: DeadLetter) -> dict[str, object]:
    return {
        "name": letter.name,
        "channel": letter.channel,
        "event": letter.event,
        "at_ms": letter.at_ms,
        "reason": letter.reason,
    }


def _show(letter: DeadLetter, arguments: argparse.Namespace) -> int:
    told = _summary(letter) | {
        "key": letter.record.key,
        "value": letter.record.value.decode("utf-8", "backslashreplace") if arguments.raw else _outline(letter),
    }
    print(printable_lines(json.dumps(told, ensure_ascii=False, indent=None if arguments.json else 2)))
    return 0


def _outline(letter: DeadLetter) -> object:
    """The record without what people said, as far as it can be read; its length where it cannot."""
    try:
        found = json.loads(letter.record.value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        return f"{len(letter.record.value)} bytes; --raw shows them"
    return {
        key: value if key in PLAIN and _is_plain(value) else "hidden; --raw shows it" for key, value in found.items()
    }


def _is_plain(value: object) -> bool:
    """A number, or a word of ours: whatever is wrong with a record, a sentence in it is somebody's."""
    return value is None or isinstance(value, bool | int | float) or bool(WORD.fullmatch(str(value)))


def _redrive(store: Store, log: EventLog, arguments: argparse.Namespace) -> int:
    done: list[str] = []
    if not arguments.all:
        for letter in [_found(store, name) for name in arguments.names]:
            if redrive(store, log, letter, system_clock(), COMMAND_LINE):
                done.append(letter.name)
    else:
        done = redrive_all(store, log, arguments.topic, arguments.channel)
    print(json.dumps({"redriven": done}) if arguments.json else f"{len(done)} redriven")
    return 0


def redrive_all(store: Store, log: EventLog, topic: str | None, channel: str | None) -> list[str]:
    """Those that are there now: what comes back at once is behind the present end of its partition, and left there."""
    ends: dict[Place, int] = {(name, part): end for name, parts in log.ends().items() for part, end in parts.items()}
    done: list[str] = []
    while True:
        with store.read() as tx:
            letters = [
                letter
                for letter in dead_letter_rows.listed(tx, PAGE, topic, channel)
                if letter.record.offset <= ends.get((letter.record.topic, letter.record.partition), 0)
            ]
        if not letters:
            return done
        done += [one.name for one in letters if redrive(store, log, one, system_clock(), COMMAND_LINE)]
