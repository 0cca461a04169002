"""Intervals for counted answers: Wilson for one share, Newcombe for a paired difference, Clopper-Pearson for errors.

Shares and differences are between -1 and 1. It knows nothing of clusters: where one item is asked once, items are taken
as independent, which a set of unselected questions comes near to.
"""

from __future__ import annotations

import math

Interval = tuple[float, float]

Z95 = 1.959963984540054  # the normal's 97.5% quantile


def wilson(hits: int, n: int, z: float = Z95) -> Interval:
    """Wilson's score interval for `hits` of `n` (E. B. Wilson 1927); (0, 1) where nothing was asked."""
    if n == 0:
        return 0.0, 1.0
    share = hits / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The ends are exact where all or none hit; rounding would leave a hair's breadth outside.
    low = 0.0 if hits == 0 else (centre - spread) / (1 + z * z / n)
    high = 1.0 if hits == n else (centre + spread) / (1 + z * z / n)
    return low, high


def paired_difference(both: int, gained: int, lost: int, neither: int) -> tuple[float, Interval]:
    """The share right after less the share right before, on the same items, with its 95% interval.

    Newcombe's square-and-add interval for paired shares (Statistics in Medicine 17, 1998, method 10): Wilson limits of
    the two shares, with their correlation taken from the four counts and corrected for continuity.
    """
    n = both + gained + lost + neither
    if n == 0:
        return 0.0, (-1.0, 1.0)
    after, before = (both + gained) / n, (both + lost) / n
    low_after, high_after = wilson(both + gained, n)
    low_before, high_before = wilson(both + lost, n)
    phi = _correlation(both, gained, lost, neither)
    difference = after - before

    def side(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    low = difference - side(after - low_after, high_before - before)
    high = difference + side(high_after - after, before - low_before)
    return difference, (low, high)


def _correlation(both: int, gained: int, lost: int, neither: int) -> float:
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - gained * lost
    n = both + gained + lost + neither
    # Towards zero by n/2 where the counts agree more than by chance; a negative correlation stays as it is.
    shrunk = max(0.0, cross - n / 2) if cross > 0 else float(cross)
    return shrunk / math.sqrt(margins)


def error_bound(errors: int, n: int, confidence: float = 0.95) -> float:
    """The largest error probability that `errors` in `n` requests still allow (Clopper-Pearson, one-sided).

    Twenty clean requests allow 14%: with no error it is 1 - 0.05^(1/n), near the rule of three, 3/n.
    """
    if errors >= n:
        return 1.0
    low, high = errors / n, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(errors, n, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(errors: int, n: int, share: float) -> float:
    """The probability of at most `errors` in `n` at `share`, in logarithms so that thousands of requests fit."""
    if share <= 0.0:
        return 1.0
    if share >= 1.0:
        return 0.0
    return math.fsum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(share)
            + (n - k) * math.log1p(-share)
        )
        for k in range(errors + 1)
    )
