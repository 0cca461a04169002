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
    "lineage": "show what an id came from and what came of it",
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


def _overview(verbs: dict[str, EntryPoint]) -> str:
    used, started = (
        "".join(f"\n  {name:<14}{words[name]}" for name in words if name in verbs) for words in (TO_USE, PROCESSES)
    )
    return (
        f"usage: thumbwheel VERB [--home DIR] ...\n{used}\n\nprocesses, which `up` starts:{started}"
        "\n\n`thumbwheel VERB --help` says what each takes."
    )
