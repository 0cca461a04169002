"""Reads a dataset artifact's rows: one JSON object a line in `rows.jsonl`.

Rows of kind `sft` are read and no others: nothing is trained on or judged by a thumb without a correction (`kto`) yet.
It knows nothing of how rows were chosen, and nothing of any model; only `prompt_tokens` and `answer_tokens` ask a
tokenizer.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thumbwheel.dataset_files import ROWS
from thumbwheel.errors import JobError

SPLITS = ("train", "validation", "test")
SFT, KTO = "sft", "kto"
KINDS = (SFT, KTO)
AUGMENTED = "augmented"

Message = Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One example: the turns up to the user's last, the answer a person accepted, and its group and split."""

    id: str
    messages: tuple[Message, ...]
    completion: str
    group: str
    split: str
    augmented: bool = False  # made of another row: trained on, and no case that anybody corrected


def read_rows(dataset: Path, splits: Collection[str]) -> tuple[Row, ...]:
    """The `sft` rows of the named splits, in the file's order. Other rows are not looked into.

    Raises JobError where the folder is no dataset or a line is no row; the message names the line.
    """
    found = _lines(dataset)
    return tuple(_row(value, number) for number, value in found if _kind(value) == SFT and value["split"] in splits)


def kinds(dataset: Path) -> dict[str, int]:
    """How many rows of each kind the dataset holds, of all splits. Raises JobError as `read_rows` does.

    Rows that were augmented are trained on as `sft` rows, and are counted apart from them.
    """
    counts = Counter(AUGMENTED if value.get(AUGMENTED) else _kind(value) for _, value in _lines(dataset))
    return {kind: counts[kind] for kind in (*KINDS, AUGMENTED)}


def _lines(dataset: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each row with its line's number."""
    path = dataset / ROWS
    if not path.is_file():
        raise JobError(f"{dataset} is no dataset: it holds no {ROWS}. Give the folder of a frozen dataset.")
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            value = _decoded(line, number)
            for key, known, default in (("split", SPLITS, None), ("kind", KINDS, SFT)):
                if value.get(key, default) not in known:
                    raise JobError(f"{ROWS} line {number}: {key} is {value.get(key)!r}; expected one of {known}.")
            yield number, value


def _kind(value: Mapping[str, Any]) -> str:
    return str(value.get("kind", SFT))


def _decoded(line: str, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise JobError(f"{ROWS} line {number} is not JSON ({error}). The dataset is damaged: freeze it anew.") from None
    if not isinstance(value, dict):
        raise JobError(f"{ROWS} line {number} is no JSON object. The dataset is damaged: freeze it anew.")
    return value


def _row(value: Mapping[str, Any], number: int) -> Row:
    missing = [key for key in ("id", "messages", "completion") if not value.get(key)]
    if missing:
        raise JobError(f"{ROWS} line {number} lacks {', '.join(missing)}.")
    messages = value["messages"]
    if not isinstance(messages, list) or not all(_is_message(message) for message in messages):
        raise JobError(f"{ROWS} line {number}: messages must be a list of {{role, content}} with text in both.")
    if messages[-1]["role"] != "user":
        raise JobError(f"{ROWS} line {number}: the last message must be the user's.")
    if not isinstance(value["completion"], str):
        raise JobError(f"{ROWS} line {number}: completion must be text.")
    return Row(
        id=str(value["id"]),
        messages=tuple({"role": message["role"], "content": message["content"]} for message in messages),
        completion=value["completion"],
        group=str(value.get("group", value["id"])),
        split=value["split"],
        augmented=bool(value.get(AUGMENTED)),
    )


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("role"), str) and isinstance(value.get("content"), str)


def prompt_tokens(tokenizer: Any, messages: Collection[Message]) -> list[int]:
    """The prompt as an engine renders it: the chat template up to where the assistant's answer begins."""
    rendered = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    return list(tokenizer(rendered, add_special_tokens=False)["input_ids"])


def answer_tokens(tokenizer: Any, completion: str) -> list[int]:
    """The answer as an engine would generate it: its tokens, then the one that ends the turn."""
    return [*tokenizer(completion, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
