"""Personal data and secrets out of texts: pure functions of the texts and of what the channel allows.

A value that somebody wrote into the conversation becomes a placeholder, `[PHONE_1]`, numbered by its first appearance,
and so does each repeat of it, in the answers too, however it is written there. A target with a secret or personal data
that the conversation does not hold is not masked but refused: what belongs there cannot be known. What the channel
allows (its own hotline, address, mails) is never touched, nor are the hotlines and IP addresses of anybody.

What a person is shown (`mask`) is not to be taught: there every value becomes a placeholder, wherever it stands.

The rules know forms, Chinese and English, and no names: those are handed in, found before by a model.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from thumbwheel.ledger import PERSONAL_DATA_IN_TARGET, SECRET_IN_TARGET
from thumbwheel.private.addresses import addresses
from thumbwheel.private.contacts import contacts
from thumbwheel.private.credentials import credentials
from thumbwheel.private.identities import identities
from thumbwheel.private.payments import payments
from thumbwheel.private.view import (
    ACCOUNT,
    ADDRESS,
    CARD,
    EMAIL,
    IBAN,
    NAME,
    NATIONAL_ID,
    PHONE,
    PLATE,
    SECRET,
    Span,
    View,
    in_chinese,
    numeral,
    only_digits,
    view,
)

Turn = tuple[str, str]
"""Role and text."""

# What a place in the text is, where two rules claim it: the surer one first.
KINDS = (SECRET, EMAIL, IBAN, NATIONAL_ID, CARD, PLATE, PHONE, ACCOUNT, ADDRESS, NAME)
FINDERS = (credentials, contacts, payments, identities, addresses)
PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(KINDS)})(?:_\d+)?\]")
LEAST_KEY = 5  # characters; shorter values are masked where they are found, and not looked for elsewhere
LONGEST_KEY = 400  # a longer one, such as a private key in full, repeats in full where it does
MOST_REPEATED = 100  # values of a conversation that are looked for elsewhere; nobody writes more
LEAST_PART = 6  # characters of a value's part, such as an address's street, that still count as that value
MOST_HOUSE = 1000  # from here on house numbers are not spelt out
_HOUSE = re.compile(r"(?:(?<!\d)\d{1,3}|[一二三四五六七八九十百零〇]{1,6})(?= ?(?:号|號|弄|幢|栋|座|楼|樓|层|单元|室))")
# Behind a house's number: its building, floor and room; another house's number (号) is none of it.
_N = r"(?:[A-Za-z]?\d{1,4}(?:-\d{1,4})?[A-Za-z]?|[一二三四五六七八九十百零〇]{1,6}|[A-Za-z])"
_ROOMS = re.compile(
    rf"(?:[ ,，(（]{{0,2}}(?:{_N} ?(?:号楼|號樓|[楼樓层層室房座栋棟幢门]|单元|單元|[Ff](?![a-z]))|"
    rf"[\u4e00-\u9fff]{{1,8}}(?:大厦|广场|中心|楼)|"
    r"\d{3,4}(?!\d))[)）]?)+[ ,，]*"
)
_TOWNS = re.compile(r"[\u4e00-\u9fff ,，]{1,40}")
_NUMBERED = re.compile(r"\d|[一二三四五六七八九十百]+ ?[号號弄幢栋座]")
BETWEEN = r"[ \n.,\-()/]{0,2}"  # what may stand between the characters of a value that is written otherwise


@dataclass(frozen=True)
class Allowed:
    """What the channel lets stand: where it is written, and the values that it holds however they are written."""

    pattern: re.Pattern[str] | None = None
    values: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Redacted:
    """A row's texts without personal data. `reason` is why the row cannot be taught, if it cannot be.

    `found` counts the values in the conversation by kind. `private` is the same for turns, but for the system's, that
    hold the same values in the same order, however they are written; empty where they hold none. Anybody can try
    values on it, so it is neither stored nor sent.
    """

    turns: tuple[Turn, ...]
    target: str
    answer: str | None
    reason: str | None
    found: Mapping[str, int] = field(default_factory=dict)
    private: str = field(default="", repr=False)


def allowing(strings: Iterable[str]) -> Allowed:
    """What lets `strings` stand."""
    texts = sorted({view(text).text.strip() for text in strings} - {""}, key=lambda text: (-len(text), text))
    if not texts:
        return Allowed()
    values = {one.key for text in texts for one in find(text)}
    values |= {only_digits(text) for text in texts if re.fullmatch(r"[\d +()./\-]{5,}", text)}
    ways = sorted({way for text in texts for way in _in_numerals(text)}, key=lambda text: (-len(text), text))
    return Allowed(re.compile("|".join(map(_whole, ways)), re.IGNORECASE), frozenset(values))


def _in_numerals(text: str) -> set[str]:
    """`text`, and as it is with the numbers of its house, floor and flat in digits, and in Chinese."""
    digits = _HOUSE.sub(lambda found: numeral(found.group()), text)
    chinese = _HOUSE.sub(lambda found: _chinese(numeral(found.group())), text)
    return {text, digits, chinese}


def _chinese(number: str) -> str:
    return in_chinese(int(number)) if number.isdecimal() and 0 < int(number) < MOST_HOUSE else number


def _whole(text: str) -> str:
    """A pattern of `text` that does not begin or end inside a number or an English word."""
    edges = []
    for char in (text[0], text[-1]):
        edges.append(r"\d" if char.isdigit() else "[A-Za-z]" if char.isascii() and char.isalpha() else "")
    first, last = edges
    body = r"\s+".join(map(re.escape, text.split()))
    return (f"(?<!{first})" if first else "") + body + (f"(?!{last})" if last else "")


def find(text: str, allowed: Allowed | None = None) -> tuple[Span, ...]:
    """The personal data and secrets in `text`, by place; no two overlap."""
    seen = view(text)
    return _apart(_cut((one for finder in FINDERS for one in finder(seen)), seen, allowed or Allowed()))


def redact(
    turns: Sequence[Turn],
    target: str,
    answer: str | None = None,
    allowed: Allowed | None = None,
    names: Iterable[str] = (),
) -> Redacted:
    """The row without personal data. `names` are what a model found to be names in any of the texts."""
    allowed, called = allowed or Allowed(), sorted({name for name in names if len(name) > 1})
    labels: dict[str, str] = {}
    views = [view(text) for _, text in turns]
    for seen in views:
        _book(_all(seen, allowed, called), labels)
    places = [_with_repeats(seen, labels, allowed, called) for seen in views]
    masked = tuple((role, _masked(text, spans, labels)) for (role, text), spans in zip(turns, places, strict=True))
    said = [one for (role, _), spans in zip(turns, places, strict=True) if role != "system" for one in spans]
    private = _private(said, labels)
    found = dict(sorted(Counter(map(_kind, labels.values())).items()))
    seen = view(target)
    spans = _with_repeats(seen, labels, allowed, called)
    foreign = {one.kind for one in spans if _known(one, labels) is None}
    if foreign:
        reason = SECRET_IN_TARGET if SECRET in foreign else PERSONAL_DATA_IN_TARGET
        return Redacted(masked, target, None, reason, found, private)
    cleaned = _masked(target, spans, labels)
    if answer is not None:
        rejected = view(answer)
        _book(_all(rejected, allowed, called), labels)
        answer = _masked(answer, _with_repeats(rejected, labels, allowed, called), labels)
    return Redacted(masked, cleaned, answer, None, found, private)


def _private(spans: Sequence[Span], labels: Mapping[str, str]) -> str:
    """A digest of the values, each as it was first written; empty of none."""
    if not spans:
        return ""
    first = {label: key for key, label in labels.items()}
    values = [first.get(_known(one, labels) or "", one.key) for one in spans]
    return hashlib.sha256("\0".join(values).encode()).hexdigest()


def mask(
    texts: Sequence[str], allowed: Allowed | None = None, names: Iterable[str] = ()
) -> tuple[tuple[str, ...], Mapping[str, int]]:
    """Texts of one case, in the order in which its placeholders are numbered, for a person to look at.

    Where the first of them are a conversation, its placeholders are those that `redact` gives it. Also how many values
    of each kind were taken out.
    """
    allowed, called = allowed or Allowed(), sorted({name for name in names if len(name) > 1})
    labels: dict[str, str] = {}
    views = [view(text) for text in texts]
    for seen in views:
        _book(_all(seen, allowed, called), labels)
    masked = tuple(
        _masked(text, _with_repeats(seen, labels, allowed, called), labels)
        for text, seen in zip(texts, views, strict=True)
    )
    return masked, dict(sorted(Counter(map(_kind, labels.values())).items()))


def _book(spans: Iterable[Span], labels: dict[str, str]) -> None:
    """A placeholder for each value that has none."""
    counts = Counter(map(_kind, labels.values()))
    for one in spans:
        if _known(one, labels) is None:
            counts[one.kind] += 1
            labels[one.key] = f"[{one.kind}_{counts[one.kind]}]"


def _kind(label: str) -> str:
    return label.strip("[]").rpartition("_")[0]


def _all(seen: View, allowed: Allowed, names: Sequence[str]) -> tuple[Span, ...]:
    found = [one for finder in FINDERS for one in finder(seen)]
    return _apart(_cut([*found, *_named(seen, names)], seen, allowed))


def _with_repeats(seen: View, labels: Mapping[str, str], allowed: Allowed, names: Sequence[str]) -> tuple[Span, ...]:
    repeats = sorted(_repeats(seen, labels), key=lambda one: (one.start - one.end, one.start, one.key))
    found = [_begun(one, repeats) for finder in FINDERS for one in finder(seen)]
    return _apart(_cut([*found, *_named(seen, names), *repeats], seen, allowed))


def _begun(one: Span, repeats: Sequence[Span]) -> Span:
    """An address from where a known one begins in it: the rules may take words of the sentence before it for places."""
    for known in repeats:
        if one.kind == known.kind == ADDRESS and one.start <= known.start and known.end <= one.end:
            return Span(known.start, one.end, ADDRESS, known.key)
    return one


def _named(seen: View, names: Sequence[str]) -> Iterator[Span]:
    for name in names:
        for found in re.finditer(_whole(name), seen.text):
            yield Span(seen.starts[found.start()], seen.ends[found.end() - 1], NAME, name.lower())


def _repeats(seen: View, labels: Mapping[str, str]) -> Iterator[Span]:
    for key, label in islice(labels.items(), MOST_REPEATED):
        if not LEAST_KEY <= len(key) <= LONGEST_KEY:
            continue
        edge = r"\d" if key.isdigit() else "[A-Za-z0-9]"
        shout = "!*" if _kind(label) == SECRET else ""  # a password's last sign may be a sentence's, and is not kept
        pattern = f"(?<!{edge}){BETWEEN.join(map(re.escape, key))}(?!{edge}){shout}"
        for found in re.finditer(pattern, seen.text, re.IGNORECASE):
            yield Span(seen.starts[found.start()], seen.ends[found.end() - 1], _kind(label), key)


def _known(one: Span, labels: Mapping[str, str]) -> str | None:
    """The placeholder of a span's value, or of one that it is a part of or that is a part of it."""
    if one.key in labels:
        return labels[one.key]
    if one.kind not in (ADDRESS, PHONE):
        return None
    alike = (label for key, label in labels.items() if label.startswith(f"[{one.kind}_") and _is_part(one, key))
    return next(alike, None)


