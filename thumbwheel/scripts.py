"""In which script a text is written, and so roughly in which language: a pure function that counts letters."""

from __future__ import annotations

import unicodedata
from collections import Counter

JAPANESE, CHINESE, KOREAN, THAI, LATIN, OTHER = "ja", "zh", "ko", "th", "latin", "other"
NONE = "none"  # no letter at all

LOOKED_AT = 2_000  # characters: the beginning of a text says it
HAN_WEIGHT = 3  # one says as much as so many letters
KANA_SHARE = 0.1  # of kana among kana and Han: a の in a Chinese shop's name makes nothing Japanese

# What Unicode's names of letters begin with, and what becomes of it; any other is called by its first word.
_NAMED = {
    "CJK": CHINESE,
    "HIRAGANA": JAPANESE,
    "KATAKANA": JAPANESE,
    "KATAKANA-HIRAGANA": JAPANESE,  # ー
    "HALFWIDTH": JAPANESE,
    "HANGUL": KOREAN,
    "THAI": THAI,
    "LATIN": LATIN,
    "FULLWIDTH": LATIN,
}
_KNOWN = frozenset({"cyrillic", "greek", "arabic", "hebrew", "devanagari", "bengali", "tamil", "armenian", "georgian"})


def script_of(text: str) -> str:
    """`zh`, `ja`, `ko`, `th`, `latin`, `cyrillic`, `arabic` and the like, `other`, or `none`: what most of it is in."""
    counts = Counter(_script(char) for char in text[:LOOKED_AT] if char.isalpha())
    han, kana = counts[CHINESE], counts[JAPANESE]
    counts[CHINESE] = han * HAN_WEIGHT
    if kana and kana >= KANA_SHARE * (kana + han):
        counts[JAPANESE], counts[CHINESE] = kana + han * HAN_WEIGHT, 0
    return max(sorted(counts), key=lambda script: counts[script]) if counts.total() else NONE


def _script(char: str) -> str:
    first = unicodedata.name(char, "").partition(" ")[0]
    return _NAMED.get(first) or (first.lower() if first.lower() in _KNOWN else OTHER)
