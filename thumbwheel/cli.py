"""The command `thumbwheel`: one verb a process, one a thing to ask or to do.

Verbs are entry points of the group `thumbwheel.verbs`, `module:function` with `function(argv) -> exit code`, so that
the core starts the five packages' processes without importing them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from thumbwheel.errors import SettingsError, StoreUnavailable, ThumbwheelError
from thumbwheel.settings import Settings, read_settings

GROUP = "thumbwheel.verbs"
PROCESSES = ("gateway", "engine", "consumer", "controller", "curate", "train", "evaluate")


def parser(verb: str, description: str) -> argparse.ArgumentParser:
    """A parser for one verb, with the flag that all of them take."""
    made = argparse.ArgumentParser(prog=f"thumbwheel {verb}", description=description)
    made.add_argument("--home", help="the data directory; by default THUMBWHEEL_HOME, else .thumbwheel")
    return made


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
    asked = sorted(name for name in verbs if name not in PROCESSES)
    return (
        "usage: thumbwheel VERB [--home DIR] ...\n"
        f"\n  to use:      {', '.join(asked)}"
        f"\n  processes:   {', '.join(name for name in PROCESSES if name in verbs)} (`up` starts them)"
        "\n\n`thumbwheel VERB --help` says what each takes."
    )