def _is_part(one: Span, key: str) -> bool:
    """Whether a span is a part of the value `key`: the street of an address, a number without its area."""
    if min(len(key), len(one.key)) < LEAST_PART:
        return False
    return one.key in key if one.kind == ADDRESS else key.endswith(one.key) or one.key.endswith(key)


def _cut(spans: Iterable[Span], seen: View, allowed: Allowed) -> Iterator[Span]:
    """`spans` without what is allowed, and without placeholders that stand there already."""
    patterns = [PLACEHOLDER, *([] if allowed.pattern is None else [allowed.pattern])]
    free = [
        (seen.starts[one.start()], seen.ends[one.end() - 1])
        for pattern in patterns
        for one in pattern.finditer(seen.text)
    ]
    for one in spans:
        if one.key in allowed.values:
            continue
        rest = [(one.start, one.end)]
        for low, high in free:
            rest = [
                part
                for start, end in rest
                for part in ((start, min(end, low)), (max(start, high), end))
                if part[0] < part[1]
            ]
        if rest == [(one.start, one.end)]:
            yield one
        elif not rest:
            continue
        else:
            if one.kind == ADDRESS:
                rest = [part for part in rest if not _of_allowed_house(seen, one, part, free)]
            yield from (Span(start, end, one.kind, f"{one.key} {start - one.start}") for start, end in rest)


