"""Supervised fine-tuning on corrections: a LoRA adapter that learns the new behaviour and keeps the rest.

    python -m retrain.recipes.sft --dataset DIR --model DIR --out DIR --work DIR [--config FILE] [--seed N]
        [--cache DIR]

DATASET holds rows.jsonl (see retrain/rows.py); only its train and validation rows are looked at. MODEL is a
transformers checkpoint with a chat template. WORK keeps progress.json, checkpoints and TensorBoard's files; started
again with the same WORK, the run goes on from its last whole checkpoint and ends as if it had never stopped. OUT gets
adapter_config.json, adapter_model.safetensors and training.json, the last of them last. CACHE keeps the base's answers
to the replay prompts, the same for every run on one base (else they are in WORK, asked anew by each run).

The loss, over a batch's answer tokens: cross-entropy on corrections, and replay_weight * KL(base || tuned) over the
whole vocabulary on replay and contrast rows, divided by all answer tokens of the step. Every figure is in nats a token.
The validation loss that stops training and chooses the checkpoint is the same sum over validation rows and replay rows
that are never trained on: a checkpoint that learnt a little more by forgetting a lot is not the best.

Exit status 0 with OUT complete; 1 with one message on standard error where settings, rows or model will not do.
It knows nothing of channels, releases or gates.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.nn import functional
from torch.utils.data import Sampler
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback, TrainerCallback
from transformers.integrations import TensorBoardCallback
from trl import SFTConfig, SFTTrainer

from retrain import checkpoints, recipe_settings, replay, rows
from retrain.recipe_settings import number, text, texts, whole
from thumbwheel.dataset_files import ROWS
from thumbwheel.errors import JobError, ThumbwheelError

DEFAULTS = Path(__file__).with_suffix(".yaml")
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
REPORTED = ("torch", "transformers", "peft", "trl", "accelerate")
TAUGHT = -1  # the reference index of a row that has none


@dataclass(frozen=True)
class Settings:
    """sft.yaml's keys; what each is stands there."""

    seed: int = whole(0, 2**31 - 1)
    threads: int = whole(1, 1024)
    niceness: int = whole(0, 19)
    attention: str = text("eager", "sdpa", "flash_attention_2")
    max_length: int = whole(16, 1_000_000)
    min_train_rows: int = whole(1, 1_000_000)
    min_validation_rows: int = whole(1, 1_000_000)
    lora_rank: int = whole(1, 512)
    lora_alpha: float = number(0.1, 4096)
    lora_dropout: float = number(0, 0.9)
    epochs: int = whole(1, 1000)
    learning_rate: float = number(1e-8, 1)
    warmup_share: float = number(0, 1)
    weight_decay: float = number(0, 10)
    max_grad_norm: float = number(1e-3, 1000)
    batch_size: int = whole(1, 4096)
    accumulation: int = whole(1, 4096)
    patience: int = whole(1, 1000)
    max_checkpoints: int = whole(2, 1000)
    replay_prompts: str = text()
    replay_rows: int = whole(0, 1_000_000)
    replay_validation_rows: int = whole(0, 1_000_000)
    replay_weight: float = number(0, 1000)
    replay_max_new_tokens: int = whole(1, 4096)
    replay_batch_size: int = whole(1, 4096)
    contrast_share: float = number(0, 10)
    contrast_rows: int = whole(0, 1_000_000)
    contrast_systems: tuple[str, ...] = texts()


