"""How far reviewers agree: Krippendorff's alpha, and the rubric's averages. Pure functions.

    alpha = 1 - Do / De

Do is the mean difference of two values that were given to the same unit, De that of two values of any units (K.
Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011). 1 is perfect agreement, 0 what chance would give. The
difference of two values, squared, is

    nominal    0 or 1                                for verdicts
    ordinal    by how many values lie between them   for the rubric's scores, whose steps need not be equally far
    interval   the squared difference

Units with fewer than two values say nothing. Where no unit has two, or all values are the same, alpha is not defined:
it is None, and no 1. Blind reviews alone can be compared, so arbiters' are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel.adjudication import REVIEWER, VERDICTS, latest
from thumbwheel.events import ReviewEvent

WEIGHTS: Mapping[str, int] = {"accuracy": 40, "fluency": 30, "expertise": 30}
"""The rubric: what is scored from 1 to 5, and its weight in percent."""
LOWEST, HIGHEST = 1, 5

Difference = Callable[[Any, Any], float]


@dataclass(frozen=True)
class Alpha:
    """Krippendorff's alpha, of `units` with `values` values; None where it is not defined."""

    alpha: float | None
    units: int
    values: int


def nominal(units: Sequence[Sequence[Hashable]]) -> Alpha:
    """Of names: equal or not. Each unit holds the values that it was given."""
    return _alpha(units, lambda one, other: float(one != other))


def interval(units: Sequence[Sequence[float]]) -> Alpha:
    """Of numbers whose distances mean something."""
    return _alpha(units, lambda one, other: (one - other) ** 2)


def ordinal(units: Sequence[Sequence[float]]) -> Alpha:
    """Of ranks: two values are as far apart as there are values between them, themselves counted half."""
    counts = Counter(value for unit in units if len(unit) > 1 for value in unit)

    def difference(one: float, other: float) -> float:
        low, high = min(one, other), max(one, other)
        between = sum(count for value, count in counts.items() if low <= value <= high)
        return float(between - (counts[low] + counts[high]) / 2) ** 2 if low != high else 0.0

    return _alpha(units, difference)


def _alpha(units: Sequence[Sequence[Any]], difference: Difference) -> Alpha:
    pairable = [Counter(unit) for unit in units if len(unit) > 1]
    totals: Counter[Any] = sum(pairable, Counter())
    n = totals.total()
    observed = sum(_differences(unit, difference) / (unit.total() - 1) for unit in pairable)
    expected = _differences(totals, difference) / (n - 1) if n else 0.0
    return Alpha(None if expected == 0 else 1 - observed / expected, len(pairable), n)


def _differences(counts: Counter[Any], difference: Difference) -> float:
    """The sum over all ordered pairs of values."""
    return sum(n * m * difference(one, other) for one, n in counts.items() for other, m in counts.items())


def rubric(scores: Mapping[str, int]) -> float | None:
    """The weighted score, 1 to 5; None where one of the rubric's is missing."""
    if not WEIGHTS.keys() <= scores.keys():
        return None
    return sum(weight * scores[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values())


def agreement(reviews: Sequence[ReviewEvent]) -> dict[str, Any]:
    """What a channel's reviews, in order of receipt, say together; without a word of who said what."""
    said = latest(reviews)
    blind = [one for one in said if one.role == REVIEWER]
    units: dict[tuple[str, str | None], list[ReviewEvent]] = {}
    for review in blind:
        units.setdefault((review.feedback, review.proposal), []).append(review)
    whole = [found for one in blind if (found := rubric(one.scores)) is not None]
    return {
        "reviews": len(said),
        "reviewers": len({one.reviewer for one in said}),
        "judged": len(units),
        "by_several": sum(len(some) > 1 for some in units.values()),
        "arbitrated": len(said) - len(blind),
        "verdicts": {
            **{verdict: sum(one.verdict == verdict for one in blind) for verdict in VERDICTS},
            **_told(nominal([[one.verdict for one in some] for some in units.values()]), "nominal"),
        },
        "rubric": {
            "weights": dict(WEIGHTS),
            "mean": _mean(whole),
            "n": len(whole),
            "scores": {name: _criterion(name, blind, list(units.values())) for name in WEIGHTS},
        },
    }


def _criterion(name: str, blind: Sequence[ReviewEvent], units: Sequence[Sequence[ReviewEvent]]) -> dict[str, Any]:
    given = [one.scores[name] for one in blind if name in one.scores]
    alpha = ordinal([[one.scores[name] for one in some if name in one.scores] for some in units])
    return {"mean": _mean(given), "n": len(given), **_told(alpha, "ordinal")}


def _told(alpha: Alpha, metric: str) -> dict[str, Any]:
    return {"alpha": alpha.alpha, "metric": metric, "units": alpha.units, "values": alpha.values}


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
