import math
import random

import numpy as np
import pytest

from retrain import statistics
from retrain.contrast import Item, pair_value, pairs
from retrain.statistics import (
    effective_units,
    group_means,
    jackknife_values,
    mean_interval,
    paired_share_difference,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("probability", "df", "expected"),
    [
        (0.975, 1, 12.7062),
        (0.975, 2, 4.3027),
        (0.975, 9, 2.2622),
        (0.975, 24, 2.0639),
        (0.95, 10, 1.8125),
        (0.995, 29, 2.7564),
    ],
)
def test_t_quantiles_are_those_of_the_tables(probability: float, df: int, expected: float) -> None:
    assert t_quantile(probability, df) == pytest.approx(expected, abs=1e-4)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert t_quantile(0.975, 100_000) == pytest.approx(1.95996, abs=1e-4)
    assert t_quantile(0.975, statistics.LARGE_DF) == pytest.approx(1.9679, abs=1e-3)


def test_the_interval_is_never_narrower_than_students() -> None:
    values = list(np.random.default_rng(4).normal(1.0, 2.0, 25))
    interval = mean_interval(values, 0.975)
    half = t_quantile(0.975, 24) * np.std(values, ddof=1) / 5
    assert interval.mean == pytest.approx(np.mean(values))
    assert interval.lower <= interval.mean - half + 1e-12
    assert interval.upper >= interval.mean + half - 1e-12
    assert interval.n == 25


def test_the_same_values_give_the_same_interval() -> None:
    values = list(np.random.default_rng(5).exponential(size=22))
    assert mean_interval(values, 0.975) == mean_interval(values, 0.975)


def test_one_value_bounds_nothing_and_equal_values_bound_themselves() -> None:
    assert mean_interval([2.0], 0.975) == statistics.Interval(2.0, -math.inf, math.inf, 1)
    assert mean_interval([2.0] * 20, 0.975) == statistics.Interval(2.0, 2.0, 2.0, 20)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([], 0.975)


def test_nearly_equal_scores_are_still_bounded() -> None:
    kept = mean_interval([1.0] * 31 + [0.25], 0.975)
    assert 0.5 < kept.lower < kept.mean < kept.upper < 1.5
    lost = mean_interval([-1.0] * 30 + [0.0, 0.0], 0.975)
    assert lost.upper < 0


def test_alike_wordings_count_once() -> None:
    assert group_means([1.0, 3.0, 10.0], ["a", "a", "b"]) == [2.0, 10.0]


def grouped_sample(dice: np.random.Generator, shape: str, groups: int) -> tuple[list[float], list[str]]:
    """Values with mean zero, one to four a group, correlated within it by a half."""
    draw = {
        "normal": lambda n: dice.normal(size=n),
        "heavy tails": lambda n: dice.standard_t(3, n) / math.sqrt(3),
        "long left tail": lambda n: (math.exp(0.5) - np.exp(dice.normal(size=n))) / 2.16,
    }[shape]
    sizes = dice.integers(1, 5, groups)
    shared = draw(groups)
    values = [float(one) for at, size in enumerate(sizes) for one in (shared[at] + draw(size)) / math.sqrt(2)]
    return values, [str(at) for at, size in enumerate(sizes) for _ in range(size)]


# Share of samples of 24 groups, truly without gain, whose lower bound says otherwise; nominal is 2.5%. The last shape
# is a gain for most and a large loss for a few: no bound from two dozen values sees it well.
@pytest.mark.parametrize(("shape", "at_most"), [("normal", 0.035), ("heavy tails", 0.035), ("long left tail", 0.07)])
def test_false_passes_without_a_gain(shape: str, at_most: float) -> None:
    dice = np.random.default_rng(7)
    trials, passed, by_item = 800, 0, 0
    for trial in range(trials):
        values, groups = grouped_sample(dice, shape, 24)
        passed += mean_interval(group_means(values, groups), 0.975, trial, 500).lower > 0
        error = np.std(values, ddof=1) / math.sqrt(len(values))
        by_item += np.mean(values) > 1.96 * error
    assert passed / trials <= at_most
    assert passed < by_item  # what counting each row by itself would have let through


