"""The files of a frozen dataset, by name, and how a line of them is written: the same value makes the same bytes.

feedback/ writes them, retrain/ reads them, thumbwheel/erasing writes what is left of them. What lines say is theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

ROWS, CARD, REASONS = "rows.jsonl", "card.json", "reasons.jsonl"


def line(value: Mapping[str, object]) -> bytes:
    """The value as one line of JSON, keys in order, with its line feed. Raises UnicodeEncodeError for half a letter."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
