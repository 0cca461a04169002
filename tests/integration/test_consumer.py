"""The consumer and the curate job as real processes, killed while they work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.clock import system_clock
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, FeedbackEvent, InferenceEvent, encode
from thumbwheel.home import Home, prepare
from thumbwheel.records import Policies, Run
from thumbwheel.store import data_rows, dataset_rows, dead_letter_rows, release_rows
from thumbwheel.store.connection import Store

PATIENCE_S = 60.0


class Place:
    """A data directory with a channel, its log, and its store."""

    def __init__(self, root: Path) -> None:
        self.home: Home = prepare(root)
        self.store: Store = store_in(self.home.root)
        self.log = SqliteEventLog(self.home.events)
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")

    def close(self) -> None:
        self.log.close()
        self.store.close()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "thumbwheel", *words, "--home", str(self.home.root)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def say(self, numbers: range) -> None:
        """Feedback first, its inferences after; every tenth feedback twice, every 25th record junk."""
        for n in numbers:
            event = FeedbackEvent(
                f"fb-{n}", f"inf-{n}", "shop", "support", system_clock() + n, correction=f"Free return {n}."
            )
            records = [("k", encode(event))] * (2 if n % 10 == 0 else 1)
            self.log.append(FEEDBACK, records + [("k", b"junk")] * (n % 25 == 0), durable=True)
        served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok", "answer": "Oh."}
        inferences = [
            InferenceEvent(
                f"inf-{n}",
                "shop",
                "support",
                f"u{n}",
                5_000,
                messages=[{"role": "user", "content": f"complaint {n}"}],
                **served,  # type: ignore[arg-type]
            )
            for n in numbers
        ]
        self.log.append(INFERENCE, [("k", encode(event)) for event in inferences], durable=False)

    def caught_up(self) -> bool:
        with self.store.read() as tx:
            return data_rows.caught_up(tx, self.log.ends())

    def ledger(self) -> dict[str, Any]:
        with self.store.read() as tx:
            return data_rows.ledger(tx, "support")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


@contextmanager
def running(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    process = place.start("consumer")
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_killed_again_and_again_it_loses_nothing_and_counts_nothing_twice(place: Place) -> None:
    chance = random.Random(7)
    for start in range(0, 500, 100):
        place.say(range(start, start + 100))
        with running(place) as process:
            before = place.ledger()["acknowledged"]
            until(lambda before=before: place.ledger()["acknowledged"] != before or place.caught_up())  # type: ignore[misc]
            time.sleep(chance.random() * 0.05)
            process.send_signal(signal.SIGKILL)
    place.say(range(500, 600))
    with running(place):
        until(place.caught_up)
    assert place.ledger() == {"acknowledged": 600, "used": 0, "refused": {}, "waiting": {"no_run_yet": 600}}
    with place.store.read() as tx:
        assert dead_letter_rows.count(tx) == 24


def test_it_ends_cleanly_when_told_to(place: Place) -> None:
    place.say(range(3))
    with running(place) as process:
        until(place.caught_up)
        process.terminate()
        assert process.wait(PATIENCE_S) == 0


def test_a_hung_consumer_that_wakes_up_writes_nothing_and_stops(place: Place) -> None:
    place.say(range(3))
    with running(place) as zombie:
        until(place.caught_up)
        os.kill(zombie.pid, signal.SIGSTOP)
        with running(place):
            place.say(range(3, 6))
            until(place.caught_up)
            os.kill(zombie.pid, signal.SIGCONT)
            assert zombie.wait(PATIENCE_S) == 1
            assert place.ledger() == {"acknowledged": 6, "used": 0, "refused": {}, "waiting": {"no_run_yet": 6}}


def test_the_curate_job_killed_half_way_ends_the_run_once(place: Place) -> None:
    place.say(range(60))
    with running(place):
        until(place.caught_up)
    run = Run("run-1", "support", "curating", {"feedback": {"0": 1}}, None, None, None, (), {}, "test", 1, 0, 0, 1)
    with place.store.write() as tx:
        release_rows.insert_run(tx, run)
    chance = random.Random(3)
    for _ in range(4):
        job = place.start("curate", "run-1")
        time.sleep(0.3 + chance.random())
        job.kill()
        job.communicate()
        assert place.ledger()["used"] in (0, 60)
    job = place.start("curate", "run-1")
    out, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 0, out
    assert out.endswith(b"run run-1: training\n"), out
    with place.store.read() as tx:
        held = release_rows.get_run(tx, "run-1")
        assert held.dataset is not None
        learnt = sorted(row["feedback"] for row in dataset_rows.examples_where(tx, dataset=held.dataset))
    assert learnt == sorted(f"fb-{n}" for n in range(60))
    assert held.state == "training"
    assert place.ledger()["used"] == 60


def test_a_run_that_does_not_exist_is_said_so(place: Place) -> None:
    job = place.start("curate", "run-9")
    out, _ = job.communicate(timeout=PATIENCE_S)
    assert job.returncode == 1
    assert b"There is no run" in out and b"Traceback" not in out
