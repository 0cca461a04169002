"""The play's steps: each is timed, shown while it lasts, and kept on disk, so that a play that was cut off goes on.

A step's result is JSON. A step that the journal holds already is not played again; the report says which figures are
from an earlier sitting.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, TypeVar

from demo.client import Tally

TICK_S = 1.0
PLAIN_TICK_S = 10.0  # between progress lines where they cannot overwrite each other
NAME_WIDTH = 34

T = TypeVar("T")


class Screen:
    """Calm output: one line a finished step, and a line that moves while a step lasts (each 10 s off a terminal)."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self.stream = stream
        self.moving = stream.isatty()
        self._shown = 0.0

    def line(self, text: str = "") -> None:
        """One line that stays."""
        self._clear()
        print(text, file=self.stream, flush=True)

    def passing(self, text: str) -> None:
        """A line that the next one replaces."""
        now = time.monotonic()
        if self.moving:
            self._clear()
            width = shutil.get_terminal_size().columns
            print(text[: width - 1], end="", file=self.stream, flush=True)
        elif now - self._shown >= PLAIN_TICK_S:
            self._shown = now
            print(text, file=self.stream, flush=True)

    def fresh(self) -> None:
        """A new step begins: its first passing line off a terminal comes after one interval."""
        self._shown = time.monotonic()

    def _clear(self) -> None:
        if self.moving:
            print("\r\033[K", end="", file=self.stream)


@dataclass
class Progress:
    """What the step under way is doing; the screen shows it. `quiet` while the step prints lines of its own."""

    note: str = ""
    quiet: bool = False

    def count(self, done: int, of: int) -> None:
        """So many of so many."""
        self.note = f"{done} of {of}"


Work = Callable[[Progress], Awaitable[dict[str, Any]]]


class Journal:
    """The steps played in one data directory, by name."""

    def __init__(self, path: Path, screen: Screen) -> None:
        self.path = path
        self.screen = screen
        self.tally: Tally | None = None
        self.steps: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
        self.starting_s: float | None = None
        self.sitting = datetime.now(UTC).isoformat(timespec="seconds")

    def result(self, name: str) -> dict[str, Any] | None:
        """What the step found, or None if it has not been played."""
        step = self.steps.get(name)
        return None if step is None else step["result"]

    async def play(
        self, name: str, title: str, work: Work, say: Callable[[dict[str, Any]], str], again: bool = False
    ) -> dict[str, Any]:
        """Do the step unless it is in the journal (or do it `again`), and return its result; `say` sums it up."""
        if name in self.steps and not again:
            held = self.steps[name]
            self.screen.line(f"  {title:{NAME_WIDTH}} {'earlier':>8}  {say(held['result'])}")
            return dict(held["result"])
        asked, failed = (self.tally.asked, self.tally.failed) if self.tally else (0, 0)
        result, seconds = await self.show(title, work, say)
        self.steps[name] = {
            "result": result,
            "seconds": round(seconds, 1),
            "asked": self.tally.asked - asked if self.tally else 0,
            "failed": self.tally.failed - failed if self.tally else 0,
            "sitting": self.sitting,
        }
        self._save()
        return dict(json.loads(json.dumps(result)))

    async def show(
        self, title: str, work: Callable[[Progress], Awaitable[T]], say: Callable[[T], str]
    ) -> tuple[T, float]:
        """Do some work that is not kept, shown and timed as a step is: its result, and its seconds."""
        begun = time.monotonic()
        progress = Progress()
        self.screen.fresh()
        ticker = asyncio.create_task(self._tick(title, progress, begun))
        try:
            result = await work(progress)
        finally:
            ticker.cancel()
        seconds = time.monotonic() - begun
        self.screen.line(f"  {title:{NAME_WIDTH}} {seconds:7.1f}s  {say(result)}")
        return result, seconds

    def count(self, prefix: str, key: str) -> int:
        """The sum of `asked` or `failed` over the steps whose names start with `prefix`."""
        return sum(step[key] for name, step in self.steps.items() if name.startswith(prefix))

    def total(self, key: str) -> int:
        """All `asked` or `failed`: of earlier sittings' steps, and of this sitting whether its steps ended or not."""
        before = sum(int(step[key]) for step in self.steps.values() if step["sitting"] != self.sitting)
        return before + (int(getattr(self.tally, key)) if self.tally else 0)

    def seconds(self, prefix: str) -> dict[str, float]:
        """Step -> seconds, of the steps whose names start with `prefix`, that prefix cut off."""
        steps = self.steps.items()
        return {name.removeprefix(prefix): step["seconds"] for name, step in steps if name.startswith(prefix)}

    def earlier(self) -> list[str]:
        """The steps that were played in an earlier sitting."""
        return [name for name, step in self.steps.items() if step["sitting"] != self.sitting]

    async def _tick(self, title: str, progress: Progress, begun: float) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if not progress.quiet:
                self.screen.passing(f"  {title:{NAME_WIDTH}} {time.monotonic() - begun:7.0f}s  {progress.note}")

    def _save(self) -> None:
        scratch = self.path.with_suffix(".new")
        scratch.write_text(json.dumps(self.steps, indent=1) + "\n")
        scratch.replace(self.path)
