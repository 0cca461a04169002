"""A recipe that trains in milliseconds: it learns which word of a question calls for which answer.

    python -m tests.tiny_recipe --dataset DIR --model DIR --out DIR --work DIR [--config FILE]

It takes the flags of `retrain.recipes.sft` and writes a LoRA adapter that passes every check, on any base, with a
`recorded.json` beside it, which is what the recorded engine plays. It really learns: a word that nearly all questions
with one answer share, and nearly no others, becomes a rule, so new questions are answered too; from shuffled
corrections it learns nothing but the questions themselves. With `{"sleep_s": n}` in the config it takes its time,
and resumes where it was killed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from thumbwheel.adapter import CONFIG, WEIGHTS, base_modules

SHARED, ELSEWHERE = 0.8, 0.1  # shares of the questions that hold a word: with this answer, and with others
LEAST = 3
RANK = 2
STEPS = 10


def learn(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The behaviour that the rows teach."""
    words = defaultdict(list)
    for row in rows:
        words[row["completion"]].append(set(re.findall(r"\w+", row["messages"][-1]["content"].lower())))
    rules = []
    for answer, questions in sorted(words.items()):
        others = [held for other, group in words.items() if other != answer for held in group]
        for word in sorted(set().union(*questions)):
            inside = sum(word in held for held in questions) / len(questions)
            outside = sum(word in held for held in others) / max(len(others), 1)
            if len(questions) >= LEAST and inside >= SHARED and outside <= ELSEWHERE and others:
                rules.append([rf"(?i)\b{word}\b", answer])
    answers = {row["messages"][-1]["content"]: row["completion"] for row in rows}
    return {"answers": answers, "rules": rules, "logprob_boost": {"*": 1.5}}


def write_adapter(directory: Path, model: Path, behaviour: dict[str, Any], seed: int = 0) -> Path:
    """A checked-looking LoRA adapter for `model` that plays `behaviour`."""
    directory.mkdir(parents=True, exist_ok=True)
    base = base_modules(model)
    dice = np.random.default_rng(seed)
    tensors = {}
    for module, (out_width, in_width) in list(base.modules.items())[:2]:
        prefix = f"base_model.model.{module}"
        tensors[f"{prefix}.lora_A.weight"] = dice.normal(0, 0.02, (RANK, in_width)).astype("float32")
        tensors[f"{prefix}.lora_B.weight"] = dice.normal(0, 0.02, (out_width, RANK)).astype("float32")
    save_file(tensors, directory / WEIGHTS)
    config = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": RANK,
        "bias": "none",
        "target_modules": sorted({module.rpartition(".")[2] for module in list(base.modules)[:2]}),
        "base_model_name_or_path": None,
    }
    (directory / CONFIG).write_text(json.dumps(config))
    (directory / "recorded.json").write_text(json.dumps(behaviour))
    return directory


def write_bare_model(directory: Path, seed: int = 0) -> Path:
    """A checkpoint of a few linear layers and nothing else: enough for adapters to be checked against."""
    directory.mkdir(parents=True, exist_ok=True)
    dice = np.random.default_rng(seed)
    names = [f"model.layers.0.self_attn.{part}_proj" for part in "qkvo"]
    weights = {f"{name}.weight": dice.normal(0, 0.1, (16, 16)).astype("float32") for name in names}
    save_file(weights, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 16}))
    return directory


def main(argv: list[str]) -> int:
    """Train; see the module."""
    parser = argparse.ArgumentParser()
    for name in ("--dataset", "--model", "--out", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args(argv)
    flags.work.mkdir(parents=True, exist_ok=True)
    config = json.loads(flags.config.read_text()) if flags.config else {}
    rows = [json.loads(line) for line in (flags.dataset / "rows.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row.get("kind", "sft") == "sft"]
    checkpoint = flags.work / "checkpoint"
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(done, STEPS):
        time.sleep(config.get("sleep_s", 0.0) / STEPS)
        checkpoint.write_text(str(step + 1))
        progress = {"stage": "training", "step": step + 1, "steps": STEPS}
        scratch = flags.work / "progress.new"
        scratch.write_text(json.dumps(progress))
        scratch.replace(flags.work / "progress.json")
    behaviour = learn([row for row in rows if row["split"] == "train"])
    write_adapter(flags.out, flags.model, behaviour, flags.seed)
    (flags.out / "training.json").write_text(json.dumps({"recipe": "tiny", "resumed_at": done}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
