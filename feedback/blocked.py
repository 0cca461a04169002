"""Terms that no answer may hold: the built-in list and the channel's own. Answers only; a complaint may swear.

Terms are compared as `clean.compared` does. One that begins or ends with a letter of a script with blanks between words
matches whole words only; Chinese, Japanese and Thai terms match anywhere, blanks inside left out. What the channel
allows stands, also where it holds a term.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from feedback.clean import compared

# Abuse that no house says to its customers. Words that only some readers mind are the channel's to name.
BUILT_IN = (
    "fuck", "fucking", "fucked", "fucker", "motherfucker", "bullshit", "shitty", "asshole", "arsehole",
    "cunt", "dickhead",
    "son of a bitch", "wanker", "twat", "faggot", "nigger", "retard", "kill yourself", "go to hell", "stfu",
    "傻逼", "傻屄", "煞笔", "操你妈", "操你大爷", "草泥马", "去你妈的", "你妈逼", "狗娘养的", "王八蛋", "滚犊子",
    "婊子", "脑残",
    "智障东西", "妈了个逼", "日你妈", "你去死", "艹你", "他妈的混蛋", "贱人", "死全家",
)  # fmt: skip
# Scripts whose words no blank parts.
_UNPARTED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = re.compile(rf"(?<=[{_UNPARTED}]) (?=[{_UNPARTED}])")


def blocking(terms: Iterable[str]) -> re.Pattern[str]:
    """A pattern of the built-in terms and `terms`, for `holds_blocked`."""
    wanted = sorted({_folded(term) for term in (*BUILT_IN, *terms)} - {""}, key=lambda term: (-len(term), term))
    return re.compile("|".join(map(_whole, wanted)))


def _whole(term: str) -> str:
    head = "" if re.match(rf"[{_UNPARTED}\W]", term[0]) else rf"(?<![^\W{_UNPARTED}])"
    tail = "" if re.match(rf"[{_UNPARTED}\W]", term[-1]) else rf"(?![^\W{_UNPARTED}])"
    return head + re.escape(term) + tail


def _folded(text: str) -> str:
    return _JOINED.sub("", compared(text))


def holds_blocked(text: str, terms: re.Pattern[str], allowed: Iterable[str] = ()) -> bool:
    """Whether `text` holds one of `terms` outside of what is allowed."""
    folded = _folded(text)
    free = [
        (at, at + len(one))
        for one in map(_folded, allowed)
        if one
        for at in (found.start() for found in re.finditer(re.escape(one), folded))
    ]
    return any(
        not any(low <= found.start() and found.end() <= high for low, high in free) for found in terms.finditer(folded)
    )
