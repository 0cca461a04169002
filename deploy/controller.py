"""The controller: moves runs and rollouts, one small step a tick, each a compare-and-set.

    thumbwheel controller [--home DIR]

A tick takes the leader's lease, turns emergency stops into audited aborts, starts and restarts the jobs of runs, smoke
tests and judges rollouts, starts candidates that waited for their channel, and asks for runs that are due. All that it
knows between ticks can be lost: another controller reads the store and goes on. Whoever moved a thing first has won it,
and LostRace only means to look again. Decisions are in `analysis`, `smoke` and `thumbwheel.trigger`.

It knows nothing of traffic but what the store has of it, and serves nobody: while it is away, everything else goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection

from deploy.analysis import Analysis, analyse, overdue
from deploy.jobs import Jobs
from deploy.runs import WHO, Runs, lost_is_normal, move_runs, train_if_due
from deploy.smoke import Smoke, smoke
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, system_clock
from thumbwheel.errors import LostRace, NotFound, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import EVERY_CHANNEL, Home, clear_emergency, prepare, read_emergency
from thumbwheel.records import ROLLOUT_ACTIVE, Channel, Release, Rollout
from thumbwheel.settings import Settings
from thumbwheel.stopping import stop_on_signals
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import Store, generation, open_store

LEADER = "leader:controller"
LEASE_MS, RENEW_MS = 5_000, 1_500
REST_FACTOR = 10.0  # much traffic takes long to read: an analysis is followed by so many times its own length of rest

log_lines = logging.getLogger("thumbwheel.controller")


@dataclass
class Controller:
    """A controller's parts, and what it remembers from tick to tick; none of the latter is needed after a restart."""

    settings: Settings
    home: Home
    store: Store
    runs: Runs
    holder: str
    smoke_test: Callable[[Release], Smoke]
    leading: bool = False
    renewed_ms: int = 0
    rest_ms: dict[str, int] = field(default_factory=dict)  # rollout -> when its measurements are read again
    tests: dict[str, Future[Smoke]] = field(default_factory=dict)
    tester: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "smoke"))


def tick(me: Controller, now_ms: int) -> bool:
    """Do what is to be done at `now_ms`; False where another leads. Raises StoreUnavailable, with nothing lost."""
    if not _lead(me, now_ms):
        return False
    _obey_emergencies(me, now_ms)
    move_runs(me.runs, now_ms)
    with me.store.read() as tx:
        moving = release_rows.rollouts_in(tx, ROLLOUT_ACTIVE)
        channels = release_rows.all_channels(tx)
    for rollout in moving:
        with lost_is_normal(rollout.id):
            _move_rollout(me, rollout, now_ms)
    for channel in channels:
        with lost_is_normal(channel.name):
            _start_waiting(me, channel, now_ms)
            train_if_due(me.runs, channel, now_ms)
    return True


def _lead(me: Controller, now_ms: int) -> bool:
    if me.leading and 0 <= now_ms - me.renewed_ms < RENEW_MS:
        return True  # every write keeps the gateways from theirs for a moment
    try:
        with me.store.write() as tx:
            fleet_rows.take_lease(tx, LEADER, me.holder, now_ms, LEASE_MS)
    except LostRace:
        if me.leading:
            log_lines.warning("another controller leads now; stopping this one's jobs")
            me.runs.jobs.stop()
            me.runs.deaths.clear()
            me.leading = False
        return False
    me.renewed_ms = now_ms
    if not me.leading:
        log_lines.info("leading as %s", me.holder)
        me.leading = True
    return True


# emergency stops


def _obey_emergencies(me: Controller, now_ms: int) -> None:
    """Make each stop by file an audited abort; it leaves the file when every gateway has read the store's word."""
    for name, entry in read_emergency(me.home).items():
        with me.store.write() as tx:
            known = release_rows.all_channels(tx)
            for channel in known if name == EVERY_CHANNEL else [found for found in known if found.name == name]:
                _abort_by_hand(tx, channel, entry, now_ms)
            late = fleet_rows.laggards(tx, generation(tx), now_ms)
        if not late:
            clear_emergency(me.home, name)


