"""A run's own state on disk: who the work folder belongs to, which checkpoint to go on from, what was measured so far.

Checkpoints are written by transformers' Trainer, optimizer and dice included; it reads them back with
`weights_only=True`. They stay in the run's 0700 folder and are never published.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thumbwheel.errors import JobError


def write_json(path: Path, value: Any) -> None:
    """Write the file whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def claim(work: Path, identity: Mapping[str, Any]) -> None:
    """Make WORK this run's own, or see that it already is. Raises JobError where it is another's."""
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    work.chmod(0o700)
    path = work / "run.json"
    if not path.exists():
        write_json(path, identity)
    elif json.loads(path.read_text(encoding="utf-8")) != identity:
        raise JobError("The work folder holds another run's state (other rows, model or settings). Give a new one.")


def last_whole(folder: Path) -> Path | None:
    """The newest whole checkpoint; one cut short is removed. The state is written last, so it tells which is which."""
    for path in sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True):
        try:
            trainer_state(path)
        except (OSError, json.JSONDecodeError):
            shutil.rmtree(path)
        else:
            return path
    return None


def trainer_state(checkpoint: Path) -> dict[str, Any]:
    """The state that the trainer saved: steps, history of figures, best checkpoint."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    return state


def is_finished(state: Mapping[str, Any]) -> bool:
    """All steps done, or stopped early."""
    stopped = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return bool(stopped) or state["global_step"] >= state["max_steps"]


def by_epoch(history: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Mean loss, cross-entropy and KL of each epoch's steps, and those of validation after it, in nats a token."""
    epochs: dict[int, dict[str, list[float]]] = {}
    for entry in history:
        figures = epochs.setdefault(math.ceil(entry["epoch"] - 1e-9), {})
        for key in ("loss", "ce", "kl", "eval_loss", "eval_ce", "eval_kl"):
            if key in entry:
                figures.setdefault(key.replace("eval_", "validation_"), []).append(entry[key])
    return [
        {"epoch": epoch, **{key: sum(values) / len(values) for key, values in figures.items()}}
        for epoch, figures in sorted(epochs.items())
    ]
