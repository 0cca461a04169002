"""`kill -9` of each process once, on real vLLM, the real base and the shipped recipe (shortened), in one loop.

Each is killed when it has something to lose: the gateway and the consumer while people are being heard, the engine's
core while it answers them, controller and train job within training, evaluate job, engine and `up` within evaluation.
What must hold: no acknowledged feedback is lost, the run comes to its end by itself, and the loop closes: its release
can be rolled out, is promoted, and answers. Seven minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.loop import GROUP, JUDGED, START_S, at_work, hear, judged, roll_out, running
from tests.integration.service import FAST_STAGES, Service

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2_400)]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path) as made:
        yield made


def test_the_loop_closes_though_each_process_is_killed_once(service: Service) -> None:
    service.channel("support", stages=FAST_STAGES, auto_rollout=False)
    hear(service, 0, lambda: service.kill("gateway"))
    hear(service, 1, lambda: service.kill("consumer"))
    hear(service, 2, lambda: kill_core(service))
    run = service.start_run("support")
    kill_in_training(service, run)
    kill_in_evaluation(service, run)
    found = judged(service, run)
    roll_out(service, found["release"])
    assert_nothing_is_lost(service)
    assert service.stop() == 0
    assert "stopped (-9)" not in (service.home / "logs" / "up.log").read_text()  # each heard the first word


def kill_core(service: Service) -> None:
    """The process in which the model runs, a child of the engine's first: the engine ends, and is started again."""
    first = service.processes()["engine"]
    core = max(first.children(recursive=True), key=lambda process: process.memory_info().rss)
    core.kill()
    core.wait(10)
    psutil.wait_procs([first], timeout=60)
    assert not first.is_running(), "the engine goes on without its core"


def kill_in_training(service: Service, run: str) -> None:
    def within() -> bool:
        return at_work(service.run(run), "training", "training", 1)

    service.wait_until(within, "training's first step", 300)
    service.kill("train")
    service.wait_until(lambda: service.run(run)["progress"].get("step") != "training", "the job to begin anew")
    service.wait_until(within, "training's steps again", 300)
    orphan = service.processes()["train"]
    service.kill("controller")
    psutil.wait_procs([orphan], timeout=20)
    assert not orphan.is_running(), "a job outlived its controller"
    assert service.run(run)["state"] == "training"


def kill_in_evaluation(service: Service, run: str) -> None:
    service.wait_until(lambda: at_work(service.run(run), "evaluating", "evaluating", 20), "answers being judged", 600)
    service.kill("evaluate")
    service.wait_until(lambda: "evaluate" in service.processes(), "the job again")
    service.kill("engine")  # without one the job can only wait, so the next blow still finds it at work
    service.kill("up")
    service.start()
    service.wait_ready(START_S)
    assert service.run(run)["state"] in ("evaluating", *JUDGED)


def assert_nothing_is_lost(service: Service) -> None:
    """Each feedback with a 202 is known; the ledger holds no more than these and those sent without an answer."""
    for feedback in service.acknowledged:
        shown = service.http.get(f"{service.endpoint('api')}/v1/feedback/{feedback}", headers=service.key("app"))
        assert shown.status_code == 200, (feedback, shown.text)
        assert shown.json()["state"] in ("used", "refused", "waiting")
    ledger = service.ledger("support")
    acknowledged = len(set(service.acknowledged))
    assert all(service.knows(feedback) for feedback in set(service.acknowledged))
    assert acknowledged >= 3 * GROUP
    assert acknowledged <= ledger["acknowledged"] <= acknowledged + service.unanswered
    assert ledger["acknowledged"] == ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    assert ledger["used"] >= 3 * GROUP