@dataclass(frozen=True)
class Encoded:
    """One row as tokens. `reference` is its place among the references, TAUGHT for a correction."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    reference: int

    def columns(self) -> dict[str, Any]:
        """What the trainer reads: the loss counts where a label is not -100."""
        labels = [-100] * len(self.prompt) + list(self.answer)
        return {"input_ids": [*self.prompt, *self.answer], "labels": labels, "reference": self.reference}


def encode(tokenizer: Any, examples: Sequence[rows.Row], max_length: int) -> list[Encoded]:
    """The rows that fit into `max_length` tokens. A cut answer would teach to stop in mid-sentence."""
    encoded = [
        Encoded(
            tuple(rows.prompt_tokens(tokenizer, row.messages)),
            tuple(rows.answer_tokens(tokenizer, row.completion)),
            TAUGHT,
        )
        for row in examples
    ]
    return [row for row in encoded if len(row.prompt) + len(row.answer) <= max_length]


class EpochOrder(Sampler[int]):  # type: ignore[misc]  # torch is not followed by mypy
    """Every correction and a share of the replay pool, in an order that depends on the seed and the epoch alone."""

    def __init__(self, taught: Sequence[Encoded], pool: Sequence[Encoded], settings: Settings) -> None:
        self.lengths = [len(row.prompt) + len(row.answer) for row in [*taught, *pool]]
        self.taught, self.pool, self.settings, self.epoch = len(taught), len(pool), settings, 0
        self.replayed = min(len(pool), settings.replay_rows)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch, and after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.taught + self.replayed

    def __iter__(self) -> Iterator[int]:
        seed = self.settings.seed
        replayed = replay.drawn(self.pool, self.replayed, self.epoch, seed)
        chosen = [*range(self.taught), *(self.taught + index for index in replayed)]
        kinds = [int(index >= self.taught) for index in chosen]
        lengths = [self.lengths[index] for index in chosen]
        order = replay.batched(lengths, kinds, self.settings.batch_size, f"epoch {seed} {self.epoch}")
        return iter([chosen[place] for place in order])


def collate(examples: Sequence[Mapping[str, Any]], pad: int) -> dict[str, torch.Tensor]:
    """Pad on the left: answers then end together, and the output layer need only see the last columns."""
    width = max(len(example["input_ids"]) for example in examples)
    gaps = [width - len(example["input_ids"]) for example in examples]
    mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
    return {
        "input_ids": torch.tensor([[pad] * gap + e["input_ids"] for gap, e in zip(gaps, examples, strict=True)]),
        "attention_mask": mask,
        "position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0),
        "labels": torch.tensor([[-100] * gap + e["labels"] for gap, e in zip(gaps, examples, strict=True)]),
        "reference": torch.tensor([example["reference"] for example in examples]),
    }


class ReplayTrainer(SFTTrainer):  # type: ignore[misc]  # trl is not typed
    """SFTTrainer with another loss and another order of the rows; all the rest is its own."""

    def __init__(self, *args: Any, order: EpochOrder, hidden: Sequence[torch.Tensor], weight: float, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.order, self.hidden, self.weight = order, hidden, weight

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        return self.order

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """(CE of corrections + weight * KL(base || tuned) of replay) / answer tokens, in nats a token."""
        labels, references = inputs["labels"], inputs["reference"]
        width = int((labels != -100).sum(dim=1).max())  # answers end together, see `collate`
        # Named one by one: a slice is not contiguous, and on a CPU the output layer's weights would then be copied
        # once for each row of the batch.
        last = labels.shape[1] - 1
        positions = torch.arange(last - width, last, device=labels.device)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            position_ids=inputs["position_ids"],
            logits_to_keep=positions,
            use_cache=False,
        )
        answered = labels[:, -width:] != -100
        replayed = (references >= 0)[:, None].expand_as(answered)
        logits = outputs.logits.float()

        taught = answered & ~replayed
        ce = functional.cross_entropy(logits[taught], labels[:, -width:][taught], reduction="sum")
        total, held = ce, int((answered & replayed).sum())
        mode = "train" if self.model.training else "eval"
        if taught.any():
            self._metrics[mode]["ce"].append(ce.item() / int(taught.sum()))
        if held:
            hidden = torch.cat([self.hidden[index] for index in references.tolist() if index >= 0])
            with torch.no_grad():
                base = self.model.get_output_embeddings()(hidden.to(logits.device)).float().log_softmax(-1)
            tuned = logits[answered & replayed].log_softmax(-1)
            kl = functional.kl_div(tuned, base, reduction="sum", log_target=True)
            self._metrics[mode]["kl"].append(kl.item() / held)
            total = total + self.weight * kl
        count = answered.sum() if num_items_in_batch is None else num_items_in_batch
        # As in Trainer: the count is of all processes, and DDP averages their gradients.
        spread = self.accelerator.num_processes if num_items_in_batch is not None else 1
        return total / count * spread


class Progress(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Writes progress.json after every step: what `thumbwheel status` shows."""

    def __init__(self, path: Path, rows_per_step: int) -> None:
        self.path, self.rows_per_step = path, rows_per_step
        self.started, self.first_step = time.monotonic(), 0
        self.figures: dict[str, Any] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A resumed run's speed counts from here."""
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Steps log loss and KL, evaluations log the validation loss."""
        names = {"loss": "loss", "kl": "kl", "eval_loss": "validation_loss"}
        self.figures.update({names[key]: value for key, value in logs.items() if key in names})
        speed = (state.global_step - self.first_step) * self.rows_per_step / (time.monotonic() - self.started + 1e-9)
        self.write("training", step=state.global_step, steps=state.max_steps, epoch=state.epoch, rows_per_s=speed)

    def write(self, stage: str, **figures: Any) -> None:
        """One atomic replacement of the file. What is not known yet is null."""
        self.figures.update(figures)
        keys = ("step", "steps", "epoch", "loss", "kl", "validation_loss", "rows_per_s")
        checkpoints.write_json(self.path, {"stage": stage, **{key: self.figures.get(key) for key in keys}})


def load_model(folder: Path, attention: str) -> tuple[Any, Any]:
    """The base in bf16, on the GPU where there is one, and its tokenizer. Raises JobError: no chat model there."""
    if not (folder / "config.json").is_file():
        raise JobError(f"No model at {folder}: it holds no config.json. Give a transformers checkpoint's folder.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.bfloat16, attn_implementation=attention, local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise JobError(f"The model at {folder} cannot be loaded: {error}") from None
    if tokenizer.chat_template is None or tokenizer.eos_token_id is None:
        raise JobError("The model's tokenizer has no chat template or no end token. Give a chat model.")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def prepared(progress: Progress, total: int, before: int, done: int) -> None:
    """Report how many of the base's answers are there."""
    progress.write("preparing", step=before + done, steps=total)