def _abort_by_hand(tx: Connection, channel: Channel, entry: Mapping[str, object], now_ms: int) -> None:
    rollout = _rollout_of(tx, channel)
    if rollout is not None and rollout.state in ROLLOUT_ACTIVE:
        who = str(entry.get("who", "unknown"))
        fleet_rows.record(tx, now_ms, who, "emergency_stop", channel.name, None, dict(entry))
        rollouts.abort(tx, rollout, now_ms, who, reason="emergency stop by a person")
        log_lines.warning("emergency stop of %s by %s: rollout %s aborted", channel.name, who, rollout.id)


def _rollout_of(tx: Connection, channel: Channel) -> Rollout | None:
    return None if channel.rollout is None else release_rows.get_rollout(tx, channel.rollout)


# rollouts


def _move_rollout(me: Controller, rollout: Rollout, now_ms: int) -> None:
    if rollout.stage_started_ms is None:
        if rollout.state == "running":
            _smoke(me, rollout, now_ms)
    elif me.rest_ms.get(rollout.id, 0) <= now_ms:
        began_s = time.monotonic()
        judge(me.store, rollout, now_ms)
        me.rest_ms[rollout.id] = now_ms + int(1000 * (time.monotonic() - began_s) * REST_FACTOR)


def _smoke(me: Controller, rollout: Rollout, now_ms: int) -> None:
    """The smoke test runs beside the ticks: reading an adapter may take longer than the leader's lease."""
    if rollout.id not in me.tests:
        with me.store.read() as tx:
            release = release_rows.get_release(tx, rollout.release)
        me.tests[rollout.id] = me.tester.submit(me.smoke_test, release)
    if not me.tests[rollout.id].done():
        return
    tested = me.tests.pop(rollout.id).result()
    told: dict[str, object] = {"reasons": list(tested.reasons), "seen": {"smoke": tested.seen}}
    if tested.result == "waiting":
        if told["reasons"] != rollout.analysis.get("reasons"):
            with me.store.write() as tx:
                rollouts.note_analysis(tx, rollout, {"result": "inconclusive", **told})
        return
    log_lines.info("smoke test of rollout %s: %s (%s)", rollout.id, tested.result, "; ".join(tested.reasons))
    with me.store.write() as tx:
        if tested.result == "failed":
            rollouts.fail_rollout(tx, rollout, {"result": "failed", **told}, now_ms)
        else:
            rollouts.enter_stage(tx, rollout, 0, {"result": "inconclusive", **told}, now_ms)


def judge(store: Store, rollout: Rollout, now_ms: int) -> Analysis:
    """Analyse a rollout with traffic and move it accordingly. Raises LostRace, StoreUnavailable.

    A paused or held one still answers its share, so it is still failed; nothing else moves it.
    """
    with store.read() as tx:
        found = analyse(rollout, data_rows.rollout_outcomes(tx, rollout.id), now_ms)
    told = _told(rollout, found)
    last = rollout.stage == len(rollout.stages) - 1
    still = rollout.state != "running" and found.result != "failed"
    if still or (found.result == "inconclusive" and not overdue(rollout, now_ms) and _same(rollout, told)):
        return found
    with store.write() as tx:
        if found.result == "failed":
            rollouts.fail_rollout(tx, rollout, told, now_ms)
        elif found.result == "successful" and last:
            rollouts.promote(tx, rollout, told, now_ms, WHO)
        elif found.result == "successful":
            rollouts.enter_stage(tx, rollout, rollout.stage + 1, told, now_ms)
        elif overdue(rollout, now_ms):
            rollouts.hold(tx, rollout, told, now_ms)
        else:
            rollouts.note_analysis(tx, rollout, told)
    if found.result != "inconclusive":
        log_lines.info(
            "rollout %s at %g%%: %s (%s)", rollout.id, rollout.weight, found.result, "; ".join(found.reasons)
        )
    return found


def _told(rollout: Rollout, found: Analysis) -> dict[str, object]:
    """What is kept with the rollout: this analysis, and what each earlier stage had seen when it was left."""
    earlier = rollout.analysis.get("stages")
    stages = list(earlier) if isinstance(earlier, list) else []
    if found.result in ("successful", "failed"):
        stages.append({"stage": rollout.stage, **found.seen, "guards": found.seen.get("guards", [])})
    told: dict[str, object] = {"result": found.result, "reasons": list(found.reasons), "seen": dict(found.seen)}
    return {**told, "stages": stages} if stages else told


