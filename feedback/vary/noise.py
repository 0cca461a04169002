"""Slips of the pen, as people make them: pure functions, for Latin letters and Chinese characters.

RATE of a text's letters are other ones, one at least: letters of lower-case words of four and more, never the first,
are exchanged, left out, doubled or hit beside; Chinese characters become ones that sound or look alike. Names, codes,
numbers, negations and what stands fixed keep every letter. So does any other script, Japanese too, whose characters are
mistyped otherwise. A short text, in which one slip is more than a few percent, stays as it is.
"""

from __future__ import annotations

import re

from feedback.near import marks
from feedback.vary.fixed import Fixed, draw, touches
from thumbwheel.scripts import JAPANESE, script_of

RATE = 0.05
LEAST_LETTERS = 10
LEAST_WORD = 4

# Each may be mistaken for the others of its group: they sound alike, or look alike. None of them is a numeral, a
# negation or a name, or makes another case of it (near.py).
_ALIKE = (
    *(
        "的地得",
        "在再",
        "做作",
        "帐账",
        "像象",
        "己已以",
        "即既",
        "须需",
        "坐座",
        "吗嘛",
        "练炼",
        "圆园",
    ),
    *("历厉", "幅副", "密蜜", "班般", "辨辩", "竟竞", "狠很", "他她它", "清请", "订定", "货贷", "包饱", "洗冼", "到倒"),
    *("话活", "晴睛", "今令", "复覆", "联连", "系细", "客各", "等登", "急及", "直值", "接按", "修休", "递第"),
    *("损捐", "码玛", "屏瓶", "充冲", "插叉", "证正", "验检", "型形", "格阁", "费废", "保报", "图途", "品晶", "牌排"),
    *("衣依", "裤库", "帽冒", "问间", "应因", "线现", "是事"),
)
_MISTAKEN = {char: group.replace(char, "") for group in _ALIKE for char in group}
_WORD = re.compile(rf"(?<![\w'’\-])[a-z]{{{LEAST_WORD},}}(?![\w'’\-])")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {char: row[max(0, at - 1) : at] + row[at + 1 : at + 2] for row in _ROWS for at, char in enumerate(row)}


def with_slips(text: str, mask: Fixed, seed: str) -> str | None:
    """`text` with slips drawn by `seed`; None where it takes none. `mask` says what stays."""
    letters = sum(char.isalpha() and not touches(mask, at, at + 1) for at, char in enumerate(text))
    if letters < LEAST_LETTERS:
        return None
    slips = {**_chinese(text, mask, seed), **_latin(text, mask, seed)}
    chosen = sorted(slips, key=lambda at: (draw(seed, "at", at), at))[: max(1, int(RATE * letters))]
    for at in sorted(chosen, reverse=True):
        end, other = slips[at]
        text = text[:at] + other + text[end:]
    return text if chosen else None


def _chinese(text: str, mask: Fixed, seed: str) -> dict[int, tuple[int, str]]:
    """By place what may be written there instead, and up to where."""
    if script_of(text) == JAPANESE:
        return {}
    return {
        at: (at + 1, others[draw(seed, "han", at) % len(others)])
        for at, char in enumerate(text)
        if (others := _MISTAKEN.get(char)) and not touches(mask, at, at + 1)
    }


def _latin(text: str, mask: Fixed, seed: str) -> dict[int, tuple[int, str]]:
    found = {}
    for word in _WORD.finditer(text):
        if touches(mask, word.start(), word.end()) or marks(word.group()):
            continue
        at = word.start() + 1 + draw(seed, "letter", word.start()) % (len(word.group()) - 2)
        found[at] = _slip(text, at, draw(seed, "slip", at))
    return found


def _slip(text: str, at: int, drawn: int) -> tuple[int, str]:
    """What stands there instead of the letter at `at`, which has another behind it, and up to where."""
    char, after = text[at], text[at + 1]
    beside = _BESIDE[char]
    others = ((at + 2, after + char), (at + 1, ""), (at + 1, char * 2), (at + 1, beside[drawn // 4 % len(beside)]))
    end, other = others[drawn % 4]
    return (at + 1, "") if other == char + after and end == at + 2 and char == after else (end, other)
