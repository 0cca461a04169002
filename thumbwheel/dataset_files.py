"""The files of a frozen dataset, by name, and how a line of them is written: the same value makes the same bytes.

feedback/ writes them, retrain/ reads them, thumbwheel/erasing writes what is left of them. What lines say is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROWS, CARD, REASONS = "rows.jsonl", "card.json", "reasons.jsonl"
TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")
SFT, KTO = "sft", "kto"
"""What a line is: a correction, or a thumb without one. Lines of other wordings have the key `augmented` beside it."""


def place_of(folder: Path, feedback: str) -> dict[str, Any] | None:
    """The line of `reasons.jsonl` of a feedback that is no row; None where it has none, or the file is not there."""
    key = json.dumps(feedback).encode()
    try:
        with (folder / REASONS).open("rb") as lines:
            found: dict[str, Any] | None = next((json.loads(one) for one in lines if b'"feedback":' + key in one), None)
    except FileNotFoundError:
        return None
    return found


def line(value: Mapping[str, object]) -> bytes:
    """The value as one line of JSON, keys in order, with its line feed. Raises UnicodeEncodeError for half a letter."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
