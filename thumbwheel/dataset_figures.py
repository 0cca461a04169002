"""What a dataset's card says of its rows, counted from the lines of `rows.jsonl`: pure functions.

Curation makes a card of these (feedback/card.py), and an erasure counts what is left (thumbwheel/erasing). A card also
says what became of feedback that is no row. Of that nothing is in the rows, so after an erasure it stands as it was
frozen, and the card says which figures these are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thumbwheel.coverage import coverage_of
from thumbwheel.dataset_files import KTO, SFT, TRAIN

AS_FROZEN = ("feedback", "refused", "waiting", "reviews", "semantic")
"""Figures of the moment of the freeze, in which an erased person is counted still."""
NOT_IN_ROWS = ("redacted",)
"""Figures of rows that lines do not say: what is left of them nobody can count."""

LEAST_RATIO, MOST_RATIO = 1.0, 4 / 3
"""Of the summed weight of liked rows to that of disliked ones, as Ethayarajh et al. 2024 ("KTO: Model Alignment as
Prospect Theoretic Optimization", arXiv 2402.01306) suggest for lambda_D * n_D / (lambda_U * n_U)."""
WEIGHT_DIGITS = 6

Line = Mapping[str, Any]
Part = str | None
"""A tag of a mix, or None for the rows that have none of them."""


def figures_of(rows: Sequence[Line], tags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """A card's figures of these lines, which are all of a dataset; `tags` are by row, of all feedback behind it.

    They are of the corrections that are trained on and judged by; thumbs without one are under `kto`, augmented rows
    under `augmented`.
    """
    whole = [row for row in rows if "augmented" not in row]
    taught = [row for row in whole if row.get("kind", SFT) == SFT]
    new = [row["split"] for row in taught if row.get("since") is None]
    varied = [row["augmented"]["kind"] for row in rows if "augmented" in row]
    return {
        "rows": len(taught),
        "kinds": _by_name(row.get("kind", SFT) for row in whole),
        "kto": _thumbs([row for row in whole if row.get("kind") == KTO]),
        "merged": sum(len(row.get("merged", ())) for row in taught),
        "new": len(new),
        "splits": dict(Counter(row["split"] for row in taught)),
        "new_by_split": dict(Counter(new)),
        "groups": len({row["group"] for row in taught}),
        "authors": len({row["author"] for row in taught}),
        "roles": _by_name(row.get("role", "user") for row in taught),
        "coverage": coverage_of(taught, tags),
        "augmented": {"rows": len(varied), "kinds": _by_name(varied)},
    }


def after_erasure(
    card: Mapping[str, Any], rows: Sequence[Line], tags: Mapping[str, Sequence[str]], gone: int
) -> dict[str, Any]:
    """The card of a dataset of which `rows` are left, `gone` less than there were.

    `erased` counts what went in all erasures, `as_frozen` names what is not of the rows, `uncounted` what nobody can
    count any more and is not there. What an older card does not say is not added.
    """
    figures = {name: found for name, found in figures_of(rows, tags).items() if name in card}
    left = {name: said for name, said in card.items() if name not in NOT_IN_ROWS}
    if card.get("mix"):
        left["mix"] = _mix_of(card["mix"], rows, tags)
    uncounted = {*card.get("uncounted", ()), *(name for name in NOT_IN_ROWS if name in card)}
    told = {
        "erased": card.get("erased", 0) + gone,
        "as_frozen": [name for name in AS_FROZEN if name in card],
        "uncounted": sorted(uncounted),
    }
    return {**left, **figures, **told}


def weighed(rows: Sequence[Line]) -> list[Line]:
    """The lines, those of thumbs with what each weighs in its split among those that are there."""
    counts = Counter((row["split"], row["label"]) for row in rows if row.get("kind") == KTO)
    weights = {split: balance(counts[split, True], counts[split, False]) for split, _ in counts}
    return [
        {**row, "weight": round(weights[row["split"]][not row["label"]], WEIGHT_DIGITS)}
        if row.get("kind") == KTO
        else row
        for row in rows
    ]


def balance(liked: int, disliked: int) -> tuple[float, float]:
    """What one liked and one disliked row weigh, so that their sums stand in a ratio from LEAST_RATIO to MOST_RATIO.

    The fewer weigh more, just enough; no row is left out. Where one of the two is missing nothing can be balanced.
    """
    if liked == 0 or disliked == 0:
        return 1.0, 1.0
    ratio = liked / disliked
    return max(1.0, LEAST_RATIO / ratio), max(1.0, ratio / MOST_RATIO)


def part_of(tags: Iterable[str], shares: Mapping[Part, Any]) -> Part:
    """The part of a mix that a row with these tags counts for: the one with the smallest share."""
    return min((tag for tag in tags if tag in shares), key=lambda tag: (shares[tag], tag), default=None)


def shares_got(counts: Mapping[Part, int]) -> dict[Part, float]:
    """The share that each part has of these rows."""
    total = sum(counts.values())
    return {part: round(count / total, 6) if total else 0.0 for part, count in counts.items()}


def _mix_of(mix: Mapping[str, Any], rows: Sequence[Line], tags: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The mix with the rows that its parts have now; what it left out and found too old is as it was frozen."""
    parts: dict[Part, Mapping[str, Any]] = {**mix["shares"], **({None: mix["other"]} if mix["other"] else {})}
    wanted = {part: said["wanted"] for part, said in parts.items()}
    trained = [row for row in rows if row["split"] == TRAIN and row.get("kind", SFT) == SFT and "augmented" not in row]
    found = Counter(part_of(tags[row["id"]], wanted) for row in trained)
    counts = {part: found[part] for part in parts}
    got = shares_got(counts)
    now = {part: {**said, "rows": counts[part], "got": got[part]} for part, said in parts.items()}
    return {**mix, "shares": {tag: now[tag] for tag in mix["shares"]}, "other": now.get(None)}


def all_tags(feedback: Iterable[str], said: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """The tags of all this feedback, sorted; `said` are by feedback."""
    return tuple(sorted({tag for one in feedback for tag in said.get(one, ())}))


def behind(row: Line) -> tuple[str, ...]:
    """The feedback that a row is made of and stands for."""
    return (row["feedback"], *row.get("merged", ()))


def _by_name(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))


def _thumbs(rows: Sequence[Line]) -> dict[str, Any]:
    """How many thumbs are rows, by split and by whether the answer was liked, and their weight in sum."""
    counts: dict[str, dict[str, dict[str, float]]] = {}
    for label, name in ((True, "desirable"), (False, "undesirable")):
        for split in sorted({row["split"] for row in rows}):
            some = [row["weight"] for row in rows if row["split"] == split and row["label"] is label]
            counts.setdefault(split, {})[name] = {"rows": len(some), "weight": round(sum(some), WEIGHT_DIGITS)}
    return {"trained_on": False, "splits": counts}
