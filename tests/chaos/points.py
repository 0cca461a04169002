"""The blows: at named points, and at random ones. Each waits until its point is seen, strikes, and lets all go on.

What is seen is kept beside the blow, so that a point which was never reached is no evidence.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial

import psutil

from tests.chaos.load import CHANNEL
from tests.chaos.scene import Scene

ASKED_S = 2.5  # a feedback that has waited for so long has reached the broker, or whoever waits for it
ENOUGH = 160  # acknowledged feedback, of which a dataset can be made
SPOOLED = 5  # inferences
ROWS = "select * from offsets for update"  # the last that a transaction of the consumer writes
DATASETS = "lock table datasets in share mode"  # what is written once the artifact is published
ADVANCE, INSERT_DATASET = "update offsets", "insert into datasets"
Blow = Callable[[Scene], str]


def at_acknowledge(scene: Scene, strike: Callable[[], None]) -> str:
    """The broker has the record, or is about to, and nobody was told."""
    with scene.frozen_broker():
        waited_s = scene.until(
            lambda: waited if (waited := scene.load.longest_wait_s()) > ASKED_S else 0, "feedback to be under way"
        )
        strike()
    return f"a feedback had waited for its acknowledgement for {waited_s:.1f} s"


def at_commit(scene: Scene, strike: Callable[[], None]) -> str:
    """All rows of a batch are written, and its offset waits to move."""
    before = scene.epochs()
    with scene.held(ROWS):
        scene.until(lambda: scene.waits_at(ADVANCE), "the consumer to come to its commit")
        strike()
    return f"the offset's update waited, epochs {sorted(set(before.values()))}"


def after_commit(scene: Scene) -> str:
    """The offset has moved, and its consumer hardly knows it."""
    before = scene.read()
    scene.until(lambda: scene.read() != before, "the consumer to commit")
    scene.kill("consumer")
    return f"read {scene.read()} records, {before} before"


def at_spool_write(scene: Scene) -> str:
    """Inferences are on their way to the disk; the next worker finds what reached it."""
    with scene.frozen_broker():
        scene.until(scene.spools, "the spool to grow")
        held = sum(map(len, scene.spools().values()))
        scene.until(lambda: sum(map(len, scene.spools().values())) > held, "the spool to grow further")
        scene.kill("gateway")
    return f"a spool of {held} bytes grew"


def spool_drained_twice(scene: Scene) -> str:
    """What was spooled is drained, and lies there again, as after a restored backup."""
    with scene.frozen_broker():
        scene.until(lambda: _lines(scene) >= SPOOLED, "the spool to grow")
        copies = list(scene.spools().values())
    lines = sum(copy.count(b"\n") for copy in copies)
    scene.goes_on()
    scene.until(lambda: not scene.spools(), "the spool to be drained")
    for copy in copies:
        path = scene.service.home / f"1-{time.time_ns()}.jsonl"
        path.write_bytes(copy)
        path.chmod(0o600)
        path.rename(scene.service.home / "spool" / path.name)
    scene.kill("gateway")  # the next one adopts what lies there
    scene.until(lambda: not scene.spools(), "the spool to be drained again")
    return f"{lines} lines, drained twice"


def _lines(scene: Scene) -> int:
    return sum(lines.count(b"\n") for lines in scene.spools().values())


def at_freeze(scene: Scene, strike: Callable[[], None]) -> str:
    """The dataset's artifact is published, and no row names it."""
    scene.until(lambda: scene.load.journal.acknowledged >= ENOUGH, "enough corrections for a dataset")
    run = scene.service.start_run(CHANNEL)
    with scene.held(DATASETS):
        scene.until(lambda: scene.waits_at(INSERT_DATASET), "the dataset's rows")
        strike()
    return f"run {run} had published its dataset"


