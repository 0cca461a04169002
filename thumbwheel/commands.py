"""The admin API as commands: channels, runs, rollouts, lineage. Each takes --json.

thumbwheel channel put NAME [FILE]         policies as JSON, from FILE or standard input
thumbwheel channel show|ledger NAME
thumbwheel run start CHANNEL [--release ID]
thumbwheel run show|report|approve|reject ID
thumbwheel rollout start RELEASE [--stages FILE]
thumbwheel rollout pause|resume|promote|abort ID
thumbwheel rollback CHANNEL
thumbwheel lineage ID                      what it came from and what came of it
thumbwheel why ID                          the same of a feedback, run, release or rollout, in sentences
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from thumbwheel import admin_client, reports
from thumbwheel import lineage as trail
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import add_json, an_id, parser, settings_from
from thumbwheel.dataset_files import place_of
from thumbwheel.errors import InvalidRequest, UnknownArtifact
from thumbwheel.home import Home
from thumbwheel.printable import printable, printable_lines
from thumbwheel.store import release_rows
from thumbwheel.store.connection import existing_store
from thumbwheel.why import explain


def channel(argv: list[str]) -> int:
    """The verb `channel`."""
    options = _options("channel", ("put", "show", "ledger"), "the channel's name")
    options.add_argument("file", nargs="?", help="put: the policies as JSON; by default standard input")
    arguments, home = _parse(options, argv)
    path = f"/admin/v1/channels/{arguments.what}"
    if arguments.action == "put":
        return _show(admin_client.call(home, "PUT", path, _json(arguments.file)), arguments)
    return _show(admin_client.call(home, "GET", path + ("/ledger" if arguments.action == "ledger" else "")), arguments)


def run(argv: list[str]) -> int:
    """The verb `run`."""
    actions = ("start", "show", "report", "approve", "reject")
    options = _options("run", actions, "start: a channel; else a run's id")
    options.add_argument("--release", help="start: judge this draft instead of training a new one")
    arguments, home = _parse(options, argv)
    if arguments.action == "report":
        return _report(arguments, home)
    if arguments.action == "start":
        body = {} if arguments.release is None else {"release": arguments.release}
        return _show(admin_client.call(home, "POST", f"/admin/v1/channels/{arguments.what}/runs", body), arguments)
    path = f"/admin/v1/runs/{arguments.what}"
    if arguments.action == "show":
        return _show(admin_client.call(home, "GET", path), arguments)
    return _show(admin_client.call(home, "POST", f"{path}/{arguments.action}", {}), arguments)


def _report(arguments: argparse.Namespace, home: Home) -> int:
    """Markdown, or JSON. Reads the store itself, so it answers while the service is down too."""
    with _reading(arguments) as tx:
        found = release_rows.get_run(tx, arguments.what)
    artifacts = ArtifactStore(home.artifacts)
    if arguments.json:
        return _show(reports.read_json(artifacts, found), arguments)
    print(printable_lines(reports.read_markdown(artifacts, found)), end="")
    return 0


def rollout(argv: list[str]) -> int:
    """The verb `rollout`."""
    actions = ("start", "pause", "resume", "promote", "abort")
    options = _options("rollout", actions, "start: a release; else a rollout's id")
    options.add_argument("--stages", help="start: a file with the stages as JSON; by default the channel's own")
    arguments, home = _parse(options, argv)
    if arguments.action != "start":
        return _show(
            admin_client.call(home, "POST", f"/admin/v1/rollouts/{arguments.what}/{arguments.action}", {}), arguments
        )
    owner = admin_client.call(home, "GET", f"/admin/v1/releases/{arguments.what}")["channel"]
    body: dict[str, Any] = {"release": arguments.what}
    if arguments.stages is not None:
        body["stages"] = _json(arguments.stages)
    return _show(admin_client.call(home, "POST", f"/admin/v1/channels/{owner}/rollouts", body), arguments)


def rollback(argv: list[str]) -> int:
    """The verb `rollback`: the emergency lever."""
    options = parser("rollback")
    options.add_argument("what", type=an_id, help="the channel's name")
    add_json(options)
    arguments, home = _parse(options, argv)
    return _show(admin_client.call(home, "POST", f"/admin/v1/channels/{arguments.what}/rollback", {}), arguments)


def lineage(argv: list[str]) -> int:
    """The verb `lineage`. Reads the store itself, so it answers while the service is down too."""
    options = parser("lineage")
    options.add_argument(
        "what", type=an_id, help="any id: feedback, inference, example, dataset, run, release, rollout, channel"
    )
    add_json(options)
    arguments, _ = _parse(options, argv)
    with _reading(arguments) as tx:
        found = trail.lineage(tx, arguments.what)
    return _show(found, arguments)


def why(argv: list[str]) -> int:
    """The verb `why`. Reads the store itself, so it answers while the service is down too."""
    options = parser("why")
    options.add_argument("what", type=an_id, help="the id of a feedback, a run, a release or a rollout")
    add_json(options)
    arguments, home = _parse(options, argv)
    artifacts = ArtifactStore(home.artifacts)

    def beside(dataset: str, feedback: str) -> Sequence[str]:
        try:
            found: Sequence[str] = (place_of(artifacts.path(dataset), feedback) or {}).get("beside", ())
        except UnknownArtifact:  # its files were pruned; what the store knows is said all the same
            return ()
        return found

    with _reading(arguments) as tx:
        sentences = explain(tx, arguments.what, settings_from(arguments).feedback_window_s, beside)
    if arguments.json:
        return _show(sentences, arguments)
    print("\n".join(map(printable, sentences)))
    return 0


def _options(verb: str, actions: tuple[str, ...], what: str) -> argparse.ArgumentParser:
    options = parser(verb)
    options.add_argument("action", choices=actions)
    options.add_argument("what", type=an_id, help=what)
    add_json(options)
    return options


def _parse(options: argparse.ArgumentParser, argv: list[str]) -> tuple[argparse.Namespace, Home]:
    arguments = options.parse_args(argv)
    return arguments, Home(settings_from(arguments).home)


@contextmanager
def _reading(arguments: argparse.Namespace) -> Iterator[Connection]:
    settings = settings_from(arguments)
    with closing(existing_store(settings, Home(settings.home))) as store, store.read() as tx:
        yield tx


def _json(file: str | None) -> object:
    """What the file, or standard input, holds. Raises InvalidRequest."""
    name = file or "standard input"
    try:
        value: object = json.loads(Path(file).read_text() if file else sys.stdin.read())
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # what Python reads and JSON does not know
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"{name} holds no JSON: {error}.") from error
    return value


def _show(answer: object, arguments: argparse.Namespace) -> int:
    print(printable_lines(json.dumps(answer, ensure_ascii=False, indent=None if arguments.json else 2)))
    return 0
