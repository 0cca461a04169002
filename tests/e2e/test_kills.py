"""`kill -9` of each process once, on real vLLM, the real base and the shipped recipe (shortened), in one loop.

Each is killed when it has something to lose: the gateway and the consumer while people are being heard, the engine's
core while it answers them, controller and train job within training, evaluate job, engine and `up` within evaluation.
What must hold: no acknowledged feedback is lost, the run comes to its end by itself, and the loop closes: its release
can be rolled out, is promoted, and answers. Whether it is any good after one epoch is not asked. Seven minutes.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.integration.service import FAST_STAGES, GATE, ROOT, Service, started

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2_400)]

BASE = Path(os.environ.get("THUMBWHEEL_TEST_BASE", ROOT / ".base" / "smollm2-135m-instruct"))
START_S = 300.0
PEOPLE = 36  # in each of three groups
RECIPE = {"epochs": 2, "replay_rows": 8, "replay_validation_rows": 4, "contrast_rows": 8}
REPLAY_PROMPTS, GENERAL_PROMPTS = 24, 60
JUDGED = ("candidate", "rejected", "insufficient_evidence")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "home", None, environment(tmp_path), tmp_path / "up.out")
    service.limits, service.patience_s = {"max_tokens": 24}, START_S
    with started(service):
        service.wait_ready(START_S)
        yield service


def environment(folder: Path) -> dict[str, str]:
    """The shipped settings, with little to train on and little to judge by."""
    prompts = ROOT / "retrain" / "prompts"
    cut(prompts / "replay.jsonl", REPLAY_PROMPTS, folder / "replay.jsonl")
    cut(prompts / "general.jsonl", GENERAL_PROMPTS, folder / "general.jsonl")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "replay_prompts": str(folder / "replay.jsonl")}))
    (folder / "gate.yaml").write_text(json.dumps({**GATE, "measure": {**GATE["measure"], "outage_s": START_S}}))
    chosen = {
        "MODEL": BASE,
        "RECIPE_CONFIG": folder / "recipe.yaml",
        "GATE_CONFIG": folder / "gate.yaml",
        "GENERAL_PROMPTS": folder / "general.jsonl",
    }
    plain = {key: value for key, value in os.environ.items() if not key.startswith("THUMBWHEEL_")}
    return {**plain, **{f"THUMBWHEEL_{key}": str(value) for key, value in chosen.items()}}


def cut(source: Path, lines: int, target: Path) -> None:
    target.write_text("\n".join(source.read_text(encoding="utf-8").splitlines()[:lines]) + "\n", encoding="utf-8")


def test_the_loop_closes_though_each_process_is_killed_once(service: Service) -> None:
    service.channel("support", stages=FAST_STAGES, auto_rollout=False)
    hear_under_fire(service, 0, lambda: service.kill("gateway"))
    hear_under_fire(service, 1, lambda: service.kill("consumer"))
    hear_under_fire(service, 2, lambda: kill_core(service))
    run = service.start_run("support")
    kill_in_training(service, run)
    kill_in_evaluation(service, run)
    found = service.wait_run(run, timeout_s=900)
    assert found["state"] in JUDGED, (found, service.tails())

    path = "/admin/v1/channels/support/rollouts"
    service.admin("POST", path, {"release": found["release"], "stages": FAST_STAGES})
    service.keep_asking("support", lambda view: view["rollout"]["state"] != "running", timeout_s=400)
    view = service.view("support")
    assert view["rollout"]["state"] == "promoted" and view["stable"] == found["release"], (view, service.tails())

    assert_nothing_is_lost(service)
    assert service.wait_until(lambda: service.ask("support", "The colour ran.", "last"), "an answer")["text"].strip()
    assert service.ask("support", "The colour ran.", "last")["release"] == found["release"]
    assert service.stop() == 0
    assert "stopped (-9)" not in (service.home / "logs" / "up.log").read_text()  # each heard the first word


def hear_under_fire(service: Service, group: int, kill: Callable[[], None]) -> None:
    """A group of people asks and corrects; `kill` comes when some have been heard and most have not."""
    before = len(service.acknowledged)
    people = threading.Thread(target=service.teach, args=("support", PEOPLE, group * PEOPLE))
    people.start()
    service.wait_until(lambda: len(service.acknowledged) >= before + 5, "the first to be heard", START_S)
    kill()
    assert len(service.acknowledged) < before + PEOPLE, "the blow came after the work"
    people.join(START_S + 120)
    assert not people.is_alive()
    assert len(service.acknowledged) >= before + PEOPLE, service.tails()


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


def at_work(found: dict[str, Any], state: str, step: str, done: int) -> bool:
    assert found["state"] in ("queued", "curating", "training", state), found
    progress = found["progress"]
    return found["state"] == state and progress.get("step") == step and (progress.get("done") or 0) >= done


def assert_nothing_is_lost(service: Service) -> None:
    """Each feedback with a 202 is known; the ledger holds no more than these and those sent without an answer."""
    for feedback in service.acknowledged:
        shown = service.http.get(f"{service.endpoint('api')}/v1/feedback/{feedback}", headers=service.key("app"))
        assert shown.status_code == 200, (feedback, shown.text)
        assert shown.json()["state"] in ("used", "refused", "waiting")
    ledger = service.ledger("support")
    acknowledged = len(set(service.acknowledged))
    assert all(service.knows(feedback) for feedback in set(service.acknowledged))
    assert acknowledged >= 3 * PEOPLE
    assert acknowledged <= ledger["acknowledged"] <= acknowledged + service.unanswered
    assert ledger["acknowledged"] == ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    assert ledger["used"] >= 3 * PEOPLE