def zombie(scene: Scene) -> str:
    """The consumer hangs, another takes its partitions under its name, an hour ahead; then the first one goes on."""
    (first,) = scene.until(lambda: scene.living("consumer"), "a consumer")
    scene.until(lambda: _stopped_between(scene, first), "a moment between two transactions")
    return _displaced(scene, first)


def _stopped_between(scene: Scene, process: psutil.Process) -> bool:
    """Stop it where it holds nothing; whether it was such a moment."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.1)  # what it had sent before is answered
    if scene.idles_in_transaction():
        process.send_signal(signal.SIGCONT)
        return False
    return True


def zombie_at_commit(scene: Scene) -> str:
    """It hangs with all rows of a batch written and held, so that its heir has to wait for PostgreSQL's patience."""
    (first,) = scene.until(lambda: scene.living("consumer"), "a consumer")
    at_commit(scene, lambda: first.send_signal(signal.SIGSTOP))
    return f"stopped at its commit; {_displaced(scene, first)}"


def _displaced(scene: Scene, first: psutil.Process) -> str:
    try:
        before = scene.epochs()
        with scene.heir() as heir:
            scene.until(
                lambda: all(epoch > before[at] for at, epoch in scene.epochs().items()), "every partition to be taken"
            )
            read = scene.read()
            scene.until(lambda: scene.read() > read, "the heir to write")
            first.send_signal(signal.SIGCONT)
            # It is told that it was displaced, and ends; or it joins again first, and its heir is the zombie then.
            scene.until(lambda: not first.is_running() or heir.poll() is not None, "one of the two to end")
            told = "the heir" if first.is_running() else "the one that came back"
    finally:
        if first.is_running():
            first.send_signal(signal.SIGCONT)
    return f"{len(before)} partitions were taken; {told} ended"


def killed(verb: str) -> Blow:
    """At any moment."""

    def strike(scene: Scene) -> str:
        time.sleep(scene.dice.uniform(0.1, 1.5))
        scene.kill(verb)
        return "at a random moment"

    return strike


def server_killed(which: str) -> Blow:
    """The broker or PostgreSQL, at any moment."""

    def strike(scene: Scene) -> str:
        time.sleep(scene.dice.uniform(0.1, 1.5))
        (scene.kill_broker if which == "broker" else scene.kill_postgres)()
        return "at a random moment"

    return strike


def _at(point: Callable[[Scene, Callable[[], None]], str], victim: str) -> Blow:
    """`victim` is killed there: a verb, `broker` or `postgres`."""
    servers: Mapping[str, Callable[[Scene], None]] = {"broker": Scene.kill_broker, "postgres": Scene.kill_postgres}

    def strike(scene: Scene) -> str:
        blow = servers.get(victim)
        return point(scene, partial(blow, scene) if blow else partial(scene.kill, victim))

    return strike


NAMED: Mapping[str, Blow] = {
    "freeze: curate job": _at(at_freeze, "curate"),
    "acknowledge: gateway": _at(at_acknowledge, "gateway"),
    "acknowledge: relay": _at(at_acknowledge, "relay"),
    "acknowledge: broker": _at(at_acknowledge, "broker"),
    "commit: consumer": _at(at_commit, "consumer"),
    "commit: PostgreSQL": _at(at_commit, "postgres"),
    "after the commit: consumer": after_commit,
    "spool write: gateway": at_spool_write,
    "a spool drained twice": spool_drained_twice,
    "a zombie that comes back": zombie,
    "a zombie from within its commit": zombie_at_commit,
}
RANDOM: Mapping[str, Blow] = {
    **{f"random: {verb}": killed(verb) for verb in ("gateway", "relay", "consumer", "controller")},
    "random: broker": server_killed("broker"),
    "random: PostgreSQL": server_killed("postgres"),
}
SHORT = (
    "acknowledge: gateway",
    "commit: consumer",
    "spool write: gateway",
    "a spool drained twice",
    "a zombie that comes back",
    "commit: PostgreSQL",
    "random: broker",
    "freeze: curate job",
)
