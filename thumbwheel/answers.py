"""Gross faults that an answer's text shows by itself: a pure function, the same for every language.

It knows nothing of right and wrong; a fluent lie passes. `degenerate` means loops, replacement characters, or scripts
mixed as no language mixes them.
"""

from __future__ import annotations

import unicodedata
import zlib

LOOP_CHARS = 80  # shorter texts cannot be told from legitimate repetition
LOOP_RATIO = 0.2  # a loop compresses to less than this share of its bytes; prose stays over 0.4
MOST_SCRIPTS = 4  # no language mixes the letters of more
REPLACEMENT_SHARE = 0.02
MIX_CHARS = 20


def flags(text: str, finish_reason: str | None) -> list[str]:
    """The faults of one answer, of `empty`, `truncated` and `degenerate`, in that order."""
    found = []
    if not text.strip():
        found.append("empty")
    if finish_reason == "length":
        found.append("truncated")
    if _loops(text) or _garbled(text):
        found.append("degenerate")
    return found


def _loops(text: str) -> bool:
    raw = text.encode("utf-8", "replace")
    return len(text) >= LOOP_CHARS and len(zlib.compress(raw, 6)) < LOOP_RATIO * len(raw)


def _garbled(text: str) -> bool:
    if not text:
        return False
    if text.count("\ufffd") > REPLACEMENT_SHARE * len(text):
        return True
    letters = [char for char in text if char.isalpha()]
    if len(letters) < MIX_CHARS:
        return False
    # The first word of a letter's Unicode name is its script: LATIN, CJK, HIRAGANA, CYRILLIC. Japanese mixes three.
    return len({unicodedata.name(char, "?").split()[0] for char in letters}) > MOST_SCRIPTS
