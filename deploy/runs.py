"""Moves runs: each state has its job, a job that dies is started again, one that dies too often fails its run.

What is remembered here between calls may be lost at any time: the next controller reads the store and goes on. A job
that died with its controller has spent no attempt. It knows nothing of what a job does but its exit status.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from sqlalchemy import Connection

from deploy.jobs import Ended
from deploy.processes import pause_s
from thumbwheel import rollouts
from thumbwheel.clock import lasts
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.pools import STEPS, holder
from thumbwheel.progress import AGAIN
from thumbwheel.records import RUN_BUSY, Channel, Run
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import Store
from thumbwheel.trigger import should_train

VERBS = {"curating": "curate", "training": "train", "evaluating": "evaluate"}
AGAIN_MS = 5_000  # after a job whose status was AGAIN
LOG_AWAY_MS = 10_000  # an event log that is away is asked again after so long
JOBS_AT_ONCE = 1  # a second would slow both, and the answers
LINGER_MS = 10_000  # a job whose run has ended may take so long to end itself
WHO = "controller"

log_lines = logging.getLogger("thumbwheel.controller")


class JobRunner(Protocol):
    """What the controller asks of `deploy.jobs.Jobs`."""

    def start(self, run: str, verb: str) -> bool:
        """See Jobs."""

    def running(self) -> Mapping[str, str]:
        """See Jobs."""

    def ended(self) -> list[Ended]:
        """See Jobs."""

    def stop(self, run: str | None = None) -> None:
        """See Jobs."""


@dataclass
class Runs:
    """What moving runs takes, and what is remembered of their jobs."""

    settings: Settings
    store: Store
    log: EventLog
    jobs: JobRunner
    deaths: dict[str, Ended] = field(default_factory=dict)  # noticed, and not yet written down
    moved_on: set[str] = field(default_factory=set)  # runs whose last job did its step
    pauses: dict[str, tuple[int, int]] = field(default_factory=dict)  # run -> since when, and for how many ms
    log_away_ms: int | None = None  # when the event log was last found to be away
    faults: dict[str, str] = field(default_factory=dict)  # subject of a tick -> what it last stumbled over


@contextmanager
def apart(faults: dict[str, str], subject: str) -> Iterator[None]:
    """Keep `subject` (a run, a rollout, a channel) from stopping the others of its tick; it is tried at the next one.

    Whoever moved a thing first has won it. A subject is to a tick what a record is to the consumer: what nobody foresaw
    is caught around it alone, and logged with its traceback when it begins, not twice a second as long as it lasts.
    A store that is away concerns all of them: StoreUnavailable is raised.
    """
    try:
        yield
    except StoreUnavailable:
        raise
    except LostRace:
        log_lines.info("%s was moved by another; looking again", subject)
    except Exception as error:  # one subject of a tick, as one record of the consumer
        if faults.get(subject) != repr(error):
            log_lines.exception("%s stumbles; the others go on, and it is tried again", subject)
        faults[subject] = repr(error)
    else:
        faults.pop(subject, None)


def move_runs(me: Runs, now_ms: int) -> None:
    """Start, restart and bury jobs as the runs' states ask for. Raises StoreUnavailable, with nothing lost."""
    me.deaths.update({ended.run: ended for ended in me.jobs.ended()})
    for ended in list(me.deaths.values()):
        with apart(me.faults, ended.run):
            _bury(me, ended, now_ms)
    with me.store.read() as tx:
        busy = release_rows.busy_runs(tx)
    for name in set(me.jobs.running()) - {run.id for run in busy}:
        with apart(me.faults, name):
            _end_lingering(me, name, now_ms)
    for run in busy:
        if run.id not in me.jobs.running() and run.id not in me.deaths and not _pauses(me, run.id, now_ms):
            with apart(me.faults, run.id):
                _step_run(me, run, now_ms)


def _pauses(me: Runs, run: str, now_ms: int) -> bool:
    return run in me.pauses and lasts(now_ms, *me.pauses[run])


def _end_lingering(me: Runs, name: str, now_ms: int) -> None:
    """A job whose run has ended is given a moment to end itself."""
    with me.store.read() as tx:
        run = release_rows.get_run(tx, name)
    if not lasts(now_ms, run.updated_ms, LINGER_MS):
        log_lines.warning("run %s is over and its job still runs; it is stopped", run.id)
        me.jobs.stop(run.id)


