"""The controller: moves runs and rollouts, one small step a tick, each a compare-and-set.

    thumbwheel controller [--home DIR]

A tick takes the leader's lease, does what emergency stops asked for, starts and restarts the jobs of runs, smoke
tests and judges rollouts, starts candidates that waited for their channel, asks for runs that are due, and once an hour
keeps house (deploy/keeping.py). All that it
knows between ticks can be lost: another controller reads the store and goes on. Whoever moved a thing first has won it,
and LostRace only means to look again. Decisions are in `analysis`, `smoke` and `thumbwheel.trigger`.

It knows nothing of traffic but what the store has of it, and serves nobody: while it is away, everything else goes on.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from deploy.analysis import Analysis, analyse, overdue
from deploy.announce import announce
from deploy.jobs import Jobs
from deploy.keeping import keep_house
from deploy.runs import LOG_AWAY_MS, WHO, Runs, apart, move_runs, train_if_due
from deploy.smoke import Smoke, smoke
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, lasts, system_clock
from thumbwheel.emergency import EVERY_CHANNEL, clear_emergency, read_emergency
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import Home, prepare
from thumbwheel.records import ROLLOUT_ACTIVE, Channel, Release, Rollout
from thumbwheel.settings import Settings
from thumbwheel.stopping import stop_on_signals
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import Store, generation, open_store

LOG_MS = 2_000  # the longest that a tick waits for the event log
LEADER = "leader:controller"
LEASE_MS, RENEW_MS = 5_000, 1_500
RETAIN_EVERY_MS = 3_600_000
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
    retain: Callable[[], Sequence[int]]  # archives what is over, and says which days
    leading: bool = False
    renewed_ms: int = 0
    rests: dict[str, tuple[int, int]] = field(default_factory=dict)  # rollout -> when it was judged, and ms to rest
    tests: dict[str, Future[Smoke]] = field(default_factory=dict)
    tester: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "smoke"))
    retained_ms: int | None = None
    retaining: Future[Sequence[int]] | None = None
    keeper: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "retention"))


def tick(me: Controller, now_ms: int) -> bool:
    """Do what is to be done at `now_ms`; False where another leads. Raises StoreUnavailable, with nothing lost."""
    if not _lead(me, now_ms):
        return False
    with apart(me.runs.faults, "emergency.json"):
        _obey_emergencies(me, now_ms)
    move_runs(me.runs, now_ms)
    with me.store.read() as tx:
        moving = release_rows.rollouts_in(tx, ROLLOUT_ACTIVE)
        channels = release_rows.all_channels(tx)
    for rollout in moving:
        with apart(me.runs.faults, rollout.id):
            _move_rollout(me, rollout, now_ms)
    for channel in channels:
        with apart(me.runs.faults, f"channel {channel.name}"):
            _start_waiting(me, channel, now_ms)
        with apart(me.runs.faults, f"the trigger of channel {channel.name}"):
            train_if_due(me.runs, channel, now_ms)
    with apart(me.runs.faults, "the topic of releases"):
        _announce(me, now_ms)
    with apart(me.runs.faults, "retention"):
        _retain(me, now_ms)
    return True


def _lead(me: Controller, now_ms: int) -> bool:
    if me.leading and lasts(now_ms, me.renewed_ms, RENEW_MS):
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
    """Do in the store what each stop by file asked for; it leaves the file when every gateway has read of that."""
    for name, entry in read_emergency(me.home).items():
        with apart(me.runs.faults, f"the emergency stop of {name}"):
            with me.store.write() as tx:
                known = release_rows.all_channels(tx)
                for channel in known if name == EVERY_CHANNEL else [found for found in known if found.name == name]:
                    _obey(tx, channel, entry, now_ms)
                late = fleet_rows.laggards(tx, generation(tx), now_ms)
            if not late:
                clear_emergency(me.home, name, entry)


def _obey(tx: Connection, channel: Channel, entry: Mapping[str, object], now_ms: int) -> None:
    """Pause or end the rollout that the entry means: of a channel's later ones it knows nothing.

    One that was promoted before the entry could be read is rolled back: the release before it served until then. An
    entry that names no rollout (a damaged file) ends the one in progress.
    """
    rollout, meant = release_rows.rollout_of(tx, channel), entry.get("rollout")
    if rollout is None or meant not in (None, rollout.id):
        return
    who = str(entry.get("who", "unknown"))
    if entry.get("action") == "pause":
        if rollout.state not in ("running", "held"):
            return
        rollouts.pause(tx, rollout, now_ms, who)
    elif rollout.state in ROLLOUT_ACTIVE:
        rollouts.abort(tx, rollout, now_ms, who, reason="emergency stop by a person")
    elif rollout.state == "promoted" and meant is not None:
        rollouts.roll_back(tx, channel, now_ms, who)
    else:
        return
    fleet_rows.record(tx, now_ms, who, "emergency_stop", channel.name, None, dict(entry))
    log_lines.warning("emergency stop of %s by %s: rollout %s was %s", channel.name, who, rollout.id, rollout.state)


# rollouts


def _move_rollout(me: Controller, rollout: Rollout, now_ms: int) -> None:
    if rollout.stage_started_ms is None:
        if rollout.state == "running":
            _smoke(me, rollout, now_ms)
    elif rollout.id not in me.rests or not lasts(now_ms, *me.rests[rollout.id]):
        began_s = time.monotonic()
        judge(me.store, rollout, now_ms)
        me.rests[rollout.id] = (now_ms, int(1000 * (time.monotonic() - began_s) * REST_FACTOR))


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
    with me.store.read() as tx:
        newest, overtaken = rollouts.startable(tx, release_rows.get_channel(tx, channel.name))
    if newest is None and not overtaken:
        return
    with me.store.write() as tx:
        newest, overtaken = rollouts.startable(tx, release_rows.get_channel(tx, channel.name))
        if newest is not None:
            rollouts.start_rollout(tx, newest, None, now_ms, WHO)
            log_lines.info("candidate %s of %s starts", newest.id, channel.name)
        for release in overtaken:
            rollouts.overtake(tx, release, now_ms, WHO)


# what others are told


def _announce(me: Controller, now_ms: int) -> None:
    """Not while the event log is away: what is told late is told all the same, and rollouts are to be watched."""
    if me.runs.log_away_ms is not None and lasts(now_ms, me.runs.log_away_ms, LOG_AWAY_MS):
        return
    try:
        announce(me.store, me.runs.log, now_ms)
        me.runs.log_away_ms = None
    except StoreUnavailable as error:
        me.runs.log_away_ms = now_ms
        log_lines.warning("releases are announced later: %s", error)


# retention


def _retain(me: Controller, now_ms: int) -> None:
    """Once an hour, beside the ticks: a day's inferences may take longer to write than the leader's lease lasts."""
    if me.retaining is not None and me.retaining.done():
        ended, me.retaining = me.retaining, None
        days = ended.result()
        if days:
            log_lines.info("%d days of inferences are archived", len(days))
    if me.retaining is None and (me.retained_ms is None or not lasts(now_ms, me.retained_ms, RETAIN_EVERY_MS)):
        me.retained_ms = now_ms
        me.retaining = me.keeper.submit(me.retain)


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
        retain=lambda: keep_house(settings, home, store, log, artifacts),
    )


def run(argv: list[str]) -> int:
    """The verb `controller`."""
    settings = settings_from(parser("controller").parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = prepare(settings.home)
    done = stop_on_signals()
    store, log = open_store(settings, home), open_log(settings, home, busy_ms=LOG_MS)
    me = make_controller(settings, home, store, log)
    try:
        control(me, system_clock, done)
    finally:
        me.runs.jobs.stop()
        for pool in (me.tester, me.keeper):
            pool.shutdown(wait=False, cancel_futures=True)
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
        except Exception:  # the outermost loop
            log_lines.exception("a tick failed; trying again")
        done.wait(me.settings.controller_poll_ms / 1000)


def _resign(me: Controller) -> None:
    """Let the next controller lead at once."""
    try:
        with me.store.write() as tx:
            fleet_rows.drop_lease(tx, LEADER, me.holder)
    except StoreUnavailable:
        log_lines.warning("the store is away; the lease ends by itself in %d s", LEASE_MS // 1000)
