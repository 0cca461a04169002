"""The review queue as a command, over the admin API.

thumbwheel review list CHANNEL [--state needs_review] [--limit 20]      what waits, oldest first
thumbwheel review sample CHANNEL [--limit 20] [--seed monday]           so many of it at random
thumbwheel review show CHANNEL FEEDBACK
thumbwheel review approve CHANNEL FEEDBACK
thumbwheel review edit CHANNEL FEEDBACK [FILE]                          the right answer, from FILE or standard input
thumbwheel review refuse CHANNEL FEEDBACK --reason TEXT
thumbwheel review agreement CHANNEL

Personal data is masked; --unmasked shows it, and is noted in the audit trail. With --reviewer NAME, list and sample
leave out what NAME has reviewed or corrected, and a review is NAME's. Each takes --json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from thumbwheel import admin_client
from thumbwheel.adjudication import ARBITER, EDIT, REFUSE, VERDICTS
from thumbwheel.agreement import WEIGHTS
from thumbwheel.cli import add_json, an_id, parser, settings_from
from thumbwheel.clock import as_told
from thumbwheel.errors import InvalidRequest
from thumbwheel.home import Home
from thumbwheel.printable import printable_lines

LIST, SAMPLE, SHOW, AGREEMENT = "list", "sample", "show", "agreement"
LIMIT = 20


def run(argv: list[str]) -> int:
    """The verb `review`."""
    arguments = _options(argv)
    home = Home(settings_from(arguments).home)
    path = f"/admin/v1/channels/{arguments.channel}/reviews"
    if arguments.action == AGREEMENT:
        return _print(admin_client.call(home, "GET", f"{path}/agreement"), arguments)
    if arguments.action in VERDICTS:
        return _print(admin_client.call(home, "POST", path, _review(arguments)), arguments)
    answer = admin_client.call(home, "GET", path, params=_question(arguments))
    if arguments.json:
        return _print(answer, arguments)
    for case in answer["reviews"]:
        print(printable_lines("\n".join(_lines(case))), end="\n\n")
    if arguments.action != SHOW:
        print(
            f"{len(answer['reviews'])} of {answer['waiting']} that wait; {answer['needed']} must say the same of each."
        )
    return 0


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("review")
    options.add_argument("action", choices=(LIST, SAMPLE, SHOW, *VERDICTS, AGREEMENT))
    options.add_argument("channel", type=an_id, help="the channel's name")
    options.add_argument("feedback", nargs="?", type=an_id, help="show, approve, edit, refuse: its id")
    options.add_argument("file", nargs="?", help="edit: what the answer should be; by default standard input")
    options.add_argument("--state", action="append", default=[], help="list, sample: waiting for this; may be repeated")
    options.add_argument("--limit", type=int, default=LIMIT, help=f"list, sample: so many; {LIMIT} by default")
    options.add_argument("--seed", default="0", help="sample: the same one draws the same of what still waits")
    options.add_argument(
        "--unmasked", action="store_true", help="list, sample, show: with personal data; it is audited"
    )
    options.add_argument("--reviewer", help="who decides; by default the administrator's key")
    options.add_argument("--arbiter", action="store_true", help="end what two reviewers disagree on")
    options.add_argument("--reason", help="why; `refuse` needs one")
    options.add_argument("--proposal", help="a model's proposal is what is judged, not the correction")
    for name in WEIGHTS:
        options.add_argument(f"--{name}", type=int, metavar="1-5", help="of the rubric")
    add_json(options)
    arguments = options.parse_args(argv)
    if (arguments.feedback is None) != (arguments.action in (LIST, SAMPLE, AGREEMENT)):
        options.error(f"{arguments.action} takes a channel{'' if arguments.feedback else ', and the id of a feedback'}")
    if arguments.file is not None and arguments.action != EDIT:
        options.error(f"{arguments.action} takes no file")
    if arguments.action == REFUSE and not arguments.reason:
        options.error("refuse takes a --reason")
    return arguments


def _question(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the queue is asked."""
    asked = {"reviewer": arguments.reviewer, "unmasked": arguments.unmasked or None, "state": arguments.state or None}
    if arguments.action == SHOW:
        asked["feedback"] = arguments.feedback
    elif arguments.action == SAMPLE:
        asked |= {"sample": arguments.limit, "seed": arguments.seed}
    else:
        asked["limit"] = arguments.limit
    return {name: value for name, value in asked.items() if value is not None}


def _review(arguments: argparse.Namespace) -> dict[str, Any]:
    """The body of a review. Raises InvalidRequest."""
    scores = {name: getattr(arguments, name) for name in WEIGHTS if getattr(arguments, name) is not None}
    given = {
        "reviewer": arguments.reviewer,
        "reason": arguments.reason,
        "proposal": arguments.proposal,
        "scores": scores or None,
        "role": ARBITER if arguments.arbiter else None,
        "target": _text(arguments.file) if arguments.action == EDIT else None,
    }
    said = {name: value for name, value in given.items() if value is not None}
    return {"feedback": arguments.feedback, "verdict": arguments.action, **said}


def _text(file: str | None) -> str:
    """What the file, or standard input, holds, without the line's end. Raises InvalidRequest."""
    try:
        raw = Path(file).read_bytes() if file else sys.stdin.buffer.read()
        return raw.decode().rstrip("\r\n")
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{file or 'standard input'} holds no UTF-8.") from error


def _lines(case: Mapping[str, Any]) -> Iterator[str]:
    """One case as a person reads it."""
    received = as_told(case["received_ms"])
    yield f"{case['feedback']}: {case['state']} ({case['reason']}), by a {case['role']}, received {received}"
    for message in case["messages"]:
        also = f" [{', '.join(message['holds_also'])}]" if "holds_also" in message else ""
        yield f"  {message['role']}: {message['content']}{also}"
    for name in ("answer", "comment", "correction"):
        if case[name] is not None:
            yield f"  {name.upper()}: {case[name]}"
    for proposal in case["proposals"]:
        yield f"  PROPOSAL {proposal['id']} of {proposal['model']}: {proposal['target']}"
    for word in case.get("disagreement", ()):
        what, why = (f": {word[name]}" if word[name] else "" for name in ("target", "reason"))
        yield f"  SAID {word['verdict']}{what}{why}"


def _print(answer: object, arguments: argparse.Namespace) -> int:
    print(printable_lines(json.dumps(answer, ensure_ascii=False, indent=None if arguments.json else 2)))
    return 0
