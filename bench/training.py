"""How fast the supervised recipe trains and what memory it takes: the CPU with one thread beside a CUDA device.

    python -m bench.training --model DIR [--work DIR] [--repetitions 3] [--devices cpu cuda] [--batch-sizes 8 32]
        [--rows 112] > figures.jsonl

MODEL is a transformers checkpoint. A folder with no more than its config.json and tokenizer files will do too: weights
of that shape are then drawn at random. Training is as fast with them; preparation is slower than with a real model, as
no answer ends before its limit. The rows are the help desk's corrections.

What is measured, each in a process of its own, one JSON line a measurement:

training     the shipped recipe with its shipped settings for one epoch, without the evaluation after it: rows/s from
             the end of the first step to the end of the last (the first also holds what is done once). The times are
             those of TensorBoard's entries, which the recipe writes after each step.
preparation  the base's greedy answers to the shipped replay prompts, as asked for before training, in the shipped
             batches, the model being on that device: prompts/s.

Beside both: the process's peak resident memory (VmHWM) and, on CUDA, the most that torch's allocator held. A training
process also asks the base the contrast rows, and the first one on a device and attention all replay prompts; the
median over repetitions passes over that one.

The CPU is measured with `attention: eager`, the shipped value, CUDA with `eager` and `sdpa`. Repetitions are
interleaved, so that a machine's slow minutes fall on every case alike. Medians, ranges and ratios to the CPU at the
same batch size follow on standard error. Where torch sees no CUDA device only the CPU is measured, without a ratio.

It knows nothing about how well the model learns (see retrain/evaluate.py), nor about serving beside it. Linux only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoConfig, AutoModelForCausalLM

from demo import helpdesk
from retrain import recipe_settings, replay
from retrain.recipes import sft

ATTENTION = {"cpu": ("eager",), "cuda": ("eager", "sdpa")}
DATASET = "dataset"  # in the work folder
VALIDATION_EVERY = 9
MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """One thing to measure: `kind` is training or preparation, `batch_size` counts rows or prompts."""

    kind: str
    device: str
    attention: str
    batch_size: int


@dataclass(frozen=True)
class Measured:
    """What came of a case: `items` (rows or prompts) in `seconds`; peaks in MiB, `cuda_mib` None on a CPU."""

    case: Case
    items: int
    seconds: float
    resident_mib: float
    cuda_mib: float | None
    torch: str
    device: str

    @property
    def speed(self) -> float:
        """Rows or prompts a second."""
        return self.items / self.seconds


def cases(devices: Sequence[str], batch_sizes: Sequence[int], shipped: sft.Settings) -> Iterator[Case]:
    """Every case once."""
    for device in devices:
        for attention in ATTENTION[device]:
            yield from (Case("training", device, attention, size) for size in batch_sizes)
            yield Case("preparation", device, attention, shipped.replay_batch_size)


def write_dataset(folder: Path, count: int) -> None:
    """The first `count` corrections as a frozen dataset's rows; every ninth is for validation."""
    folder.mkdir(parents=True, exist_ok=True)
    system = {"role": "system", "content": helpdesk.SYSTEM_PROMPT}
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number, case in enumerate(helpdesk.load().corrections[:count], start=1):
            row = {
                "id": case.id,
                "messages": [system, {"role": "user", "content": case.complaint}],
                "completion": case.answer,
                "group": case.id,
                "split": "train" if number % VALIDATION_EVERY else "validation",
            }
            file.write(json.dumps(row) + "\n")


def with_weights(given: Path, folder: Path) -> Path:
    """`given` where it holds weights, else `folder`: a copy of it with random ones of the shape that it describes."""
    if list(given.glob("*.safetensors")):
        return given
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(given), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    for path in given.iterdir():
        if path.is_file() and not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)
    return folder


def train_rows(case: Case, work: Path, model: Path) -> tuple[int, float]:
    """Run the recipe here for one epoch: the rows after the first step, and the seconds that they took."""
    folder = Path(tempfile.mkdtemp(prefix="training-", dir=work))
    config = folder / "config.yaml"
    changes = {"attention": case.attention, "batch_size": case.batch_size, "niceness": 0, "threads": 1, "epochs": 1}
    config.write_text(yaml.safe_dump(changes))
    flags = {"--dataset": work / DATASET, "--model": model, "--config": config, "--cache": work / "cache"}
    flags |= {"--out": folder / "out", "--work": folder / "run"}
    if sft.main([str(part) for flag in flags.items() for part in flag]):
        raise SystemExit("The recipe did not end well; its message stands above.")

    events = EventAccumulator(str(folder / "run" / "tensorboard"))
    events.Reload()
    steps = events.Scalars("train/loss")
    figures = json.loads((folder / "out" / "training.json").read_text(encoding="utf-8"))
    counts = figures["rows"]
    drawn = counts["replay_drawn"]
    rows = counts["train"] + drawn - steps[0].step * case.batch_size
    shutil.rmtree(folder)
    if len(steps) < 2 or rows < 1:
        raise SystemExit(f"{counts['train'] + drawn} rows are too few for batches of {case.batch_size}. Give more.")
    return rows, steps[-1].wall_time - steps[0].wall_time