def _same(rollout: Rollout, told: Mapping[str, object]) -> bool:
    return all(rollout.analysis.get(key) == told[key] for key in ("result", "reasons"))


# candidates and runs that are due


def _start_waiting(me: Controller, channel: Channel, now_ms: int) -> None:
    """The newest candidate that waited for the channel goes out; older ones have been overtaken."""
    if not channel.policies.auto_rollout:
        return
    with me.store.read() as tx:
        if not any(_waiting(tx, release_rows.get_channel(tx, channel.name))):
            return
    with me.store.write() as tx:
        newest, overtaken = _waiting(tx, release_rows.get_channel(tx, channel.name))
        if newest is not None:
            rollouts.start_rollout(tx, newest, None, now_ms, WHO)
            log_lines.info("candidate %s of %s starts", newest.id, channel.name)
        for release in overtaken:
            reason = "a newer candidate took its place"
            release_rows.save_release(tx, replace(release, state="retired", reason=reason))
            fleet_rows.record(tx, now_ms, WHO, "overtaken", release.id, {"state": "candidate"}, {"state": "retired"})


def _waiting(tx: Connection, channel: Channel) -> tuple[Release | None, list[Release]]:
    """The candidate that may start now, and those that a newer one has overtaken."""
    current = _rollout_of(tx, channel)
    if channel.policies.log == "off" or (current is not None and current.state in rollouts.MOVING):
        return None, []
    busy = current.release if current is not None and current.state == "held" else None
    candidates = [
        release
        for release in release_rows.releases_of(tx, channel.name)
        if release.state == "candidate" and release.id != busy
    ]
    if not candidates:
        return None, []
    if current is not None and current.release > candidates[-1].id:  # ids sort by time
        return None, candidates
    return candidates[-1], candidates[:-1]


# the process


def make_controller(settings: Settings, home: Home, store: Store, log: EventLog) -> Controller:
    """A controller with its real parts."""
    artifacts = ArtifactStore(home.artifacts)
    model = Path(settings.model)

    def test(release: Release) -> Smoke:
        with store.read() as tx:
            engines = [e for e in fleet_rows.all_engines(tx) if e.pool == release.pool]
        ready = [engine for engine in engines if engine.state == "ready"]
        model_dir = model if settings.upstream is None and model.is_dir() else None
        return smoke(ready, release, artifacts, model_dir, settings.max_lora_rank, settings.upstream_key)

    return Controller(
        settings=settings,
        home=home,
        store=store,
        runs=Runs(settings, store, log, Jobs(home, os.environ)),
        holder=f"controller-{os.getpid()}-{os.urandom(4).hex()}",
        smoke_test=test,
    )


def run(argv: list[str]) -> int:
    """The verb `controller`."""
    settings = settings_from(parser("controller", "move runs and rollouts").parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = prepare(settings.home)
    done = stop_on_signals()
    store, log = open_store(home.store), SqliteEventLog(home.events)
    me = make_controller(settings, home, store, log)
    try:
        control(me, system_clock, done)
    finally:
        me.runs.jobs.stop()
        me.tester.shutdown(wait=False, cancel_futures=True)
        _resign(me)
        log.close()
        store.close()
    return 0


def control(me: Controller, clock: Clock, done: threading.Event) -> None:
    """Tick until `done` is set; what goes wrong in a tick is logged and tried again."""
    while not done.is_set():
        try:
            tick(me, clock())
        except StoreUnavailable as error:
            log_lines.warning("waiting for the store: %s", error)
        except NotFound as error:
            log_lines.error("a row names another that is not there: %s", error)
        except Exception:  # the outermost loop: a fault of one thing must not stop the others
            log_lines.exception("a tick failed; trying again")
        done.wait(me.settings.controller_poll_ms / 1000)


def _resign(me: Controller) -> None:
    """Let the next controller lead at once."""
    try:
        with me.store.write() as tx:
            fleet_rows.drop_lease(tx, LEADER, me.holder)
    except StoreUnavailable:
        log_lines.warning("the store is away; the lease ends by itself in %d s", LEASE_MS // 1000)