def train(
    dataset: Path, model_folder: Path, out: Path, work: Path, settings: Settings, cache: Path | None = None
) -> None:
    """The whole recipe, from rows to an adapter. Raises JobError where rows or model will not do."""
    started = time.monotonic()
    os.nice(settings.niceness)
    torch.set_num_threads(settings.threads)

    # Rows: train and validation only; the test split is the gate's.
    examples = rows.read_rows(dataset, ("train", "validation"))
    train_rows = [row for row in examples if row.split == "train"]
    validation_rows = [row for row in examples if row.split == "validation"]
    for name, given, needed in (
        ("train", train_rows, settings.min_train_rows),
        ("validation", validation_rows, settings.min_validation_rows),
    ):
        if len(given) < needed:
            raise JobError(f"Too few {name} rows: {len(given)}, needed {needed}. Collect {needed - len(given)} more.")
    checkpoints.claim(work, {
        "rows": hashlib.sha256((dataset / ROWS).read_bytes()).hexdigest(),
        "model": str(model_folder.resolve()),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings))),
    })  # fmt: skip
    progress = Progress(work / "progress.json", settings.batch_size * settings.accumulation)
    progress.write("preparing")

    # The base, and what it says to replay and contrast prompts: asked once, kept for a resume, or for all runs.
    model, tokenizer = load_model(model_folder, settings.attention)
    references: list[replay.Reference] = []
    if settings.replay_rows:
        replay.refuse_scaled_logits(model.config)
        limit = min(settings.contrast_rows, round(settings.contrast_share * len(train_rows)))
        general = replay.read_prompts(Path(settings.replay_prompts))
        contrast = replay.contrasts(train_rows, settings.contrast_systems, limit, settings.seed)
        conditions = (
            replay.fingerprint(model_folder),
            settings.attention,
            settings.replay_max_new_tokens,
            settings.replay_batch_size,
            settings.threads,
        )
        for folder, prompts in ((cache or work, general), (work, contrast)):
            kept = folder / replay.references_name(prompts, *conditions)
            if not kept.exists():
                answered = replay.prepare(
                    model,
                    tokenizer,
                    prompts,
                    max_new_tokens=settings.replay_max_new_tokens,
                    batch=settings.replay_batch_size,
                    report=functools.partial(prepared, progress, len(general) + len(contrast), len(references)),
                )
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                replay.save_references(answered, kept)
            references += replay.load_references(kept)

    # Tokens.
    taught = encode(tokenizer, train_rows, settings.max_length)
    validation = encode(tokenizer, validation_rows, settings.max_length)
    if len(taught) < settings.min_train_rows or not validation:
        raise JobError(f"Too few rows fit into max_length: {settings.max_length} tokens. Raise it.")
    replayed = [Encoded(one.prompt, one.answer, index) for index, one in enumerate(references)]
    held = replay.held_out(references, settings.replay_validation_rows, settings.seed)
    pool = [row for row in replayed if row.reference not in held]
    order = EpochOrder(taught, pool, settings)
    steps_per_epoch = math.ceil(math.ceil(len(order) / settings.batch_size) / settings.accumulation)

    # trl's trainer with a fresh LoRA on all linear layers.
    trainer = ReplayTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(work / "checkpoints"),
            seed=settings.seed,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=math.ceil(settings.warmup_share * settings.epochs * steps_per_epoch),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.max_grad_norm,
            per_device_train_batch_size=settings.batch_size,
            per_device_eval_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulation,
            gradient_checkpointing=False,
            bf16=True,  # autocast: the adapter's weights and their steps stay in fp32
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            max_length=None,
            eval_strategy="epoch",
            save_strategy="epoch",
            save_total_limit=settings.max_checkpoints,
            load_best_model_at_end=True,
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            restore_callback_states_from_checkpoint=True,
            prediction_loss_only=True,
            logging_steps=1,
            logging_nan_inf_filter=False,
            report_to="none",
            disable_tqdm=True,
        ),
        data_collator=lambda batch: collate(batch, tokenizer.eos_token_id),
        train_dataset=Dataset.from_list([row.columns() for row in [*taught, *pool]]),
        eval_dataset=Dataset.from_list([row.columns() for row in [*validation, *(replayed[one] for one in held)]]),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
        callbacks=[
            EarlyStoppingCallback(early_stopping_patience=settings.patience),
            TensorBoardCallback(SummaryWriter(str(work / "tensorboard"))),
            progress,
        ],
        order=order,
        hidden=[one.hidden for one in references],
        weight=settings.replay_weight,
    )

    # Train, or go on.
    last = checkpoints.last_whole(work / "checkpoints")
    if last is None or not checkpoints.is_finished(checkpoints.trainer_state(last)):
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        last = checkpoints.last_whole(work / "checkpoints")
    if last is None:
        raise JobError("Training ended without a checkpoint.")

    # Hand over the best checkpoint; training.json last.
    progress.write("exporting")
    state = checkpoints.trainer_state(last)
    if state["best_model_checkpoint"] is None:
        raise JobError("Validation loss was never a number: training diverged. Lower learning_rate.")
    best = work / "checkpoints" / Path(state["best_model_checkpoint"]).name
    out.mkdir(parents=True, exist_ok=True)
    config = json.loads((best / ADAPTER[0]).read_text(encoding="utf-8"))
    checkpoints.write_json(out / ADAPTER[0], {**config, "base_model_name_or_path": model_folder.resolve().name})
    shutil.copyfile(best / ADAPTER[1], out / ADAPTER[1])
    checkpoints.write_json(out / "training.json", {
        "recipe": "sft",
        "settings": {**dataclasses.asdict(settings), "replay_prompts": Path(settings.replay_prompts).name},
        "seed": settings.seed,
        "rows": {
            "train": len(taught),
            "validation": len(validation),
            "too_long": len(examples) - len(taught) - len(validation),
            "replay": sum(not one.id.startswith(replay.CONTRAST) for one in references) - len(held),
            "replay_drawn": order.replayed,  # an epoch, of replay and contrast together
            "replay_validation": len(held),
            "contrast": sum(one.id.startswith(replay.CONTRAST) for one in references),
        },
        "epochs": checkpoints.by_epoch(state["log_history"]),
        "steps": state["global_step"],
        "checkpoint": {"step": state["best_global_step"], "validation_loss": state["best_metric"]},
        "versions": {name: importlib.metadata.version(name) for name in REPORTED},
        "seconds": round(time.monotonic() - started, 1),  # of this process; a resumed run's earlier ones not counted
    })  # fmt: skip
    progress.write("done")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m retrain.recipes.sft")
    for name in ("--dataset", "--model", "--out", "--work"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args(argv)
    os.umask(0o077)
    try:
        seed = {} if arguments.seed is None else {"seed": arguments.seed}
        settings = recipe_settings.read(Settings, DEFAULTS, arguments.config, seed, ("replay_prompts",))
        train(arguments.dataset, arguments.model, arguments.out, arguments.work, settings, arguments.cache)
    except ThumbwheelError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"The run cannot go on: {error}. Mend it and start it again: it goes on from there.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
