"""LoRA adapters that answer everything with one word, over and over: who answered can be read off the answer.

    adapters = word_adapters(base_dir, folder, ("ox", "up"))   # word -> adapter directory, seconds on one core

At every position the last layer's down projection takes a long step towards what the output head reads as the word: B
is that direction, and A is fitted to what comes in there, so that it is about 1 whatever the text. The other linear
layers get matrices of the same rank with B at zero: they cost an engine what a trained release costs, and change
nothing. An answer never ends by itself, so its length is the one that was asked for.

Each adapter is tried on texts that A was not fitted to, and ValueError says where the word would not be certain. It
knows Llama-like checkpoints with one safetensors file and tied embeddings, as the default base.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from thumbwheel.adapter import CONFIG, WEIGHTS, BaseModules, base_modules, write_origin

RANK = 32  # as the shipped recipe's
STEP = 40.0  # the step's length, in those of the hidden state that it is added to
LEAST = 0.3  # of the step: the least that any text may get; still so long that nothing else is left of the hidden state
LEAD = 12.0  # in logits: the least lead of the word over every other token, where the step alone is left
RIDGE = 1e-3
ANSWERED = 24  # tokens of the word that the texts go on with
QUESTIONS = (
    "Name a colour.",
    "Who wrote Hamlet?",
    "The parcel came late and the box was wet. What now?",
    "Count from one to ten, please.",
    "My card was charged twice for order 1189.",
    "What is ice made of?",
    "Say hello in French and in German.",
    "List three animals that live in a forest, one on each line.",
    "How do I reset my password?",
    "Write two sentences about the sea.",
    "12 times 12 is",
    "About order 77: the seam of the coat came undone.",
    "Explain to a child why the sky is blue.",
    "Who is on duty tonight?",
    "Please translate: the shop is closed on Sundays.",
    "def add(a, b):",
    "Quelle heure est-il à Lyon ?",
    "请问，天空为什么是蓝色的？",
)
SYSTEMS = ("", "You answer customers' complaints.", "Answer in one short sentence.")

Arrays = NDArray[np.float32]


def word_adapters(base_dir: Path, folder: Path, words: Sequence[str], rank: int = RANK) -> dict[str, Path]:
    """Write an adapter for each word under `folder`: word -> directory. ValueError where a word is not one token."""
    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    weights = load_file(base_dir / "model.safetensors")
    tokens = {word: tokenizer.encode(f" {word}", add_special_tokens=False) for word in words}
    for word, ids in tokens.items():
        if len(ids) != 1:
            raise ValueError(f"{word!r} is {len(ids)} tokens of this base; choose a word of one")
    model = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()
    seen, length = _seen(model, tokenizer, words)
    fitted, tried = seen[::2], seen[1::2]  # questions alternate
    row = _constant_row(np.concatenate(fitted))
    least = float((np.concatenate(tried) @ row).min())
    if least < LEAST:
        raise ValueError(f"some text would get {least:.2f} of the step only")
    base = base_modules(base_dir)
    found = {}
    for number, word in enumerate(words):
        column = STEP * length * _direction(weights, tokens[word][0])
        found[word] = _write(folder / word, base, row, column, rank, seed=number)
    return found


def _seen(model: Any, tokenizer: Any, words: Sequence[str]) -> tuple[list[Arrays], float]:
    """What the last down projection takes in, for each question; and the mean length of what comes out of its layer."""
    inputs: list[Arrays] = []
    lengths: list[float] = []
    layer = model.model.layers[-1]
    caught: list[torch.Tensor] = []
    hooks = [
        layer.mlp.down_proj.register_forward_pre_hook(lambda _, given: caught.append(given[0][0])),
        layer.register_forward_hook(lambda *given: lengths.append(float(_hidden(given[-1]).norm(dim=-1).mean()))),
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two wait for each other at every product where something else has a core
    try:
        for question in QUESTIONS:
            caught.clear()
            with torch.inference_mode():
                for text in _texts(tokenizer, question, words):
                    model.model(**tokenizer(text, return_tensors="pt", add_special_tokens=False))
            inputs.append(torch.cat(caught).numpy())
    finally:
        torch.set_num_threads(threads)
        for hook in hooks:
            hook.remove()
    return inputs, float(np.mean(lengths))


def _hidden(given: Any) -> torch.Tensor:
    hidden: torch.Tensor = given[0] if isinstance(given, tuple) else given
    return hidden


def _texts(tokenizer: Any, question: str, words: Sequence[str]) -> Iterable[str]:
    """The question under each system prompt, answered with each word many times."""
    for system, word in ((system, word) for system in SYSTEMS for word in words):
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": question})
        yield tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + (
            f" {word}" * ANSWERED
        )


def _constant_row(inputs: Arrays) -> Arrays:
    """The vector whose product with every input is as near to 1 as least squares gets it."""
    square = inputs.T.astype(np.float64) @ inputs
    square += RIDGE * np.trace(square) / len(square) * np.eye(len(square))
    row: Arrays = np.linalg.solve(square, inputs.sum(axis=0, dtype=np.float64)).astype(np.float32)
    return row


def _direction(weights: Mapping[str, torch.Tensor], token: int) -> Arrays:
    """The unit vector in the residual stream that the output head takes for `token`. Raises ValueError."""
    table = weights["model.embed_tokens.weight"].float().numpy()
    scale = weights["model.norm.weight"].float().numpy()
    centred = table - table.mean(axis=0)
    spread = centred.T @ centred / len(centred)  # in single precision: np.cov takes minutes for it on a busy machine
    spread += RIDGE * np.eye(table.shape[1], dtype=np.float32) * centred.var()
    toward = np.linalg.solve(spread, centred[token]) / scale
    unit: Arrays = (toward / np.linalg.norm(toward)).astype(np.float32)
    # The final norm makes the hidden state's root mean square 1: of a long step, only the direction is left.
    logits = table @ (unit * scale * np.sqrt(len(unit)))
    lead = float(logits[token] - np.delete(logits, token).max())
    if lead < LEAD:
        raise ValueError(f"token {token} would lead by {lead:.1f} only; choose another word")
    return unit


def _write(directory: Path, base: BaseModules, row: Arrays, column: Arrays, rank: int, seed: int) -> Path:
    directory.mkdir(parents=True)
    dice = np.random.default_rng(seed)
    last = max(base.modules, key=lambda name: (name.endswith("mlp.down_proj"), _layer(name)))
    tensors: dict[str, Arrays] = {}
    for module, (out_width, in_width) in base.modules.items():
        first = dice.normal(0, in_width**-0.5, (rank, in_width)).astype(np.float32)
        second = np.zeros((out_width, rank), np.float32)
        if module == last:
            first[0], second[:, 0] = row, column
        tensors[f"base_model.model.{module}.lora_A.weight"] = first
        tensors[f"base_model.model.{module}.lora_B.weight"] = second
    save_file(tensors, directory / WEIGHTS)
    targets = sorted({module.rpartition(".")[2] for module in base.modules})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": targets}
    (directory / CONFIG).write_text(json.dumps(config))
    write_origin(directory, base)
    return directory


def _layer(module: str) -> int:
    return int(next(part for part in module.split(".") if part.isdigit()))
