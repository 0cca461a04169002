"""The command `thumbwheel`: one verb a process, one a thing to ask or to do.

Verbs are entry points of the group `thumbwheel.verbs`, `module:function` with `function(argv) -> exit code`, so that
the core starts the five packages' processes without importing them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from thumbwheel.errors import SettingsError, StoreUnavailable, ThumbwheelError
from thumbwheel.settings import Settings, read_settings

COMMAND_LINE = "command line"
"""Who did it, in the audit rows and events of verbs that write by themselves and not by the admin API."""

GROUP = "thumbwheel.verbs"
TO_USE: Mapping[str, str] = {
    "up": "start the whole service on this machine and keep it up",
    "doctor": "say what is wrong with the set-up and what to do",
    "status": "show what serves, what rolls out, what trains and what waits",
    "channel": "make, change or show a channel",
    "keys": "make a key; it is printed once and kept only as a hash",
    "run": "start a run, show or decide one",
    "release": "show a release, or import an adapter as a draft",
    "rollout": "start or steer a rollout",
    "rollback": "end the channel's rollout, or make its last stable release stable again",
    "why": "explain a feedback, run, release or rollout in plain words",
    "propose": "have a model answer what was disliked and not corrected, for a reviewer to approve",
    "reword": "have a model say in other words what a channel's next dataset is trained on",
    "dataset": "show and compare datasets, export them, and import training data from elsewhere",
    "replay": "make a dataset once more from the event log, and say whether it is the same",
    "review": "show what waits for a reviewer, and approve, edit or refuse it",
    "lineage": "show what an id came from and what came of it",
    "exclude": "have a feedback, an answer's feedback or an author teach no more, and list what learnt from it",
    "erase": "remove all that an end user has said and what was made of it, and list what learnt from it",
    "archive": "move inferences past the feedback window out of the store, as the controller does by itself",
    "migrate": "bring the store to this version's schema, as `up` does by itself",
    "dead-letters": "list, show or redrive records that the consumer could not handle",
}
PROCESSES: Mapping[str, str] = {
    "gateway": "one gateway worker",
    "engine": "one vLLM engine",
    "consumer": "ingest inference and feedback events into the store",
    "relay": "speak with Kafka for the gateways of this machine",
    "controller": "move runs and rollouts, start jobs",
    "curate": "freeze the dataset of a run",
    "train": "train and publish the adapter of a run",
    "evaluate": "judge the draft of a run",
}


def parser(verb: str) -> argparse.ArgumentParser:
    """A parser for one verb, with the flag that all of them take."""
    about = TO_USE[verb] if verb in TO_USE else f"{PROCESSES[verb]} (`thumbwheel up` starts it)"
    made = argparse.ArgumentParser(prog=f"thumbwheel {verb}", description=about)
    made.add_argument("--home", help="the data directory; by default THUMBWHEEL_HOME, else .thumbwheel")
    return made


def add_json(options: argparse.ArgumentParser) -> None:
    """The flag of the verbs that answer: `json` among the arguments."""
    options.add_argument("--json", action="store_true", help="answer with one line of JSON, for programs")


def an_id(text: str) -> str:
    """A name or an id among the arguments."""
    if not text or not text.isprintable():
        raise argparse.ArgumentTypeError("a name or an id is right")
    return text


def a_text(most: int) -> Callable[[str], str]:
    """What takes a text of one line and at most so many characters among the arguments."""

    def taken(text: str) -> str:
        if not text.strip() or not text.isprintable() or len(text) > most:
            raise argparse.ArgumentTypeError(f"a text of at most {most} characters is right")
        return text

    return taken


def a_path(text: str) -> str:
    """The name of a file or a folder among the arguments."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the name of a folder is right")
    return text


def a_number(most: int) -> Callable[[str], int]:
    """What takes a whole number from 1 to `most` among the arguments."""

    def taken(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 0 < int(text) <= most:
            raise argparse.ArgumentTypeError(f"a number from 1 to {most} is right")
        return int(text)

    return taken


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The settings that the flags, the environment and the home's file make. Raises SettingsError."""
    return read_settings(vars(arguments), os.environ, Path.cwd())


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    verbs = {entry.name: entry for entry in entry_points(group=GROUP)}
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview(verbs))
        return 0 if words else 2
    if broken := [word for word in words if not _is_text(word)]:  # no database and no message takes it
        print(f"thumbwheel: the argument {broken[0]!r} is no text in UTF-8.", file=sys.stderr)
        return 2
    if words[0] not in verbs:
        print(f"thumbwheel: there is no verb {words[0]!r}.\n\n{_overview(verbs)}", file=sys.stderr)
        return 2
    run: Callable[[list[str]], int] = verbs[words[0]].load()
    try:
        code = run(words[1:])
        sys.stdout.flush()
        return code
    except SettingsError as error:
        print("thumbwheel: the settings are not right:", file=sys.stderr)
        for key, held, right in error.problems:
            print(f"  {key} {held}; {right}", file=sys.stderr)
        return 2
    except StoreUnavailable as error:
        print(f"thumbwheel: {error}. `thumbwheel doctor` says what is wrong with the data directory.", file=sys.stderr)
        return 1
    except ThumbwheelError as error:
        print(f"thumbwheel: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `| head`: whoever read has read enough, and the interpreter must not try once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130


def _is_text(word: str) -> bool:
    """Whether it has none of the surrogates that stand for bytes which are no UTF-8."""
    return not any("\ud800" <= char <= "\udfff" for char in word)


def _overview(verbs: dict[str, EntryPoint]) -> str:
    used, started = (
        "".join(f"\n  {name:<14}{words[name]}" for name in words if name in verbs) for words in (TO_USE, PROCESSES)
    )
    return (
        f"usage: thumbwheel VERB [--home DIR] ...\n{used}\n\nprocesses, which `up` starts:{started}"
        "\n\n`thumbwheel VERB --help` says what each takes."
    )
