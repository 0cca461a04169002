"""The training step: the recipe as a child process, its adapter checked and published, a draft release.

It knows no recipe's inside: a recipe is a module that takes --dataset, --model, --out and --work, keeps
WORK/progress.json, may be killed and started again, and writes OUT/training.json last.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrain import base_answers
from retrain.job import Ended, Job, Moved, base_of, model_directory, required
from thumbwheel.adapter import check_adapter, write_origin
from thumbwheel.errors import JobError
from thumbwheel.lifeline import tie
from thumbwheel.progress import seconds_left
from thumbwheel.records import Release
from thumbwheel.rollouts import advance_run, make_draft
from thumbwheel.store import fleet_rows, release_rows

POLL_S = 0.5


def train_run(job: Job) -> None:
    """Run the recipe, check and publish its adapter, and hand the run on. Raises JobError, ArtifactError, Moved."""
    run = job.run()
    base = base_of(job.settings)
    dataset = job.artifacts.path(required(run.dataset, "dataset"))
    job.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    job.folder.chmod(0o700)
    out = job.folder / "adapter"
    if not (out / "training.json").is_file():  # the recipe writes it last
        with base_answers.asked_meanwhile(job, _incumbent(job, run.channel).pool):
            _run_recipe(job, dataset, out)
    write_origin(out, base)
    check_adapter(out, base, job.settings.max_lora_rank)
    adapter = job.artifacts.publish(out, "adapter", {"run": run.id, "dataset": run.dataset, "base": base.fingerprint})
    _hand_on(job, adapter)


def _incumbent(job: Job, channel: str) -> Release:
    with job.store.read() as tx:
        return release_rows.get_release(tx, release_rows.get_channel(tx, channel).stable)


def _hand_on(job: Job, adapter: str) -> None:
    """Insert the draft and move the run to evaluating, in one transaction."""
    now_ms = job.clock()
    with job.store.write() as tx:
        run = release_rows.get_run(tx, job.id)
        if run.state != job.state:
            raise Moved
        release = make_draft(tx, release_rows.get_channel(tx, run.channel), adapter, run.id, now_ms)
        advance_run(tx, run, "evaluating", now_ms, release=release.id, attempts=0)
        fleet_rows.record(tx, now_ms, job.who, "train", run.id, {"state": run.state}, {"release": release.id})


def _run_recipe(job: Job, dataset: Path, out: Path) -> None:
    """The recipe as a child that dies with this process. Raises JobError with what it said, Moved."""
    work = job.folder / "training"
    command = [
        sys.executable,
        "-m",
        job.settings.recipe,
        "--dataset",
        str(dataset),
        "--model",
        str(model_directory(job.settings)),
    ]
    # What the base says to the replay prompts is the same for every run of this home.
    command += ["--out", str(out), "--work", str(work), "--cache", str(job.home.root / "cache" / "replay")]
    if job.settings.recipe_config is not None:
        command += ["--config", str(Path(job.settings.recipe_config).resolve())]
    errors = job.folder / "recipe.err"
    environment = recipe_environment(os.environ, job.settings.train_threads)
    with errors.open("wb") as stderr, (job.folder / "recipe.log").open("ab") as stdout:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            preexec_fn=tie(signal.SIGKILL),  # a checkpoint's writer must not outlive the job beside its successor
        )
        try:
            _watch(job, child, work / "progress.json")
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    if child.returncode < 0:
        raise Ended(f"the recipe was ended by signal {-child.returncode}; it goes on at the next start")
    if child.returncode:
        raise JobError(f"Training failed: {_last_words(errors)}")


def recipe_environment(parent: Mapping[str, str], threads: int) -> dict[str, str]:
    """What a recipe's process sees: no hub, its share of cores, and one GPU, the first of those that we may use.

    With several GPUs in sight transformers splits each batch among them (DataParallel), which recipes don't expect.
    oneDNN's cache of products by shape is held small: at its default a training took 3.1 GB instead of 2.6.
    """
    return {
        **parent,
        "OMP_NUM_THREADS": str(threads),
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": parent.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
    }


def _watch(job: Job, child: subprocess.Popen[bytes], file: Path) -> None:
    """Copy the recipe's progress into the run's row until it ends. Raises Moved."""
    seen: dict[str, Any] = {}
    began = (time.monotonic(), 0)
    while child.poll() is None:
        time.sleep(POLL_S)
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        if held == seen:
            continue
        if held.get("stage") != seen.get("stage"):
            began = (time.monotonic(), held.get("step") or 0)
        seen = held
        done, of = held.get("step"), held.get("steps")
        figures = {key: held.get(key) for key in ("epoch", "loss", "kl", "validation_loss", "rows_per_s")}
        job.note({"step": held.get("stage"), "done": done, "of": of, "eta_s": seconds_left(began, done, of), **figures})


def _last_words(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")[:500]
