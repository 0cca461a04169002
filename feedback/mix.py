"""Which rows a channel's mix has room for: pure functions.

A mix is shares over the tags that feedback came with, and an age. Shares are of training rows, and hold to within one
row. A row with several of the tags counts for the one with the smallest share, as the rarest is what it is wanted for;
a row with none of them for `other`, and where no share is set for these they stand beside the shares, all of them.

Where a tag has more rows than its share takes, those of experts and those that were reviewed stay first, as such words
are the dearest, and then what comes first by a hash of channel and row: neither time nor author decides. The newest
first would be another choice, and would forget what is rare; that old rows go is what the age is for.

Rows that judge or choose are never left out by a share: they are what a release is measured by, and whoever sets shares
would else set what is asked. Age leaves out rows of every split, as an answer that is no longer right judges wrongly.
Feedback that is too old says nothing at all any more: it contradicts no newer one, and is no second source.

It knows nothing of general prompts that are replayed; how many, the recipe says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from feedback import splits
from feedback.join import Joined
from feedback.snapshot import Example
from thumbwheel.dataset_figures import Part, all_tags, part_of, shares_got
from thumbwheel.ids import DAY_MS, digest32
from thumbwheel.records import Mix
from thumbwheel.roles import EXPERT

OTHERS = "no such tag"


@dataclass(frozen=True)
class Mixed:
    """What of the rows stays. `had` and `got` count training rows by part, before and after; empty without shares.

    `stale` is how much feedback was too old.
    """

    kept: tuple[Example, ...]
    left: tuple[Example, ...] = ()
    had: Mapping[Part, int] = field(default_factory=dict)
    got: Mapping[Part, int] = field(default_factory=dict)
    stale: int = 0


def is_stale(row: Joined, mix: Mix, as_of_ms: int) -> bool:
    """Whether it was received longer ago than the mix looks back."""
    return mix.max_age_days is not None and as_of_ms - row.at_ms > mix.max_age_days * DAY_MS


def tags_of(examples: Iterable[Example], rows: Iterable[Joined]) -> dict[str, tuple[str, ...]]:
    """The tags of each example, by its id: those of all feedback that it stands for, sorted."""
    said = {row.feedback: row.tags for row in rows if row.tags}
    return {example.id: all_tags(_feedback(example), said) for example in examples}


def mixed(
    examples: Sequence[Example], tags: Mapping[str, Sequence[str]], mix: Mix, channel: str, stale: int = 0
) -> Mixed:
    """The examples that the shares have room for, and those that they have not."""
    shares = shares_of(mix)
    if not shares:
        return Mixed(tuple(examples), stale=stale)
    parts: dict[Part, list[Example]] = {part: [] for part in shares}
    for example in examples:
        part = part_of(tags[example.id], shares)
        if example.split == splits.TRAIN and part in parts:
            parts[part].append(example)
    room = rooms({part: len(rows) for part, rows in parts.items()}, shares)
    left = {
        example.id
        for part, rows in parts.items()
        for example in sorted(rows, key=lambda one: _rank(one, channel))[room[part] :]
    }
    return Mixed(
        kept=tuple(example for example in examples if example.id not in left),
        left=tuple(example for example in examples if example.id in left),
        had={part: len(rows) for part, rows in parts.items()},
        got=room,
        stale=stale,
    )


def told(mixed: Mixed, mix: Mix) -> dict[str, object] | None:
    """The mix as a card shows it, of training rows by tag, shares wanted and got; None where the channel has none."""
    if mix == Mix():
        return None
    got = shares_got(mixed.got)
    parts = {
        part: {
            "wanted": round(float(share), 6),
            "got": got[part],
            "rows": mixed.got[part],
            "left_out": mixed.had[part] - mixed.got[part],
        }
        for part, share in shares_of(mix).items()
    }
    return {
        "shares": {part: parts[part] for part in parts if part is not None},
        "other": parts.get(None),
        "max_age_days": mix.max_age_days,
        "too_old": mixed.stale,
    }


def lacking(mixed: Mixed, mix: Mix, least: int) -> dict[Part, int]:
    """How many training rows of each part are missing, for `least` rows in all to have their shares."""
    needs = {part: math.ceil(share * least) for part, share in shares_of(mix).items()}
    return {part: need - mixed.had[part] for part, need in needs.items() if need > mixed.had[part]}


def shares_of(mix: Mix) -> dict[Part, Fraction]:
    """The share of each part, adding up to 1; empty where the mix has none."""
    given: dict[Part, float] = {tag: mix.shares[tag] for tag in sorted(mix.shares)}
    if given and mix.other is not None:
        given[None] = mix.other
    exact = {part: Fraction(str(share)) for part, share in given.items()}
    return {part: share / sum(exact.values()) for part, share in exact.items()}


def rooms(had: Mapping[Part, int], shares: Mapping[Part, Fraction]) -> dict[Part, int]:
    """How many rows of each part stay: as many in all as the shares let, by largest remainders."""
    total = min(int(had[part] / share) for part, share in shares.items() if share)
    room = {part: int(share * total) for part, share in shares.items()}
    rest = sorted(shares, key=lambda part: (room[part] - shares[part] * total, part is None, part or ""))
    for part in rest[: total - sum(room.values())]:
        room[part] += 1
    return room


def scarcest(mixed: Mixed, mix: Mix) -> Part:
    """The part that has the fewest rows for its share, and so says how many all others may have."""
    shares = {part: share for part, share in shares_of(mix).items() if share}
    return min(shares, key=lambda part: (mixed.had[part] / shares[part], part is None, part or ""))


def _rank(example: Example, channel: str) -> tuple[bool, str]:
    trusted = example.proposal.role == EXPERT or example.proposal.decided is not None
    return not trusted, digest32(f"mix\0{channel}\0{example.id}".encode(), 26)


def _feedback(example: Example) -> tuple[str, ...]:
    return (example.proposal.source.feedback, *example.proposal.merged)
