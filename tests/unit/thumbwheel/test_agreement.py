"""Alpha against the published examples, and against the definition counted pair by pair."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.agreement import Alpha, agreement, interval, nominal, ordinal, rubric
from thumbwheel.events import ReviewEvent

# Krippendorff 2011, section C: four observers, twelve units, values missing.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
COLUMNS = zip(*(one.split() for one in OBSERVERS), strict=True)
UNITS = [[int(value) for value in unit if value != "."] for unit in COLUMNS]


@pytest.mark.parametrize(("metric", "alpha"), [(nominal, 0.743), (ordinal, 0.815), (interval, 0.849)])
def test_the_published_example(metric: Callable[[Sequence[Sequence[int]]], Alpha], alpha: float) -> None:
    found = metric(UNITS)
    assert found.alpha == pytest.approx(alpha, abs=0.0005)
    assert (found.units, found.values) == (11, 40)


@pytest.mark.parametrize(
    ("one", "other", "alpha"),
    [
        ("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0", 0.095),
        ("a a b b d c c c e d d a", "b a b b b c c c e d d d", 0.692),
    ],
)
def test_the_published_examples_of_two_observers(one: str, other: str, alpha: float) -> None:
    """Krippendorff 2011, sections A and B: two categories, and several."""
    assert nominal(list(zip(one.split(), other.split(), strict=True))).alpha == pytest.approx(alpha, abs=0.0005)


def by_pairs(units: Sequence[Sequence[int]], difference: Callable[[int, int], float]) -> float | None:
    """The definition: mean difference within units, each value weighted once, over that of any two values."""
    pairable = [unit for unit in units if len(unit) > 1]
    values = [value for unit in pairable for value in unit]
    if len(values) < 2:
        return None
    within = sum(
        difference(one, other) / (len(unit) - 1) for unit in pairable for one, other in itertools.permutations(unit, 2)
    ) / len(values)
    pairs = list(itertools.permutations(values, 2))
    expected = sum(difference(one, other) for one, other in pairs) / len(pairs)
    return None if expected == 0 else 1 - within / expected


def ranks(units: Sequence[Sequence[int]]) -> Callable[[int, int], float]:
    """The difference of mid-ranks of all pairable values."""
    values = sorted(value for unit in units if len(unit) > 1 for value in unit)

    def rank(value: int) -> float:
        places = [at for at, other in enumerate(values) if other == value]
        return sum(places) / len(places)

    return lambda one, other: (rank(one) - rank(other)) ** 2


@given(st.lists(st.lists(st.integers(1, 5), max_size=4), max_size=8))
def test_alpha_is_what_its_definition_counts(units: list[list[int]]) -> None:
    metrics: list[tuple[Any, Callable[[int, int], float]]] = [
        (nominal, lambda one, other: float(one != other)),
        (interval, lambda one, other: float((one - other) ** 2)),
        (ordinal, ranks(units)),
    ]
    for metric, difference in metrics:
        wanted = by_pairs(units, difference)
        found = metric(units).alpha
        assert (found is None) == (wanted is None)
        assert wanted is None or found == pytest.approx(wanted)


@pytest.mark.parametrize("units", [[], [[1]], [[1], [2], []], [[3, 3], [3, 3]]])
def test_alpha_is_not_made_up(units: list[list[int]]) -> None:
    assert nominal(units).alpha is ordinal(units).alpha is interval(units).alpha is None


# of a channel's reviews


def review(feedback: str, reviewer: str, verdict: str = "approve", **fields: Any) -> ReviewEvent:
    given_fields = {"id": f"{feedback}{reviewer}", "channel": "support", "at_ms": 0}
    return ReviewEvent(**{**given_fields, "feedback": feedback, "reviewer": reviewer, "verdict": verdict, **fields})


def scored(accuracy: int, fluency: int, expertise: int) -> dict[str, int]:
    return {"accuracy": accuracy, "fluency": fluency, "expertise": expertise}


def test_the_rubrics_weights() -> None:
    assert rubric(scored(5, 5, 5)) == 5.0
    assert rubric(scored(5, 1, 1)) == pytest.approx(2.6)
    assert rubric(scored(1, 5, 1)) == rubric(scored(1, 1, 5)) == pytest.approx(2.2)
    assert rubric({"accuracy": 5}) is None


def test_what_reviews_say_together() -> None:
    told = agreement(
        [
            review("f1", "a", "refuse", scores=scored(1, 1, 1)),
            review("f1", "a", scores=scored(5, 4, 3)),  # the latest word counts
            review("f1", "b", scores=scored(5, 4, 3)),
            review("f2", "a", "refuse", scores=scored(1, 2, 3)),
            review("f2", "b", scores=scored(2, 2, 3)),
            review("f2", "c", "refuse", role="arbiter", scores=scored(1, 1, 1)),
            review("f3", "a", scores={"accuracy": 3}),
        ]
    )
    assert (told["reviews"], told["reviewers"], told["judged"]) == (6, 3, 3)
    assert (told["by_several"], told["arbitrated"]) == (2, 1)
    verdicts = told["verdicts"]
    assert (verdicts["approve"], verdicts["edit"], verdicts["refuse"]) == (4, 0, 1)
    wanted = nominal([["approve", "approve"], ["refuse", "approve"]])
    assert (verdicts["alpha"], verdicts["metric"], verdicts["values"]) == (wanted.alpha, "nominal", 4)
    scores = told["rubric"]["scores"]
    assert (scores["accuracy"]["mean"], scores["accuracy"]["n"]) == (pytest.approx(16 / 5), 5)
    assert scores["accuracy"]["alpha"] == ordinal([[5, 5], [1, 2]]).alpha
    assert (scores["accuracy"]["metric"], scores["expertise"]["alpha"]) == ("ordinal", None)
    assert (told["rubric"]["n"], told["rubric"]["mean"]) == (4, pytest.approx((4.1 + 4.1 + 1.9 + 2.3) / 4))


def test_no_reviews_agree_on_nothing() -> None:
    told = agreement([])
    assert (told["reviews"], told["verdicts"]["alpha"], told["rubric"]["mean"]) == (0, None, None)
