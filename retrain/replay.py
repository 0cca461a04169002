"""What keeps a tuned model from forgetting: replay rows, contrast rows, and what the base says to them.

Replay rows are general prompts. Contrast rows are texts that are being taught, under other system prompts than those
they are taught with. To both the base answers once, greedily; its last hidden states at the answer's positions are
kept, and the frozen output layer makes its exact distribution of them again. Training then holds the tuned model to
that distribution by KL divergence over the whole vocabulary (see recipes/sft.py).

The choice of rows is pure: same rows, same seed, same choice. The module does not know about models that scale or cap
their logits after the output layer; `refuse_scaled_logits` names them.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from retrain.rows import Message, Row, prompt_tokens
from thumbwheel.errors import JobError

FORMAT = "2"
CONTRAST = "contrast-"  # what a contrast row's id begins with


@dataclass(frozen=True)
class Prompt:
    """A prompt whose answer must stay the base's."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Reference:
    """What the base says: the prompt's and the answer's tokens, and the last hidden states that predict the answer.

    `hidden` is [answer tokens, hidden size], row i being the state from which answer token i is predicted.
    """

    id: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    hidden: torch.Tensor


def read_prompts(path: Path) -> tuple[Prompt, ...]:
    """General prompts, one `{"id", "prompt"}` a line. Raises JobError where there is none, or a line is not one."""
    if not path.is_file():
        raise JobError(f"No replay prompts at {path}. Name a file with one {{id, prompt}} a line in `replay_prompts`.")
    prompts = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            prompt = Prompt(str(value["id"]), ({"role": "user", "content": value["prompt"]},))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise JobError(f"{path.name} line {number} is not {{id, prompt}}: {error!r}") from None
        prompts.append(prompt)
    return tuple(prompts)


def contrasts(rows: Sequence[Row], systems: Sequence[str], limit: int, seed: int) -> tuple[Prompt, ...]:
    """At most `limit` taught texts, each once, under a system prompt that no taught row has (none at all is one too).

    They tell the model what it is that calls for the new behaviour. Where the taught rows use every choice there is
    nothing to contrast with, and the answer is empty.
    """
    taught = {system_of(row) for row in rows}
    others = [system for system in (None, *systems) if system not in taught]
    if not others:
        return ()
    chosen = random.Random(f"contrast {seed}").sample(range(len(rows)), min(limit, len(rows)))
    return tuple(
        Prompt(f"{CONTRAST}{rows[index].id}", _under(rows[index].messages, others[turn % len(others)]))
        for turn, index in enumerate(sorted(chosen))
    )


def system_of(row: Row) -> str | None:
    """The row's system prompt, None where it has none."""
    first = row.messages[0]
    return first["content"] if first["role"] == "system" else None