def _bury(me: Runs, ended: Ended, now_ms: int) -> None:
    """Take note of a job's end: its step is done, or it died and is tried again, or it died too often."""
    with me.store.write() as tx:
        run = release_rows.get_run(tx, ended.run)
        _give_back(tx, run.id)
        died = VERBS.get(run.state) == ended.verb
        if died and ended.status == AGAIN:
            me.pauses[run.id] = (now_ms, AGAIN_MS)
        elif died and run.attempts >= me.settings.job_attempts:
            reason = (
                f"{ended.verb} ended {run.attempts} times without finishing, the last time with status {ended.status}; "
                f"see {ended.verb}.log in the data directory's logs"
            )
            rollouts.finish_run(tx, run, "failed", (reason,), None, now_ms, WHO)
        elif died:
            release_rows.save_run(tx, replace(run, attempts=run.attempts + 1, updated_ms=now_ms))
            me.pauses[run.id] = (now_ms, int(1000 * pause_s(run.attempts, me.settings.restart_pause_s)))
            log_lines.warning("%s of run %s ended with status %d; starting it again", ended.verb, run.id, ended.status)
    if not died:
        me.moved_on.add(ended.run)
    del me.deaths[ended.run]


def _step_run(me: Runs, run: Run, now_ms: int) -> None:
    if run.state == "queued":
        with me.store.write() as tx:
            run = rollouts.advance_run(tx, run, "curating", now_ms, attempts=1)
    if run.state == "training" and (run.release is not None or me.settings.upstream is not None):
        _pass_training(me, run, now_ms)
        return
    if len(me.jobs.running()) >= JOBS_AT_ONCE:
        return
    if run.id in me.moved_on or run.attempts < 1:
        with me.store.write() as tx:
            _give_back(tx, run.id)
            run = release_rows.save_run(tx, replace(run, attempts=1, updated_ms=now_ms))
        me.moved_on.discard(run.id)
    try:
        started = me.jobs.start(run.id, VERBS[run.state])
    except OSError as error:  # a full disk, no more processes: rollouts must be watched all the same
        log_lines.error("%s of run %s cannot start: %s; trying again", VERBS[run.state], run.id, error)
        me.pauses[run.id] = (now_ms, AGAIN_MS)
        return
    if started:
        log_lines.info("%s of run %s starts (attempt %d)", VERBS[run.state], run.id, run.attempts)


def _pass_training(me: Runs, run: Run, now_ms: int) -> None:
    """A draft that is there already goes on to its evaluation; without the weights there is nothing to train."""
    with me.store.write() as tx:
        if run.release is not None:
            rollouts.advance_run(tx, run, "evaluating", now_ms, attempts=1)
            return
        reason = (
            f"nothing went wrong: dataset {run.dataset} is frozen, which is all that a run can do where an upstream "
            "answers; there is no training, since the weights are not here"
        )
        rollouts.finish_run(tx, run, "failed", (reason,), None, now_ms, WHO)


def _give_back(tx: Connection, run: str) -> None:
    """A killed job cannot give its engine back itself."""
    for engine in fleet_rows.all_engines(tx):
        for step in STEPS:
            fleet_rows.drop_lease(tx, f"engine:{engine.id}", holder(step, run))


def train_if_due(me: Runs, channel: Channel, now_ms: int) -> None:
    """Ask for a run where the channel's `train_after` is reached. Raises StoreUnavailable.

    Where the event log does not say how far the run must see, it waits: a tick has rollouts to watch.
    """
    if channel.policies.train_after is None:
        return
    if me.log_away_ms is not None and lasts(now_ms, me.log_away_ms, LOG_AWAY_MS):
        return
    with me.store.read() as tx:
        if not _due(tx, channel):
            return
    try:
        ends, me.log_away_ms = me.log.ends(), None
    except StoreUnavailable as error:
        me.log_away_ms = now_ms
        log_lines.warning("a run of %s is due and waits for the event log: %s", channel.name, error)
        return
    with me.store.write() as tx:
        if not _due(tx, channel):
            return
        run = rollouts.start_run(tx, channel.name, ends, None, now_ms, "trigger")
    log_lines.info("run %s of %s starts: train_after is reached", run.id, channel.name)


def _due(tx: Connection, channel: Channel) -> bool:
    busy = any(run.state in RUN_BUSY for run in release_rows.runs_of(tx, channel.name))
    return should_train(channel.policies, data_rows.train_due(tx, channel.name), busy)
