"""Which answers are held against which: the pairs behind the contrast. Pure; it asks no model.

An item's contrast is the log-probability per token of its own accepted answer less that of another item's different
answer, to the same question. What a model believes of an answer whatever the question (a shorter form, a frequent
category) must not count, or a release taught with shuffled answers would gain by it. So every pair of items is asked
both ways, and the pair's value is the mean of both contrasts: beliefs about single answers and single questions cancel
in each pair, exactly, and where answers were shuffled either sign is as likely.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HUB = 2  # an item takes part in at most this many times the partners asked for: no item carries the result alone


@dataclass(frozen=True)
class Item:
    """One test question with its accepted answer. `fresh`: new since the incumbent's data."""

    id: str
    group: str
    answer: str
    fresh: bool


def representatives(items: Sequence[Item]) -> tuple[Item, ...]:
    """One item a group, the first by id, fresh ones first: wordings of one question are one piece of evidence."""
    kept: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: (not item.fresh, item.id)):
        kept.setdefault(item.group, item)
    return tuple(kept.values())


def pairs(items: Sequence[Item], partners: int) -> tuple[tuple[int, int], ...]:
    """Pairs of indices with different answers, at least one of each pair fresh; up to `partners` a fresh item.

    Chosen by a hash of ids alone, spread as evenly as the answers allow; the same items give the same pairs.
    """
    answers = [" ".join(item.answer.split()).casefold() for item in items]
    degrees = [0] * len(items)
    chosen: set[tuple[int, int]] = set()
    fresh = sorted((index for index, item in enumerate(items) if item.fresh), key=lambda index: _draw(items[index].id))
    for round_ in range(1, partners + 1):
        for one in fresh:
            if degrees[one] >= round_:
                continue
            free = [
                other
                for other in range(len(items))
                if answers[other] != answers[one]
                and degrees[other] < HUB * partners
                and _ordered(one, other) not in chosen
            ]
            if free:
                other = min(free, key=lambda other: (degrees[other], _draw(items[one].id + items[other].id)))
                chosen.add(_ordered(one, other))
                degrees[one] += 1
                degrees[other] += 1
    return tuple(sorted(chosen))


def pair_value(value: Callable[[int, int], float], pair: tuple[int, int]) -> float:
    """The contrast of one pair, nats per token: over 0 where its answers are preferred as they stand to swapped.

    `value(question, answer)` is a log-probability per token, or one release's less another's.
    """
    one, other = pair
    return ((value(one, one) - value(one, other)) + (value(other, other) - value(other, one))) / 2


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _draw(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