def prepare_replay(case: Case, model_folder: Path, shipped: sft.Settings) -> tuple[int, float]:
    """Ask the base the shipped replay prompts: how many they are, and the seconds that it took."""
    torch.set_num_threads(1)
    model, tokenizer = sft.load_model(model_folder, case.attention)
    model.to(case.device)
    prompts = replay.read_prompts(Path(shipped.replay_prompts))
    seconds = 0.0
    for chosen in (prompts[: case.batch_size], prompts):  # the first time holds what is done once
        started = time.perf_counter()
        replay.prepare(
            model,
            tokenizer,
            chosen,
            max_new_tokens=shipped.replay_max_new_tokens,
            batch=case.batch_size,
            report=lambda done: None,
        )
        seconds = time.perf_counter() - started  # the answers are on the host by now: nothing is still under way
    return len(prompts), seconds


def measure(case: Case, work: Path, model: Path, shipped: sft.Settings) -> Measured:
    """Measure one case in this process, which must see a CUDA device just where the case is CUDA's."""
    if (case.device == "cuda") != torch.cuda.is_available():
        raise SystemExit(f"This process is not on {case.device}.")
    if case.kind == "training":
        items, seconds = train_rows(case, work, model)
    else:
        items, seconds = prepare_replay(case, model, shipped)
    on_cuda = case.device == "cuda"
    return Measured(
        case=case,
        items=items,
        seconds=round(seconds, 4),
        resident_mib=round(peak_resident_mib(), 1),
        cuda_mib=round(torch.cuda.max_memory_reserved() / MIB, 1) if on_cuda else None,
        torch=torch.__version__,
        device=torch.cuda.get_device_name() if on_cuda else f"cpu, 1 of {os.cpu_count()} cores",
    )


def peak_resident_mib() -> float:
    """The most memory that this process ever had resident. (getrusage would count its parent's before the exec.)"""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def measure_apart(case: Case, work: Path, model: Path) -> Measured:
    """Measure one case in a process of its own."""
    # One thread before torch is imported: setting it later leaves what the library started with.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    if case.device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    words = ["--case", json.dumps(dataclasses.asdict(case)), "--work", str(work), "--model", str(model)]
    command = [sys.executable, "-m", "bench.training", *words]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode:
        raise SystemExit(f"{case} failed with status {child.returncode}; its message stands above.")
    value = json.loads(child.stdout.splitlines()[-1])
    return Measured(**{**value, "case": Case(**value["case"])})


def table(measured: Sequence[Measured]) -> str:
    """Medians, ranges and ratios, in Markdown."""
    lines = [
        "| what | device | attention | batch | items/s: median (range) | x CPU | resident MiB | CUDA MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    by_case: dict[Case, list[Measured]] = {}
    for one in measured:
        by_case.setdefault(one.case, []).append(one)
    for case, got in by_case.items():
        speeds = [one.speed for one in got]
        beside = by_case.get(dataclasses.replace(case, device="cpu", attention="eager"))
        ratio = f"{median(speeds) / median(one.speed for one in beside):.1f}" if beside else "-"
        held = [one.cuda_mib for one in got if one.cuda_mib is not None]
        taken = f"{median(held):.0f}" if held else "-"
        lines.append(
            f"| {case.kind} | {case.device} | {case.attention} | {case.batch_size} "
            f"| {median(speeds):.2f} ({min(speeds):.2f} to {max(speeds):.2f}) | {ratio} "
            f"| {median(one.resident_mib for one in got):.0f} | {taken} |"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.training")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--devices", nargs="+", choices=tuple(ATTENTION))
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--rows", type=int, default=112)
    parser.add_argument("--case", help=argparse.SUPPRESS)  # given to the child that measures it
    arguments = parser.parse_args(argv)
    shipped = recipe_settings.read(sft.Settings, sft.DEFAULTS, None, {}, ("replay_prompts",))
    if arguments.case:
        measured = measure(Case(**json.loads(arguments.case)), arguments.work, arguments.model, shipped)
        print(json.dumps(dataclasses.asdict(measured)))
        return 0

    devices = arguments.devices or (["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    figures = []
    with tempfile.TemporaryDirectory(dir=arguments.work) as scratch:
        write_dataset(Path(scratch) / DATASET, arguments.rows)
        model = with_weights(arguments.model, Path(scratch) / "model")
        for _ in range(arguments.repetitions):
            for case in cases(devices, arguments.batch_sizes, shipped):
                one = measure_apart(case, Path(scratch), model)
                print(json.dumps(dataclasses.asdict(one)), flush=True)
                figures.append(one)
    print(table(figures), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
