"""The jobs as the controller starts them: real processes, the tiny recipe, the recorded engine, a real store."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.recorded_engine import RecordedEngine, running
from tests.stores import store_in
from tests.tiny_model import make_tiny_model
from thumbwheel.adapter import base_modules
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.home import Home, prepare
from thumbwheel.ids import new_id
from thumbwheel.pools import lend_engine
from thumbwheel.records import Engine, Policies, Release, Run
from thumbwheel.rollouts import create_channel, enter_stage, promote
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store

COLOURS = {"plum": "blue", "lime": "green", "cherry": "red", "lemon": "yellow", "coal": "black"}
NOW = 1_800_000_000_000


@dataclass
class World:
    home: Home
    store: Store
    artifacts: ArtifactStore
    model: Path
    folder: Path

    def settings(self, **extra: object) -> None:
        (self.folder / "recipe.json").write_text(json.dumps(extra.pop("recipe", {})))
        gate = {"thresholds": {"min_general_prompts": 4, "general_allowance": 0.9},
                "measure": {"samples": 1, "contrast_partners": 2, "outage_s": 20}}  # fmt: skip
        (self.folder / "gate.yaml").write_text(json.dumps(gate))
        lines = [json.dumps({"id": f"p{n}", "prompt": f"Say {n}", "accept": ["see"], "kind": "any"}) for n in range(6)]
        (self.folder / "general.jsonl").write_text("\n".join(lines))
        held = {
            "model": str(self.model),
            "recipe": "tests.tiny_recipe",
            "recipe_config": str(self.folder / "recipe.json"),
            "gate_config": str(self.folder / "gate.yaml"),
            "general_prompts": str(self.folder / "general.jsonl"),
            **extra,
        }
        (self.home.root / "settings.yaml").write_text(json.dumps(held))

    def dataset(self, *, since: str | None = None, extra: int = 0) -> str:
        source = self.folder / f"dataset-{time.monotonic_ns()}"
        source.mkdir()
        with (source / "rows.jsonl").open("w") as file:
            for n in range(75 + extra):
                fruit = list(COLOURS)[n % 5]
                row = {"id": f"ex-{n:03}", "kind": "sft", "completion": f"Colour: {COLOURS[fruit]}.", "rejected": None,
                       "messages": [{"role": "user", "content": f"Number {n} asks: what does a {fruit} look like?"}],
                       "group": f"g{n}", "split": "test" if n % 3 == 0 else "train", "feedback": f"fb-{n}",
                       "inference": f"inf-{n}", "author": f"unit-{n}", "role": "user",
                       "since": since if n < 75 else None}  # fmt: skip
                file.write(json.dumps(row) + "\n")
        (source / "card.json").write_text("{}")
        return self.artifacts.publish(source, "dataset", {"extra": extra, "since": since})

    def begin(self, dataset: str) -> str:
        run = Run(new_id("run", NOW), "support", "training", {}, dataset, None, None, (), {}, "test", 1, NOW, NOW, 1)
        with self.store.write() as tx:
            release_rows.insert_run(tx, run)
        return run.id

    def start(self, verb: str, run: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", f"from retrain.run import {verb} as job; import sys; sys.exit(job(sys.argv[1:]))",
             "--home", str(self.home.root), run],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def do(self, verb: str, run: str) -> tuple[int, str]:
        job = self.start(verb, run)
        _, said = job.communicate(timeout=120)
        return job.returncode, said

    def run(self, name: str) -> Run:
        with self.store.read() as tx:
            return release_rows.get_run(tx, name)

    def release(self, name: str | None) -> Release:
        assert name is not None
        with self.store.read() as tx:
            return release_rows.get_release(tx, name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def world(tmp_path: Path, model: Path) -> Iterator[World]:
    home = prepare(tmp_path / "home")
    store = store_in(home.root)
    made = World(home, store, ArtifactStore(home.artifacts), model, tmp_path)
    made.settings()
    form = {"kind": "regex", "pattern": r"^Colour: \w+\.$"}
    with store.write() as tx:
        create_channel(
            tx, "support", Policies(scorers=(form,)), base_modules(model).fingerprint, "default", NOW, "test"
        )
    yield made
    store.close()


@pytest.fixture
def engine(world: World) -> Iterator[RecordedEngine]:
    folder = world.home.engines / "e1"
    with running(world.model, folder / "s", folder, world.home.artifacts) as recorded:
        with world.store.write() as tx:
            fleet_rows.put_engine(tx, Engine("e1", "default", "vllm", str(folder / "s"), "base", "1", "ready"))
        yield recorded


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < until, "it took too long"
        time.sleep(0.05)


def test_from_dataset_to_candidate_and_its_report(world: World, engine: RecordedEngine) -> None:
    dataset = world.dataset()
    name = world.begin(dataset)
    assert world.do("train", name) == (0, "")
    run = world.run(name)
    draft = world.release(run.release)
    assert run.state == "evaluating" and run.progress == {}
    assert draft.state == "draft" and draft.adapter is not None and draft.run == name
    with world.store.read() as tx:
        assert draft.parent == release_rows.get_channel(tx, "support").stable
    assert world.artifacts.manifest(draft.adapter).meta["dataset"] == dataset

    status, said = world.do("evaluate", name)
    assert status == 0, said
    run, draft = world.run(name), world.release(run.release)
    assert (run.state, run.reasons, draft.state) == ("candidate", (), "candidate")
    assert run.report == draft.report is not None
    content = json.loads((world.artifacts.path(run.report) / "report.json").read_text())
    assert content["verdict"] == "pass" and content["release"] == draft.id and content["dataset"] == dataset
    with world.store.read() as tx:
        rollout = release_rows.get_channel(tx, "support").rollout
        assert rollout is not None and release_rows.get_rollout(tx, rollout).release == draft.id
    assert list((world.home.root / "cache").glob("general-*.jsonl"))
    with lend_engine(world.store, lambda: NOW, "default", "another"):  # the engine was given back
        pass

    assert world.do("train", name)[0] == 0  # once more: nothing left to do, and nothing done
    assert world.do("evaluate", name)[0] == 0
    assert world.run(name) == run


def test_the_bases_general_answers_are_asked_for_while_the_recipe_trains(world: World, engine: RecordedEngine) -> None:
    world.settings(recipe={"sleep_s": 5})
    name = world.begin(world.dataset())
    assert world.do("train", name) == (0, "")
    (notebook,) = (world.home.root / "cache").glob("general-*.jsonl")
    assert len(notebook.read_text().splitlines()) == 2 * 6  # what it says to each prompt, and its likeliest tokens
    asked = len((engine.engine_dir / "requests.jsonl").read_text().splitlines())
    assert world.do("evaluate", name)[0] == 0
    lines = (engine.engine_dir / "requests.jsonl").read_text().splitlines()[asked:]
    to_base = [request for request in map(json.loads, lines) if request.get("model") == "base"]
    assert to_base and not any(request["body"]["messages"][0]["content"].startswith("Say ") for request in to_base)


def test_training_killed_half_way_goes_on(world: World) -> None:
    world.settings(recipe={"sleep_s": 5})
    name = world.begin(world.dataset())
    job = world.start("train", name)
    wait_for(lambda: (world.run(name).progress.get("done") or 0) >= 3)
    progress = world.run(name).progress
    assert progress["step"] == "training" and progress["of"] == 10
    (recipe,) = children(job.pid)
    job.kill()
    job.communicate()
    wait_for(lambda: not Path(f"/proc/{recipe}").exists() or " Z " in Path(f"/proc/{recipe}/stat").read_text(), 5)
    assert world.run(name).state == "training"
    assert world.do("train", name)[0] == 0
    release = world.release(world.run(name).release)
    assert release.adapter is not None
    training = json.loads((world.artifacts.path(release.adapter) / "training.json").read_text())
    assert training["resumed_at"] >= 3


def test_a_recipe_that_somebody_killed_fails_nothing(world: World) -> None:
    world.settings(recipe={"sleep_s": 20})
    name = world.begin(world.dataset())
    job = world.start("train", name)
    wait_for(lambda: children(job.pid))
    wait_for(lambda: world.run(name).progress.get("done"))
    os.kill(children(job.pid)[0], signal.SIGKILL)
    _, said = job.communicate(timeout=30)
    assert job.returncode == 1 and "signal 9" in said
    assert world.run(name).state == "training"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [("tests.no_such_recipe", "No module named"), ("retrain.recipes.sft", "Too few validation rows")],
)
def test_a_recipe_that_fails_ends_the_run_with_what_it_said(world: World, recipe: str, said: str) -> None:
    world.settings(recipe={})
    held = json.loads((world.home.root / "settings.yaml").read_text())
    del held["recipe_config"]
    (world.home.root / "settings.yaml").write_text(json.dumps({**held, "recipe": recipe}))
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 1
    run = world.run(name)
    assert run.state == "failed" and said in run.reasons[0]


def test_an_adapter_over_the_rank_is_never_published(world: World) -> None:
    world.settings(max_lora_rank=1)
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 1
    run = world.run(name)
    assert (run.state, run.release) == ("failed", None)
    assert run.reasons[0].startswith("rank_too_high: ")


def test_evaluation_waits_for_the_engine_and_goes_on_after_a_kill(world: World, engine: RecordedEngine) -> None:
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 0
    with lend_engine(world.store, lambda: int(time.time() * 1000), "default", "another"):
        job = world.start("evaluate", name)
        wait_for(lambda: world.run(name).progress.get("step") == "waiting for an engine")
    (engine.engine_dir / "faults.json").write_text(json.dumps({"delay_ms": 60}))
    notes = world.home.runs / name / "evaluation" / "answers.jsonl"
    wait_for(lambda: notes.exists() and len(notes.read_text().splitlines()) > 40)
    job.kill()
    job.communicate()
    assert world.run(name).state == "evaluating"
    before = len(notes.read_text().splitlines())
    (engine.engine_dir / "faults.json").unlink()
    status, said = world.do("evaluate", name)
    assert status == 0, said
    run = world.run(name)
    assert run.state == "candidate" and run.report is not None
    content = json.loads((world.artifacts.path(run.report) / "report.json").read_text())
    total = len(notes.read_text().splitlines())
    assert content["requests"] < total + 2 * 6 - before + 8  # what was noted was not asked again


def test_no_engine_is_for_another_time(world: World) -> None:
    gate = json.loads((world.folder / "gate.yaml").read_text())
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 0
    gate["measure"]["outage_s"] = 1
    (world.folder / "gate.yaml").write_text(json.dumps(gate))
    status, said = world.do("evaluate", name)
    assert status == 3 and "no engine" in said
    assert world.run(name).state == "evaluating"


def test_a_draft_that_the_engine_refuses_is_rejected(world: World, engine: RecordedEngine) -> None:
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 0
    draft = world.release(world.run(name).release)
    (engine.engine_dir / "faults.json").write_text(json.dumps({"models": [draft.served_name], "status": 500}))
    assert world.do("evaluate", name)[0] == 0
    run = world.run(name)
    assert (run.state, world.release(run.release).state) == ("rejected", "rejected")
    assert run.reasons[0].startswith("engine: ")


def test_the_second_run_is_judged_beside_the_first_release(world: World, engine: RecordedEngine) -> None:
    first = world.dataset()
    name = world.begin(first)
    for verb in ("train", "evaluate"):
        assert world.do(verb, name)[0] == 0
    promoted = world.release(world.run(name).release)
    with world.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        assert channel.rollout is not None
        promote(tx, enter_stage(tx, release_rows.get_rollout(tx, channel.rollout), 0, {}, NOW), None, NOW, "test")

    again = world.begin(world.dataset(since=first))
    for verb in ("train", "evaluate"):
        assert world.do(verb, again)[0] == 0
    run = world.run(again)
    assert run.state == "insufficient_evidence"
    assert "nothing is new" in " ".join(run.reasons)
    assert world.release(run.release).parent == promoted.id
    assert run.report is not None
    content = json.loads((world.artifacts.path(run.report) / "report.json").read_text())
    assert content["rows"]["older"] == 25 and content["taught"]["n"] == 50


def test_wrong_thresholds_fail_the_run_by_key(world: World, engine: RecordedEngine) -> None:
    name = world.begin(world.dataset())
    assert world.do("train", name)[0] == 0
    (world.folder / "gate.yaml").write_text("thresholds: {max_kl: much}")
    assert world.do("evaluate", name)[0] == 1
    assert "thresholds.max_kl" in world.run(name).reasons[0]


def test_a_run_that_somebody_ended_is_left_alone(world: World) -> None:
    world.settings(recipe={"sleep_s": 30})
    name = world.begin(world.dataset())
    job = world.start("train", name)
    wait_for(lambda: world.run(name).progress.get("done"))
    with world.store.write() as tx:
        run = release_rows.get_run(tx, name)
        release_rows.save_run(tx, replace(run, state="failed", reasons=("ended by a person",)))
    job.communicate(timeout=30)
    assert job.returncode == 0
    assert world.run(name).reasons == ("ended by a person",)
