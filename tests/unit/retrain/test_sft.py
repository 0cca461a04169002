"""The supervised recipe on the tiny model: the shipped code, whole runs in seconds."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from retrain import checkpoints, recipe_settings
from retrain.recipes import sft
from tests.tiny_model import TINY_SETTINGS, make_tiny_model, write_tiny_dataset

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_dataset(tmp_path_factory.mktemp("dataset"), train=32)


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prompts") / "replay.jsonl"
    path.write_text("".join(json.dumps({"id": f"r{n}", "prompt": f"What is {n}?"}) + "\n" for n in range(20)))
    return path


@pytest.fixture
def config(tmp_path: Path, prompts: Path) -> Path:
    return write_config(tmp_path, prompts)


def write_config(folder: Path, prompts: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY_SETTINGS, "replay_prompts": str(prompts), **changes}))
    return path


def command(dataset: Path, model: Path, folder: Path, config: Path) -> list[str]:
    arguments = {"--dataset": dataset, "--model": model, "--config": config}
    arguments |= {"--out": folder / "out", "--work": folder / "work"}
    return [sys.executable, "-m", "retrain.recipes.sft", *(str(part) for pair in arguments.items() for part in pair)]


def run(*arguments: Path) -> int:
    """The recipe in this process: the exit status of its command line."""
    mask = os.umask(0o022)
    try:
        return sft.main(command(*arguments)[3:])
    finally:
        os.umask(mask)


def steps(work: Path) -> list[dict[str, Any]]:
    """Every logged loss of the run, by its step; what depends on the clock left out."""
    last = checkpoints.last_whole(work / "checkpoints")
    assert last is not None
    keys = ("step", "loss", "kl", "ce", "grad_norm", "learning_rate", "eval_loss")
    history = checkpoints.trainer_state(last)["log_history"]
    return [{key: entry[key] for key in keys if key in entry} for entry in history]


def test_a_killed_run_goes_on_loss_for_loss(tmp_path: Path, model: Path, dataset: Path, prompts: Path) -> None:
    config = write_config(tmp_path, prompts, epochs=8, patience=8, lora_dropout=0.1)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(dataset, model, whole, config) == 0

    process = subprocess.Popen(
        command(dataset, model, broken, config), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not list((broken / "work" / "checkpoints").glob("checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (broken / "out").exists(), "it was to be killed half-way"
    assert run(dataset, model, broken, config) == 0

    assert steps(whole / "work") == steps(broken / "work")
    assert len([entry for entry in steps(whole / "work") if "loss" in entry]) == 8 * 5
    once, twice = (load_file(folder / "out" / "adapter_model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_a_run_leaves_an_adapter_that_learnt_and_its_figures(
    tmp_path: Path, model: Path, dataset: Path, config: Path
) -> None:
    assert run(dataset, model, tmp_path, config) == 0
    figures = json.loads((tmp_path / "out" / "training.json").read_text())
    assert figures["rows"] == {
        "train": 32,
        "validation": 4,
        "too_long": 0,
        "replay": 15,
        "replay_validation": 5,
        "replay_drawn": 6,
        "contrast": 16,
    }
    losses = [epoch["validation_loss"] for epoch in figures["epochs"]]
    assert [epoch["epoch"] for epoch in figures["epochs"]] == [1, 2, 3]
    assert losses[-1] < losses[0]
    assert figures["checkpoint"]["validation_loss"] == min(losses)
    assert all(0 <= epoch["kl"] < 1 and 0 < epoch["validation_kl"] < 1 for epoch in figures["epochs"])

    progress = json.loads((tmp_path / "work" / "progress.json").read_text())
    assert (progress["stage"], progress["step"], progress["steps"]) == ("done", 15, 15)
    assert progress["rows_per_s"] > 0

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    tuned = PeftModel.from_pretrained(base, tmp_path / "out").eval()
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert len(tensors) == 2 * 2 * 7  # A and B, two layers, seven linear layers in each
    ids = torch.tensor([[5, 6, 7]])
    with tuned.disable_adapter():
        before = tuned(ids).logits
    assert not torch.equal(before, tuned(ids).logits)
    assert str(model.parent) not in (tmp_path / "out" / "adapter_config.json").read_text()

    work = tmp_path / "work"
    assert stat.S_IMODE(work.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in work.rglob("*"))
    assert len(list((work / "checkpoints").glob("checkpoint-*"))) == 2
    assert list((work / "tensorboard").glob("events.*"))


def test_the_test_split_is_never_looked_at(tmp_path: Path, model: Path, dataset: Path, config: Path) -> None:
    with_test, without = tmp_path / "a", tmp_path / "b"
    lines = (dataset / "rows.jsonl").read_text().splitlines(keepends=True)
    for folder, keep in ((with_test, True), (without, False)):
        (folder / "data").mkdir(parents=True)
        kept = [line for line in lines if keep or json.loads(line)["split"] != "test"]
        (folder / "data" / "rows.jsonl").write_text("".join(kept))
        assert run(folder / "data", model, folder, config) == 0
    assert steps(with_test / "work") == steps(without / "work")


def test_thumbs_without_a_correction_are_not_trained_on(
    tmp_path: Path, model: Path, dataset: Path, config: Path
) -> None:
    with_thumbs, without = tmp_path / "a", tmp_path / "b"
    lines = (dataset / "rows.jsonl").read_text().splitlines(keepends=True)
    thumbs = [json.dumps({**json.loads(line), "kind": "kto", "label": True, "weight": 1.0}) + "\n" for line in lines]
    for folder, kept in ((with_thumbs, lines + thumbs), (without, lines)):
        (folder / "data").mkdir(parents=True)
        (folder / "data" / "rows.jsonl").write_text("".join(kept))
        assert run(folder / "data", model, folder, config) == 0
    assert steps(with_thumbs / "work") == steps(without / "work")


def test_training_stops_early_and_keeps_the_best(tmp_path: Path, model: Path, dataset: Path, prompts: Path) -> None:
    config = write_config(tmp_path, prompts, epochs=60, patience=2, learning_rate=0.2)
    assert run(dataset, model, tmp_path, config) == 0
    figures = json.loads((tmp_path / "out" / "training.json").read_text())
    losses = [epoch["validation_loss"] for epoch in figures["epochs"]]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 60
    assert figures["checkpoint"]["step"] == 5 * (best + 1)

    # Started again, it does no further step and hands over the same adapter.
    adapter = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    (tmp_path / "out" / "adapter_model.safetensors").unlink()
    assert run(dataset, model, tmp_path, config) == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").read_bytes() == adapter
    assert json.loads((tmp_path / "out" / "training.json").read_text())["steps"] == figures["steps"]


def test_what_will_not_do_is_said(
    tmp_path: Path, model: Path, dataset: Path, prompts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_config(tmp_path, prompts)
    few = write_tiny_dataset(tmp_path / "few", train=2)
    for dataset_given, model_given, says in (
        (few, model, "Too few train rows: 2, needed 4. Collect 2 more."),
        (dataset, tmp_path / "nowhere", "holds no config.json"),
        (tmp_path / "nowhere", model, "is no dataset"),
    ):
        assert run(dataset_given, model_given, tmp_path / "run", good) == 1
        assert says in capsys.readouterr().err


def test_the_bases_answers_are_asked_once_for_all_runs(
    tmp_path: Path, model: Path, dataset: Path, config: Path
) -> None:
    cached = ["--cache", str(tmp_path / "cache")]
    adapters = []
    for name, more in (("first", cached), ("second", cached), ("alone", [])):
        assert sft.main([*command(dataset, model, tmp_path / name, config)[3:], *more]) == 0
        adapters.append((tmp_path / name / "out" / "adapter_model.safetensors").read_bytes())
        if name == "first":
            (kept,) = (tmp_path / "cache").iterdir()
            written = kept.stat().st_mtime_ns
    assert kept.stat().st_mtime_ns == written
    assert adapters[0] == adapters[1] == adapters[2]


def test_rows_that_are_too_long_are_left_out_not_cut() -> None:
    row = sft.Encoded(prompt=(5, 6, 7), answer=(8, 0), reference=sft.TAUGHT)
    assert row.columns() == {"input_ids": [5, 6, 7, 8, 0], "labels": [-100, -100, -100, 8, 0], "reference": -1}


def test_padding_leaves_answers_at_the_end() -> None:
    long = sft.Encoded((5, 6, 7), (8, 0), sft.TAUGHT).columns()
    short = sft.Encoded((5,), (0,), 3).columns()
    batch = sft.collate([long, short], pad=0)
    assert batch["labels"].tolist() == [[-100, -100, -100, 8, 0], [-100, -100, -100, -100, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert batch["position_ids"].tolist() == [[0, 1, 2, 3, 4], [0, 0, 0, 0, 1]]
    assert batch["reference"].tolist() == [-1, 3]


def test_an_epoch_is_every_correction_and_a_share_of_the_pool() -> None:
    settings = recipe_settings.read(sft.Settings, sft.DEFAULTS, None, {"replay_rows": 4}, ())
    taught = [sft.Encoded((1,) * length, (0,), sft.TAUGHT) for length in range(1, 11)]
    pool = [sft.Encoded((1,) * length, (0,), index) for index, length in enumerate(range(1, 9))]
    order = sft.EpochOrder(taught, pool, settings)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    assert len(order) == len(first) == len(second) == 14
    for epoch in (first, second):
        assert set(range(10)) <= set(epoch)
    assert {row for row in first if row >= 10} | {row for row in second if row >= 10} == set(range(10, 18))
