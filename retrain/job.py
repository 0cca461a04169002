"""One attempt at one step of a run: its row, its folder, and what the steps ask of the base.

It knows nothing of what a step does (see retrain/training.py and retrain/judging.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.adapter import BaseModules, base_modules
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import Clock
from thumbwheel.errors import JobError, LostRace
from thumbwheel.home import Home
from thumbwheel.progress import note
from thumbwheel.records import Engine, Run
from thumbwheel.rollouts import finish_run
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store


class Moved(LostRace):
    """The run is no longer in this job's state: somebody else ended it, and nothing is left to do."""


class Ended(JobError):
    """Somebody killed the recipe: the run stays where it is, and the next attempt goes on."""


@dataclass(frozen=True)
class Job:
    """One attempt at one step of the run `id`; `state` is the run's while this step is at work."""

    id: str
    state: str
    settings: Settings
    home: Home
    store: Store
    artifacts: ArtifactStore
    clock: Clock

    @property
    def folder(self) -> Path:
        """The run's own 0700 folder."""
        return self.home.runs / self.id

    @property
    def who(self) -> str:
        """Who the audit trail says it was."""
        return {"training": "trainer", "evaluating": "evaluator"}[self.state]

    def run(self) -> Run:
        """The run's row. Raises Moved where it is past this step."""
        with self.store.read() as tx:
            run = release_rows.get_run(tx, self.id)
        if run.state != self.state:
            raise Moved
        return run

    def note(self, progress: Mapping[str, object]) -> None:
        """Put `progress` into the run's row. Raises Moved."""
        if not note(self.store, self.id, self.state, progress, self.clock):
            raise Moved

    def whereabouts(self, lent: Engine) -> Engine | None:
        """Where a lent engine is now: it may have been started again. None while it is not ready."""
        with self.store.read() as tx:
            found = [engine for engine in fleet_rows.all_engines(tx) if engine.id == lent.id]
        return next((engine for engine in found if engine.state == "ready"), None)

    def fail(self, reason: str) -> None:
        """End the run as failed, unless somebody else has ended it."""
        with self.store.write() as tx:
            run = release_rows.get_run(tx, self.id)
            if run.state == self.state:
                finish_run(tx, run, "failed", (reason,), None, self.clock(), self.who)


def base_of(settings: Settings) -> BaseModules:
    """The base's fingerprint and modules. Raises JobError, ArtifactError."""
    return base_modules(model_directory(settings))


def model_directory(settings: Settings) -> Path:
    """The base's checkpoint. Raises JobError where the weights are not here."""
    if settings.upstream is not None:
        raise JobError("An upstream server's weights are not here: nothing can be trained on them, or judged.")
    directory = Path(settings.model)
    if not (directory / "config.json").is_file():
        raise JobError("The setting `model` names no checkpoint; point it at a directory with one.")
    return directory.resolve()


def required(value: str | None, what: str) -> str:
    """`value`, or a JobError where an earlier step left none."""
    if value is None:
        raise JobError(f"The run has no {what}; its earlier steps did not finish.")
    return value


def path(setting: str | None) -> Path | None:
    """The file that a setting names, if it names one."""
    return None if setting is None else Path(setting)