def _of_allowed_house(seen: View, one: Span, part: tuple[int, int], free: Sequence[tuple[int, int]]) -> bool:
    """Whether a part of an address says but where an allowed house is, or which floor or room of it."""
    start, end = part
    text = _read(seen, start, end)
    for low, high in free:
        if not _NUMBERED.search(_read(seen, low, high)):
            continue
        if (high == start and _ROOMS.fullmatch(text)) or (low == end and start == one.start and _TOWNS.fullmatch(text)):
            return True
    return False


def _read(seen: View, start: int, end: int) -> str:
    """What the view reads at [start, end) of the original."""
    return seen.text[bisect_left(seen.starts, start) : bisect_left(seen.starts, end)]


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Of spans that overlap the surer kind, then the longer one."""
    kept: list[Span] = []
    taken: set[int] = set()
    for one in sorted(spans, key=lambda one: (KINDS.index(one.kind), one.start - one.end, one.start, one.key)):
        if taken.isdisjoint(range(one.start, one.end)):
            taken.update(range(one.start, one.end))
            kept.append(one)
    return tuple(sorted(kept, key=lambda one: one.start))


def _masked(text: str, spans: Sequence[Span], labels: Mapping[str, str]) -> str:
    parts, at = [], 0
    for one in spans:
        parts += [text[at : one.start], _known(one, labels) or f"[{one.kind}]"]
        at = one.end
    return "".join([*parts, text[at:]])