def test_pairs_that_share_items_do_not_pass_more_often() -> None:
    """Under shuffled answers: effects of questions, of answers, and noise, but nothing that ties one to the other."""
    dice, trials, passed = np.random.default_rng(11), 500, 0
    for trial in range(trials):
        kinds = dice.choice(5, 24, p=[0.4, 0.3, 0.1, 0.1, 0.1])
        items = [Item(f"{trial}-{at}", str(at), f"answer {kind}", True) for at, kind in enumerate(kinds)]
        chosen = pairs(items, 4)
        effects = dice.normal(0, 2, 5) + dice.normal(0, 1, (24, 1)) + dice.normal(0, 0.3, (24, 5))

        def gain(question: int, answer: int, effects: np.ndarray = effects, kinds: np.ndarray = kinds) -> float:
            return float(effects[question, kinds[answer]])

        values = jackknife_values(chosen, [pair_value(gain, pair) for pair in chosen])
        assert values is not None
        passed += mean_interval(values, 0.975, trial, 400).lower > 0
    assert passed / trials <= 0.03


def test_jackknife_of_separate_pairs_keeps_their_mean() -> None:
    values = jackknife_values([(0, 1), (2, 3), (4, 5)], [1.0, 2.0, 6.0])
    assert values is not None
    assert sum(values) / len(values) == pytest.approx(3.0)
    assert len(values) == 6


def test_an_item_in_every_pair_cannot_be_judged() -> None:
    assert jackknife_values([(0, 1), (0, 2), (0, 3)], [1.0, 2.0, 3.0]) is None
    assert jackknife_values([], []) is None


def test_effective_units_count_items_by_their_share() -> None:
    ring = [(at, (at + 1) % 10) for at in range(10)]
    star = [(0, at) for at in range(1, 25)]
    assert effective_units(ring) == pytest.approx(10)
    assert effective_units(star) == pytest.approx(48**2 / (24**2 + 24))
    assert effective_units([]) == 0


def test_wilson_bounds_none_of_twenty_at_fourteen_percent_by_a_one_sided_95() -> None:
    assert wilson(0, 20, 0.975).upper == pytest.approx(0.1611, abs=1e-3)
    assert wilson(20, 20, 0.975).lower == pytest.approx(0.8389, abs=1e-3)
    assert wilson(0, 0, 0.975).lower == 0 and wilson(0, 0, 0.975).upper == 1


def test_newcombes_published_example() -> None:
    # Newcombe 1998, table III: e, f, g, h = 36, 12, 2, 0 gives 0.2000, 0.0569 to 0.3404 by method 10.
    interval = paired_share_difference(36, 2, 12, 0, 0.975)
    assert interval.mean == pytest.approx(0.2)
    assert interval.lower == pytest.approx(0.0569, abs=2e-4)
    assert interval.upper == pytest.approx(0.3404, abs=2e-4)


def test_no_discordant_prompt_still_has_a_width() -> None:
    interval = paired_share_difference(100, 0, 0, 83, 0.975)
    assert interval.mean == 0
    assert -0.04 < interval.lower < 0 < interval.upper < 0.04


def test_paired_interval_covers_what_it_says() -> None:
    dice, covered, trials = random.Random(3), 0, 1500
    weights = (0.5, 0.08, 0.04, 0.38)
    for _ in range(trials):
        drawn = dice.choices(range(4), weights, k=200)
        interval = paired_share_difference(*(drawn.count(cell) for cell in range(4)), 0.975)
        covered += interval.lower <= weights[2] - weights[1] <= interval.upper
    assert 0.93 <= covered / trials <= 0.975
