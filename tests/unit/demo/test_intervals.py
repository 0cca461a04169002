"""The intervals against published figures, brute force and what they must be by symmetry."""

from __future__ import annotations

from itertools import product
from math import comb, factorial, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.intervals import error_bound, paired_difference, wilson

counts = st.integers(min_value=0, max_value=60)


def test_wilson_as_published() -> None:
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (hits, n), (low, high) in published.items():
        assert wilson(hits, n) == pytest.approx((low, high), abs=5e-5)


def test_paired_difference_as_published() -> None:
    # Newcombe 1998, Statistics in Medicine 17:2635, table II, method 10.
    assert paired_difference(36, 12, 2, 0)[1] == pytest.approx((0.0569, 0.3404), abs=5e-5)


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.1, 0.1), (0.5, 0.3, 0.1, 0.1), (0.1, 0.6, 0.05, 0.25)])
def test_a_paired_interval_holds_the_truth_95_times_in_100(shares: tuple[float, float, float, float]) -> None:
    n, covered = 20, 0.0
    for both, gained, lost in product(range(n + 1), repeat=3):
        neither = n - both - gained - lost
        if neither < 0:
            continue
        cells = (both, gained, lost, neither)
        ways = factorial(n) / prod(factorial(cell) for cell in cells)
        low, high = paired_difference(*cells)[1]
        if low <= shares[1] - shares[2] <= high:
            covered += ways * prod(share**cell for share, cell in zip(shares, cells, strict=True))
    assert covered > 0.945


@given(counts, counts, counts, counts)
def test_a_paired_difference_lies_in_its_interval_and_mirrors(both: int, gained: int, lost: int, neither: int) -> None:
    difference, (low, high) = paired_difference(both, gained, lost, neither)
    assert -1.0 <= low <= difference <= high <= 1.0
    mirrored, (other_low, other_high) = paired_difference(both, lost, gained, neither)
    assert (mirrored, other_low, other_high) == pytest.approx((-difference, -high, -low), abs=1e-9)


def test_nothing_asked_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    assert paired_difference(0, 0, 0, 0) == (0.0, (-1.0, 1.0))


def test_twenty_clean_requests_bound_errors_at_14_percent() -> None:
    assert error_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert round(error_bound(0, 20), 2) == 0.14


@pytest.mark.parametrize(("errors", "n"), [(1, 20), (3, 40), (7, 9)])
def test_the_bound_is_where_so_few_errors_become_a_5_percent_chance(errors: int, n: int) -> None:
    share = error_bound(errors, n)
    assert sum(comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(errors + 1)) == pytest.approx(0.05)


def test_the_bound_of_nothing_but_errors_is_one() -> None:
    assert error_bound(5, 5) == 1.0
    assert error_bound(0, 0) == 1.0


def test_the_bound_holds_for_thousands_of_requests() -> None:
    assert error_bound(0, 3000) == pytest.approx(0.000998, rel=1e-2)
