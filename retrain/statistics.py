"""Intervals for small paired samples: what a gate may conclude from two dozen test rows.

Pure functions of numbers; random draws come from a seed. They know nothing of models, rows or thresholds.

Means of 20 to 30 values are where textbook intervals mislead: a percentile bootstrap is too narrow, and Student's t
is wrong on the side where the values have their tail. `mean_interval` therefore takes, on each side, the wider of
Student's t and the studentised bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 12.5). How often it
is wrong is simulated in tests/unit/retrain/test_statistics.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

RESAMPLES = 4_000
LARGE_DF = 300  # from here on Student's t is the normal distribution to three digits


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, each missed with probability 1 - confidence; `n` independent units lie behind it."""

    mean: float
    lower: float
    upper: float
    n: int


def group_means(values: Sequence[float], groups: Sequence[str]) -> list[float]:
    """One value a group, in the order of first appearance: what is alike counts once."""
    held: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        held.setdefault(group, []).append(value)
    return [math.fsum(members) / len(members) for members in held.values()]


def mean_interval(values: Sequence[float], confidence: float, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The mean of independent values, each bound one-sided at `confidence` (0.975: a 95% interval).

    `resamples` is how often the bootstrap draws. Fewer than two values bound nothing: the bounds are infinite. Raises
    ValueError without any value.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if n == 1:
        return Interval(mean, -math.inf, math.inf, n)
    error = float(sample.std(ddof=1)) / math.sqrt(n)
    if error <= 1e-12 * max(1.0, abs(mean)):
        return Interval(mean, mean, mean, n)
    t = t_quantile(confidence, n - 1)
    low, high = _studentised(sample, confidence, seed, resamples)
    return Interval(mean, mean - max(t, high) * error, mean + max(t, -low) * error, n)


def _studentised(sample: np.ndarray, confidence: float, seed: int, resamples: int) -> tuple[float, float]:
    """The quantiles at 1 - confidence and at confidence of the resampled mean's distance in standard errors."""
    n = len(sample)
    drawn = sample[np.random.default_rng(seed).integers(0, n, (resamples, n))]
    errors = drawn.std(axis=1, ddof=1) / math.sqrt(n)
    distances = drawn.mean(axis=1) - sample.mean()
    # A resample of one value repeated, as scores of 0 and 1 give, has no spread of its own: it is lent the sample's.
    usual = sample.std(ddof=1) / math.sqrt(n)
    low, high = np.quantile(
        distances / np.where(errors <= 1e-12, usual, errors), [1 - confidence, confidence], method="inverted_cdf"
    )
    return float(low), float(high)


def t_quantile(probability: float, df: int) -> float:
    """Student's t quantile for a whole number of degrees of freedom, to 1e-9, from its closed distribution function.

    Raises ValueError for a probability below 0.5.
    """
    if not 0.5 <= probability < 1 or df < 1:
        raise ValueError("a probability from 0.5 and at least one degree of freedom are needed")
    if df > LARGE_DF:
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1.0
    while t_probability(high, df) < probability:
        high *= 2
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, df) < probability else (low, middle)
    return high


def t_probability(t: float, df: int) -> float:
    """P(T <= t) for t >= 0 and whole `df` (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(df))
    cos2, odd = math.cos(angle) ** 2, df % 2
    term = math.cos(angle) if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(3 if odd else 2, df - 1, 2):
        term *= cos2 * (k - 1) / k
        total += term
    inner = math.sin(angle) * total
    return 0.5 * (1 + (2 / math.pi * (angle + inner) if odd else inner))


def jackknife_values(pairs: Sequence[tuple[int, int]], values: Sequence[float]) -> list[float] | None:
    """One pseudo-value an item, for the mean of `values` over pairs that share items; None where one item carries all.

    Deleting an item deletes all its pairs, so what pairs share through an item stays in the spread. Their mean is the
    mean over pairs as far as pairs are spread evenly. Independent pairs come out too wide, by up to a factor of 1.4.
    """
    total, count = math.fsum(values), len(values)
    sums: dict[int, float] = {}
    degrees: dict[int, int] = {}
    for pair, value in zip(pairs, values, strict=True):
        for item in pair:
            sums[item] = sums.get(item, 0.0) + value
            degrees[item] = degrees.get(item, 0) + 1
    n = len(sums)
    if count == 0 or any(degree == count for degree in degrees.values()):
        return None
    mean = total / count
    rest = [(total - sums[item]) / (count - degrees[item]) for item in sorted(sums)]
    centre = math.fsum(rest) / n
    return [mean + (n - 1) * (centre - one) for one in rest]


def effective_units(pairs: Sequence[tuple[int, int]]) -> float:
    """How many items carry the pairs, if each counts by its share of them: (sum of degrees)^2 / sum of degrees^2."""
    degrees: dict[int, int] = {}
    for pair in pairs:
        for item in pair:
            degrees[item] = degrees.get(item, 0) + 1
    squares = sum(degree**2 for degree in degrees.values())
    return sum(degrees.values()) ** 2 / squares if squares else 0.0


def wilson(successes: float, n: int, confidence: float) -> Interval:
    """A share with Wilson's score bounds, each one-sided at `confidence`."""
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    z = NormalDist().inv_cdf(confidence)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), n)


def paired_share_difference(both: int, first: int, second: int, neither: int, confidence: float) -> Interval:
    """Share right of the second less that of the first, on the same questions, from the four counts of the table.

    `first` are right only under the first, `second` only under the second. Newcombe's score interval for paired
    proportions (1998, method 10, with its continuity-corrected correlation): it stays honest without any discordant
    pair, where a bootstrap has no width.
    """
    n = both + first + second + neither
    if n == 0:
        return Interval(math.nan, -1.0, 1.0, 0)
    before, after = wilson(both + first, n, confidence), wilson(both + second, n, confidence)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    cross = both * neither - first * second
    if cross > 0:
        cross = max(cross - n / 2, 0)  # type: ignore[assignment]
    phi = cross / math.sqrt(margins) if margins else 0.0
    difference = after.mean - before.mean

    def half(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    lower = difference - half(after.mean - after.lower, before.upper - before.mean)
    upper = difference + half(before.mean - before.lower, after.upper - after.mean)
    return Interval(difference, max(-1.0, lower), min(1.0, upper), n)