def _under(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    turns = tuple(message for message in messages if message["role"] != "system")
    return turns if system is None else ({"role": "system", "content": system}, *turns)


def held_out(references: Sequence[Reference], count: int, seed: int) -> tuple[int, ...]:
    """The places of `count` replay rows that are kept for validation: at most a quarter of them, no contrast row."""
    general = [place for place, one in enumerate(references) if not one.id.startswith(CONTRAST)]
    return tuple(sorted(random.Random(f"held out {seed}").sample(general, min(count, len(general) // 4))))


def drawn(size: int, count: int, epoch: int, seed: int) -> tuple[int, ...]:
    """`count` of `size` rows for this epoch (fewer where there are fewer), every row as often as any other.

    The pool is dealt out like a pack of cards that is shuffled anew each time it runs out, so no row waits long.
    """
    count = min(count, size)
    if count == 0:
        return ()
    first = epoch * count
    cards: list[int] = []
    for deal in range(first // size, (first + count - 1) // size + 1):
        pack = list(range(size))
        random.Random(f"deal {seed} {deal}").shuffle(pack)
        cards.extend(pack)
    start = first % size
    return tuple(sorted(cards[start : start + count]))


def batched(lengths: Sequence[int], kinds: Sequence[int], size: int, seed: str) -> list[int]:
    """An order of the rows in which each `size` in turn make a good batch: alike in length, every kind in its share.

    `lengths` are in tokens, `kinds` any labels. Rows are ranked by length within their kind, with a little noise so
    that epochs differ; equal ranks come together. Whole batches are shuffled, a last partial one stays last.
    """
    dice = random.Random(seed)
    rank: dict[int, float] = {}
    for kind in sorted(set(kinds)):
        members = [row for row in range(len(lengths)) if kinds[row] == kind]
        members.sort(key=lambda row: (lengths[row] * dice.uniform(0.9, 1.1), row))
        rank.update({row: (place + 0.5) / len(members) for place, row in enumerate(members)})
    order = sorted(range(len(lengths)), key=lambda row: (rank[row], row))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    partial = [batches.pop()] if batches and len(batches[-1]) < size else []
    dice.shuffle(batches)
    return [row for batch in [*batches, *partial] for row in batch]


def refuse_scaled_logits(config: Any) -> None:
    """Raise JobError where hidden states and the output layer alone do not give the model's logits."""
    text = config.get_text_config()
    for key in ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier"):
        if getattr(text, key, None) not in (None, 1, 1.0):
            raise JobError(f"Replay does not know models with `{key}` in their configuration. Set replay_rows to 0.")


def prepare(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    batch: int,
    report: Callable[[int], None],
) -> tuple[Reference, ...]:
    """Ask the base every prompt, greedily; `report` is told how many are done after each batch.

    The model must be the base alone, without an adapter. Deterministic for one model, one batch size and one number of
    threads. References come in the order of the prompts.
    """
    rendered = [prompt_tokens(tokenizer, prompt.messages) for prompt in prompts]
    by_length = sorted(range(len(prompts)), key=lambda index: (len(rendered[index]), index))
    references: dict[int, Reference] = {}
    for start in range(0, len(by_length), batch):
        indices = by_length[start : start + batch]
        answers, states = _greedy(model, tokenizer, [rendered[index] for index in indices], max_new_tokens)
        for index, answer, hidden in zip(indices, answers, states, strict=True):
            references[index] = Reference(prompts[index].id, tuple(rendered[index]), tuple(answer), hidden)
        report(len(references))
    return tuple(references[index] for index in range(len(prompts)))


def _greedy(
    model: Any, tokenizer: Any, prompts: Sequence[list[int]], max_new_tokens: int
) -> tuple[list[list[int]], list[torch.Tensor]]:
    """The answers, and for each the last hidden states that its tokens were chosen from."""
    width = max(len(prompt) for prompt in prompts)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    with torch.inference_mode():
        generated = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
    configured = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
    answers = [_ended(row, ends) for row in generated.sequences[:, width:].tolist()]
    # One entry a step, of all layers' states; the first step's hold the whole prompt.
    last = torch.stack([layers[-1][:, -1] for layers in generated.hidden_states], dim=1)
    return answers, [row[: len(answer)].clone().cpu() for row, answer in zip(last, answers, strict=True)]


def _ended(answer: list[int], ends: set[int]) -> list[int]:
    """The answer up to and with its first end token; padding after it falls away."""
    for place, token in enumerate(answer):
        if token in ends:
            return answer[: place + 1]
    return answer


def fingerprint(model_folder: Path) -> str:
    """The sha256 of everything in a checkpoint's folder that its answers depend on: 1 s for each 300 MB or so."""
    digest = hashlib.sha256()
    for path in sorted(model_folder.iterdir()):
        if path.suffix in {".json", ".jinja", ".safetensors", ".model", ".txt"}:
            digest.update(path.name.encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def references_name(prompts: Sequence[Prompt], *conditions: object) -> str:
    """A file name for the base's answers to these prompts; `conditions` are all else that they depend on."""
    said = [[prompt.id, *(dict(message) for message in prompt.messages)] for prompt in prompts]
    key = hashlib.sha256(json.dumps([FORMAT, said, [str(one) for one in conditions]]).encode()).hexdigest()
    return f"references-{key[:32]}.safetensors"


def save_references(references: Sequence[Reference], path: Path) -> None:
    """Write all references to one safetensors file, in one step: it is there whole or not at all."""
    tensors = {f"{index}": reference.hidden.contiguous() for index, reference in enumerate(references)}
    rows = [{"id": r.id, "prompt": list(r.prompt), "answer": list(r.answer)} for r in references]
    unfinished = path.with_suffix(f".{os.getpid()}")  # two runs may fill one cache at a time
    save_file(tensors, unfinished, metadata={"format": FORMAT, "rows": json.dumps(rows)})
    os.replace(unfinished, path)


def load_references(path: Path) -> tuple[Reference, ...]:
    """Read what `save_references` wrote, bit for bit."""
    with safe_open(path, framework="pt") as file:
        rows = json.loads(file.metadata()["rows"])
        return tuple(
            Reference(row["id"], tuple(row["prompt"]), tuple(row["answer"]), file.get_tensor(f"{index}"))
            for index, row in enumerate(rows)
        )
