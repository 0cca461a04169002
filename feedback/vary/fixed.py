"""What of a question no variation touches: pure functions.

Placeholders, code, addresses of mails and pages, and the strings of the house that are never redacted. It knows code by
its form alone: fences, backticks, brackets and signs of assignment, a line that is set in.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

Fixed = bytes
"""Of each character of a text, 1 where it stays and 0 where it may be another."""

_FIXED = (
    re.compile(r"\[[A-Z_]+(?:_\d+)?\]"),  # placeholders
    re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL),
    re.compile(r"`[^`\n]*`"),
    re.compile(r"^.*(?:[{}<>=|]|[A-Za-z0-9_]\(|;[ \t]*$).*$", re.MULTILINE),  # a line of code
    re.compile(r"^(?: {4}|\t|[ \t]*(?:#|//|--|\$ |>>>|def |import |class |SELECT )).*$", re.MULTILINE),
)
_WORD = re.compile(r"[!-~]+")
_SIGNS = re.compile(r"[_#$%^&~|<>{}=@\\]|://|/.*/|^www\.")  # of an address, a path or a name in code


def standing(house: Iterable[str]) -> re.Pattern[str] | None:
    """What finds the strings that stay wherever they are; None where there are none."""
    texts = sorted(set(house), key=lambda text: (-len(text), text))
    return re.compile("|".join(map(re.escape, texts)), re.IGNORECASE) if texts else None


def fixed(text: str, house: re.Pattern[str] | None = None) -> Fixed:
    """What of `text` stays."""
    mask = bytearray(len(text))
    patterns = _FIXED if house is None else (*_FIXED, house)
    found = [one.span() for pattern in patterns for one in pattern.finditer(text)]
    found += [one.span() for one in _WORD.finditer(text) if _SIGNS.search(one.group())]
    for start, end in found:
        mask[start:end] = b"\1" * (end - start)
    return bytes(mask)


def touches(mask: Fixed, start: int, end: int) -> bool:
    """Whether any of [start, end) stays."""
    return 1 in mask[start:end]


def draw(*of: object) -> int:
    """A number that looks drawn, the same for the same values on every machine."""
    return int.from_bytes(hashlib.blake2b("\0".join(map(str, of)).encode(), digest_size=8).digest(), "big")
