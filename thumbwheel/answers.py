"""Gross faults that an answer's text shows by itself: a pure function, the same for every language.

It knows nothing of right and wrong; a fluent lie passes. `degenerate` means loops, replacement characters, or scripts
mixed as no language mixes them.

Scripts that one language writes together count as one (kanji, kana, bopomofo), and what is of no language's own counts
as none: units and formulae (µ, kΩ, Δt), mathematical alphabets, marks of length and accent, the letters in faces. A
list of languages by their own names is no mixture: signs part them. Words of four languages unparted in one clause are
one, unless most of it is in one of them.
"""

from __future__ import annotations

import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

LOOP_CHARS = 80  # shorter texts cannot be told from legitimate repetition
LOOP_RATIO = 0.2  # a loop compresses to less than this share of its bytes; prose stays over 0.4
MOST_SCRIPTS = 4  # in a text that signs do not part into languages
MOST_IN_A_CLAUSE = 3
MOST_TOLD_APART = 2  # in a clause of a list: 日本語 Japanese
REPLACEMENT_SHARE = 0.02
MIX_CHARS = 20
SYMBOL = 2  # Greek letters in a row that are a symbol and no word

_HAN = "HAN"  # with what Chinese and Japanese write beside it
_HANGUL = "HANGUL"
_LONE = frozenset({_HAN, _HANGUL})  # one letter is a word
_TOGETHER = {
    "CJK": _HAN,
    "HIRAGANA": _HAN,
    "KATAKANA": _HAN,
    "HENTAIGANA": _HAN,
    "BOPOMOFO": _HAN,
    "IDEOGRAPHIC": _HAN,
    "MASU": _HAN,
}


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
    if not text or text.isascii():
        return False
    if text.count("\ufffd") > REPLACEMENT_SHARE * len(text):
        return True
    clauses = [counts for counts in _by_clause(text) if counts]
    scripts = sum(clauses, Counter())
    if scripts.total() < MIX_CHARS:
        return False
    if len(scripts) > MOST_SCRIPTS and any(len(counts) > MOST_TOLD_APART for counts in clauses):
        return True
    return any(len(counts) > MOST_IN_A_CLAUSE and max(counts.values()) <= counts.total() // 2 for counts in clauses)


def _by_clause(text: str) -> Iterator[Counter[str]]:
    """How many letters of each script are in words, for every part of `text` between two signs."""
    counts: Counter[str] = Counter()
    for script, length, joined in _runs(text):
        if script is None:
            yield counts
            counts = Counter()
        elif not _is_symbol(script, length, joined):
            counts[script] += length
    yield counts


def _is_symbol(script: str, length: int, joined: bool) -> bool:
    if script == "GREEK":
        return length <= SYMBOL
    return length == 1 and not joined and script not in _LONE


def _runs(text: str) -> Iterator[tuple[str | None, int, bool]]:
    """Letters of one script in a row: which, how many, and whether letters of another touch them; None for a sign."""
    script: str | None = None
    length, joined = 0, False
    for char in text:
        kind = _kind(char)
        if kind in (_MARK, script):
            length += kind == script
            continue
        letter = kind not in (_SIGN, _BLANK)
        if script is not None:
            yield script, length, joined or letter
        if kind == _SIGN:
            yield None, 0, False
        joined = letter and script is not None
        script, length = (kind, 1) if letter else (None, 0)
    if script is not None:
        yield script, length, joined


_MARK, _SIGN, _BLANK = "mark", "sign", "blank"


@lru_cache(maxsize=8192)
def _kind(char: str) -> str:
    """A letter's script, or what the character is else."""
    # Full-width, half-width, mathematical and raised letters are letters of a script too.
    usual = unicodedata.normalize("NFKC", char)[:1]
    if unicodedata.category(char) in ("Lm", "Cf") or unicodedata.category(usual).startswith("M"):
        return _MARK  # ー, 々, ʰ, vowel signs, joiners: they go with what they stand beside
    if usual.isalpha():
        name = unicodedata.name(usual, "?").split()[0]
        return _TOGETHER.get(name, name)
    return _BLANK if usual in " \t\xa0" or usual.isdigit() else _SIGN
