"""A service on real vLLM, the real base and the shipped recipe, shortened, and what its whole loop is made of.

    with running(tmp_path) as service:
        service.channel("support", stages=FAST_STAGES, auto_rollout=False)
        hear(service, 0, lambda: service.kill("gateway"))
        found = judged(service, run)
        roll_out(service, found["release"])

Whether a release is any good after so little training is not asked: it is rolled out whatever the gate said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration.service import FAST_STAGES, GATE, ROOT, Service, started

BASE = Path(os.environ.get("THUMBWHEEL_TEST_BASE", ROOT / ".base" / "smollm2-135m-instruct"))
START_S = 300.0
GROUP = 36  # people who are heard at a time
RECIPE = {"epochs": 2, "replay_rows": 8, "replay_validation_rows": 4, "contrast_rows": 8}
REPLAY_PROMPTS, GENERAL_PROMPTS = 24, 60
JUDGED = ("candidate", "rejected", "insufficient_evidence")


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Service]:
    """The service in `folder`/home, ready; stopped, by force if need be, when the block ends."""
    service = Service(folder / "home", environment(folder, **settings), folder / "up.out")
    service.limits, service.patience_s = {"max_tokens": 24}, START_S
    with started(service):
        service.wait_ready(START_S)
        yield service


def environment(folder: Path, **settings: Any) -> dict[str, str]:
    """The shipped settings, with little to train on and little to judge by, and `settings`."""
    prompts = ROOT / "retrain" / "prompts"
    cut(prompts / "replay.jsonl", REPLAY_PROMPTS, folder / "replay.jsonl")
    cut(prompts / "general.jsonl", GENERAL_PROMPTS, folder / "general.jsonl")
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "replay_prompts": str(folder / "replay.jsonl")}))
    (folder / "gate.yaml").write_text(json.dumps({**GATE, "measure": {**GATE["measure"], "outage_s": START_S}}))
    chosen = {
        "model": BASE,
        "recipe_config": folder / "recipe.yaml",
        "gate_config": folder / "gate.yaml",
        "general_prompts": folder / "general.jsonl",
        **settings,
    }
    plain = {key: value for key, value in os.environ.items() if not key.startswith("THUMBWHEEL_")}
    return {**plain, **{f"THUMBWHEEL_{key.upper()}": str(value) for key, value in chosen.items()}}


def cut(source: Path, lines: int, target: Path) -> None:
    target.write_text("\n".join(source.read_text(encoding="utf-8").splitlines()[:lines]) + "\n", encoding="utf-8")


def hear(service: Service, group: int, blow: Callable[[], None], *, asks_again: bool = True) -> None:
    """A group of people asks and corrects; `blow` comes when some have been heard and most have not."""
    before = len(service.acknowledged)
    with ThreadPoolExecutor(1) as aside:
        people = aside.submit(service.teach, "support", GROUP, group * GROUP, asks_again=asks_again)
        service.wait_until(lambda: len(service.acknowledged) >= before + 5, "the first to be heard", START_S)
        assert len(service.acknowledged) < before + GROUP, "the blow comes after the work"
        blow()
        people.result(START_S + 120)
    assert len(service.acknowledged) >= before + GROUP, service.tails()


def at_work(found: dict[str, Any], state: str, step: str, done: int) -> bool:
    """Whether a run has done so much of a step. Raises AssertionError where it is past that state already."""
    assert found["state"] in ("queued", "curating", "training", state), found
    progress = found["progress"]
    return found["state"] == state and progress.get("step") == step and (progress.get("done") or 0) >= done


def judged(service: Service, run: str) -> dict[str, Any]:
    """The run, once it has come to its end by itself."""
    found = service.wait_run(run, timeout_s=900)
    assert found["state"] in JUDGED, (found, service.tails())
    return found


def roll_out(service: Service, release: str) -> list[dict[str, Any]]:
    """Roll it out to promotion while people ask, and see that it answers; what was answered until then."""
    path = "/admin/v1/channels/support/rollouts"
    service.admin("POST", path, {"release": release, "stages": FAST_STAGES})
    answers = service.keep_asking("support", lambda view: view["rollout"]["state"] != "running", timeout_s=400)
    view = service.view("support")
    assert view["rollout"]["state"] == "promoted" and view["stable"] == release, (view, service.tails())
    last = service.wait_until(lambda: service.ask("support", "The colour ran.", "last"), "an answer")
    assert last["text"].strip() and last["release"] == release
    return [*answers, last]
