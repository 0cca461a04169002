"""Other words of the same meaning: pure functions over groups of words that may stand for each other.

One word of the question is drawn, and stands for another of its group wherever it is. A word that the target holds too
stays: the answer would speak of something that nobody asked about. Where a longer word of any group begins at a place,
no shorter one is looked for there. It knows no grammar: groups hold words of one form, as a reader would exchange them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from feedback.vary.fixed import Fixed, draw, touches

# Words that mean the same in a question, whatever is beside them: in Chinese no blank parts them from what is. So short
# ones that also end or begin other words (常常 in 非常常见, 能不能 in 功能不能用) are none, and some longer ones stand
# here to keep a shorter one from being found in them.
BUILT_IN: tuple[tuple[str, ...], ...] = (
    ("为什么", "为啥"),
    ("什么时候", "何时"),
    ("任何时候", "任何时间"),
    ("多长时间", "多久"),
    ("立刻", "马上", "立即"),
    ("联系", "联络"),
    ("购买", "选购"),
    ("修理", "维修"),
    ("忘记了", "忘了"),
    ("价格", "价钱"),
    ("突然", "忽然"),
    ("打不开", "无法打开"),
    ("登录不了", "无法登录"),
    ("收不到", "无法收到"),
    ("没收到", "没有收到"),
    ("怎么办理", "如何办理", "怎样办理"),
    ("怎么申请", "如何申请", "怎样申请"),
    ("怎么取消", "如何取消", "怎样取消"),
    ("怎么修改", "如何修改", "怎样修改"),
    ("怎么退", "如何退", "怎样退"),
    ("怎么换", "如何换", "怎样换"),
    ("怎么查", "如何查", "怎样查"),
    ("怎么用", "如何用", "怎样用"),
    ("maybe", "perhaps"),
    ("immediately", "right away"),
    ("often", "frequently"),
    ("quickly", "rapidly"),
    ("bought", "purchased"),
    ("broken", "damaged"),
    ("required", "needed"),
    ("e-mail", "email"),
    ("phone number", "telephone number"),
    ("as soon as possible", "at the earliest"),
    ("cannot", "can't"),
    ("do not", "don't"),
    ("does not", "doesn't"),
    ("did not", "didn't"),
    ("is not", "isn't"),
)


@dataclass(frozen=True)
class Lexicon:
    """What may stand for each word, by its folded form; and how long words are, the longest first."""

    others: Mapping[str, tuple[str, ...]]
    lengths: tuple[int, ...]


def lexicon(groups: Iterable[Sequence[str]]) -> Lexicon:
    """The groups, made ready; of a word that is in several the first counts."""
    others: dict[str, tuple[str, ...]] = {}
    for group in groups:
        for word in group:
            others.setdefault(
                word.casefold(), tuple(sorted({one for one in group if one.casefold() != word.casefold()}))
            )
    return Lexicon(others, tuple(sorted({len(word) for word in others}, reverse=True)))


def in_other_words(text: str, target: str, known: Lexicon, mask: Fixed, seed: str) -> str | None:
    """`text` with one of its words replaced by another of the word's group; None where it has none that may be."""
    answered = target.casefold()
    places: dict[str, list[tuple[int, int]]] = {}
    for start, end in _words(text, known):
        word = text[start:end].casefold()
        if known.others[word] and word not in answered and not touches(mask, start, end):
            places.setdefault(word, []).append((start, end))
    if not places:
        return None
    word = min(places, key=lambda word: (draw(seed, "word", word), word))
    other = known.others[word][draw(seed, "other", word) % len(known.others[word])]
    for start, end in reversed(places[word]):
        text = text[:start] + _as(text[start:end], other) + text[end:]
    return text


def _words(text: str, known: Lexicon) -> Iterator[tuple[int, int]]:
    at = 0
    while at < len(text):
        ends = (at + length for length in known.lengths)
        end = next((end for end in ends if text[at:end].casefold() in known.others and _is_whole(text, at, end)), None)
        if end is not None:
            yield at, end
        at = end or at + 1


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no longer English word, code or number goes on at either end."""
    return end <= len(text) and not any(
        inner.isascii() and inner.isalnum() and outer.isascii() and (outer.isalnum() or outer in "_-'")
        for inner, outer in ((text[start], text[start - 1 : start]), (text[end - 1], text[end : end + 1]))
        if outer
    )


def _as(word: str, other: str) -> str:
    """`other`, with a capital where `word` has one and `other` is written without."""
    return other[0].upper() + other[1:] if word[0].isupper() and other.islower() else other
