"""Properties of routing: bands only grow, shares are what they say, nobody moves from one candidate to another."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.records import Channel, Policies, Variant
from thumbwheel.routing import assign, free, grow, point

UNITS = [f"unit-{number}" for number in range(2_000)]


def channel(*variants: Variant, salt: str = "salt") -> Channel:
    return Channel("c", Policies(), "rel-stable", tuple(variants), salt, None, (), 1, 0)


def share(variant: Variant) -> float:
    return sum(high - low for low, high in variant.band)


@st.composite
def growth(draw: st.DrawFn) -> list[tuple[int, float]]:
    """Steps (candidate, weight) for up to three candidates, each rising, together at most 100."""
    count = draw(st.integers(1, 3))
    weights = [0.0] * count
    steps = []
    for _ in range(draw(st.integers(1, 8))):
        which = draw(st.integers(0, count - 1))
        room = 100.0 - sum(weights) + weights[which]
        weights[which] = draw(st.floats(weights[which], max(weights[which], room)))
        steps.append((which, weights[which]))
    return steps


@given(growth())
def test_bands_only_grow_and_never_overlap(steps: list[tuple[int, float]]) -> None:
    variants = tuple(Variant(f"rel-{number}", "candidate") for number in range(3))
    before: dict[str, str] = {}
    for which, weight in steps:
        variants = grow(variants, f"rel-{which}", weight)
        assert math.isclose(share(variants[which]), weight / 100, abs_tol=1e-9)
        taken = sorted(interval for variant in variants for interval in variant.band)
        assert all(0 <= low < high <= 1 for low, high in taken)
        assert all(first[1] <= second[0] for first, second in pairwise(taken))
        whole = sum(map(share, variants)) + sum(high - low for low, high in free(variants))
        assert math.isclose(whole, 1.0, abs_tol=1e-9)
        now = {unit: assign(channel(*variants), unit).release for unit in UNITS[:200]}
        for unit, release in before.items():
            assert now[unit] == release or release == "rel-stable", "nobody leaves a candidate while it grows"
        before = now


@given(st.text(max_size=8), st.floats(1, 99))
def test_shares_lie_within_binomial_bounds(salt: str, weight: float) -> None:
    (variant,) = grow((Variant("rel-1", "candidate"),), "rel-1", weight)
    hits = sum(assign(channel(variant, salt=salt), unit).role == "candidate" for unit in UNITS)
    expected = len(UNITS) * weight / 100
    deviation = math.sqrt(expected * (1 - weight / 100))
    assert abs(hits - expected) <= 6 * deviation + 1


@given(st.text())
def test_a_unit_is_always_on_the_same_side_and_any_text_is_a_unit(unit: str) -> None:
    assert point("s", unit) == point("s", unit)
    assert 0 <= point("s", unit) < 1


def test_surrogates_are_units_too() -> None:
    assert 0 <= point("s", "\ud800") < 1


def test_another_salt_shuffles() -> None:
    (variant,) = grow((Variant("rel-1", "candidate"),), "rel-1", 50)
    sides = [{unit for unit in UNITS if assign(channel(variant, salt=salt), unit).role == "candidate"} for salt in "ab"]
    both = len(sides[0] & sides[1]) / len(UNITS)
    assert 0.2 < both < 0.3, "independent halves share a quarter"


def test_all_and_nothing() -> None:
    (nobody,) = (Variant("rel-1", "candidate"),)
    assert {assign(channel(nobody), unit).release for unit in UNITS} == {"rel-stable"}
    (everybody,) = grow((nobody,), "rel-1", 100)
    assert {assign(channel(everybody), unit).release for unit in UNITS} == {"rel-1"}
    assert everybody.band == ((0.0, 1.0),)
    assert free((everybody,)) == ()


def test_what_a_candidate_leaves_behind_is_given_out_first() -> None:
    both = grow((Variant("rel-1", "candidate"), Variant("rel-2", "candidate")), "rel-1", 12.5)
    _, remaining = grow(both, "rel-2", 25)
    assert free((remaining,)) == ((0.0, 0.125), (0.375, 1.0))
    (wider,) = grow((remaining,), "rel-2", 50)
    assert wider.band == ((0.0, 0.5),)


def test_a_gap_that_is_taken_whole_leaves_no_sliver_and_no_overlap() -> None:
    """0.1 + (0.41 - 0.1) falls short of 0.41, and 0.3 + (0.82 - 0.3) goes beyond 0.82."""
    for low, high in ((0.1, 0.41), (0.3, 0.82)):
        others = Variant("rel-1", "candidate", ((0.0, low), (high, 1.0)))
        _, filled = grow((others, Variant("rel-2", "candidate")), "rel-2", 100 * (high - low))
        assert filled.band == ((low, high),)
        assert free((others, filled)) == ()


def test_who_is_in_no_band_is_the_stable_releases_by_role_too() -> None:
    assert assign(channel(), "unit") == Variant("rel-stable", "stable")


def test_what_grow_refuses() -> None:
    variants = grow((Variant("rel-1", "candidate"), Variant("rel-2", "candidate")), "rel-1", 60)
    with pytest.raises(ValueError, match="only grows"):
        grow(variants, "rel-1", 59)
    with pytest.raises(ValueError, match="too little left"):
        grow(variants, "rel-2", 41)
    assert share(grow(variants, "rel-2", 40)[1]) == pytest.approx(0.4)


def test_the_ends_of_a_band_belong_to_one_side() -> None:
    unit = "u"
    at = point("salt", unit)
    inside = channel(Variant("rel-1", "candidate", ((at, 1.0),)))
    outside = channel(Variant("rel-1", "candidate", ((0.0, at),)))
    assert assign(inside, unit).release == "rel-1"
    assert assign(outside, unit).release == "rel-stable"


def test_the_hash_is_fixed() -> None:
    """Rollouts outlive a version: a changed hash would move everybody."""
    assert f"{point('salt', 'unit'):.12f}" == "0.962097193963"


def test_a_salt_may_be_longer_than_the_hash_takes() -> None:
    assert point("s" * 64, "unit") == point("s" * 65, "unit") != point("s" * 63, "unit")
