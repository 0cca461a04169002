import dataclasses

import pytest

from retrain.contrast import Item
from retrain.evaluate import Measurements, Plan, Sides
from retrain.evidence import contrast_gain, told_apart, told_apart_change
from retrain.statistics import paired_share_difference, wilson

ITEMS = tuple(Item(f"ex-{n}", f"group-{n}", f"answer {n}", True) for n in range(4))
PAIRS = ((0, 1), (2, 3))
PLAN = Plan(fresh=(), older=(), taught=(), items=ITEMS, pairs=PAIRS, prompts=(), left_out=0)


def measured(own: float, other: float) -> Measurements:
    """Every accepted answer at `own` nats per token under the draft, every swapped one at `other`."""
    cells = [(one, two) for pair in PAIRS for one in pair for two in pair]
    return Measurements(cross={(q, a): Sides(own if q == a else other, -2.0) for q, a in cells})


def test_a_draft_that_prefers_the_accepted_answers_wins_every_pair() -> None:
    held = told_apart(PLAN, measured(-1.0, -1.1), 0.975)
    assert held is not None and held.mean == 1.0 and 0.4 < held.lower < 1.0 and held.n == 4


def test_one_that_prefers_them_swapped_or_cannot_tell_wins_none() -> None:
    for own, other in ((-1.1, -1.0), (-1.0, -1.0), (float("nan"), -1.0)):
        held = told_apart(PLAN, measured(own, other), 0.975)
        assert held is not None and held.mean == 0.0


def test_a_belief_about_one_answer_is_no_preference() -> None:
    found = measured(-1.0, -1.0)
    for question, answer in list(found.cross):
        if answer == 0:  # likelier whatever is asked
            found.cross[question, answer] = Sides(-0.1, -2.0)
    held = told_apart(PLAN, found, 0.975)
    assert held is not None and held.mean == 0.0


def test_without_pairs_there_is_nothing_to_say() -> None:
    assert told_apart(PLAN, Measurements(), 0.975) is None


def test_an_incumbent_that_was_as_sure_leaves_nothing_to_gain_and_one_that_was_not_does() -> None:
    found = measured(-1.0, -1.1)  # the incumbent cannot tell
    rose = told_apart_change(PLAN, found, 0.975)
    assert rose is not None and (rose.mean, rose.n) == (1.0, 4)
    for (question, answer), sides in list(found.cross.items()):
        found.cross[question, answer] = Sides(sides.draft, sides.draft)
    level = told_apart_change(PLAN, found, 0.975)
    assert level is not None and level.mean == 0.0 and level.lower < 0 < level.upper
    for (question, answer), sides in list(found.cross.items()):
        found.cross[question, answer] = Sides(-1.0, sides.incumbent)
    fell = told_apart_change(PLAN, found, 0.975)
    assert fell is not None and fell.mean == -1.0 and fell.upper < 0


def test_each_pair_is_counted_by_who_tells_it_apart() -> None:
    """Of six pairs both tell two apart, the incumbent alone one, the draft alone two. Twelve items: counts double."""
    right = [(True, True)] * 2 + [(True, False)] + [(False, True)] * 2 + [(False, False)]
    pairs = tuple((2 * n, 2 * n + 1) for n in range(6))
    asked = dataclasses.replace(PLAN, pairs=pairs)
    found = Measurements()
    for pair, (incumbent, draft) in zip(pairs, right, strict=True):
        for question in pair:
            for answer in pair:
                own = question == answer
                found.cross[question, answer] = Sides(
                    -1.0 if own == draft else -1.5, -2.0 if own == incumbent else -2.2
                )
    assert told_apart(asked, found, 0.975) == wilson(8.0, 12, 0.975)
    assert told_apart_change(asked, found, 0.975) == paired_share_difference(4, 2, 4, 2, 0.975)


def test_pairs_that_share_an_item_are_fewer_trials() -> None:
    asked = dataclasses.replace(PLAN, pairs=((0, 1), (0, 2), (0, 3)))
    cells = [(one, two) for one in range(4) for two in range(4)]
    found = Measurements(cross={(q, a): Sides(-1.0 if q == a else -1.1, -2.0) for q, a in cells})
    held, change = told_apart(asked, found, 0.975), told_apart_change(asked, found, 0.975)
    assert held is not None and change is not None
    assert (held.n, change.n) == (3, 3)  # (3 + 1 + 1 + 1)^2 / (9 + 1 + 1 + 1)
    assert contrast_gain(asked, found, 0.975) is None, "one item is in all"


def test_a_pair_that_was_not_measured_both_ways_is_left_out() -> None:
    found = measured(-1.0, -1.1)
    del found.cross[2, 3]
    held = told_apart(PLAN, found, 0.975)
    assert held is not None and held.n == 2
    assert told_apart_change(PLAN, Measurements(), 0.975) is None


def test_the_gain_in_contrast_is_the_mean_over_pairs() -> None:
    gain = contrast_gain(PLAN, measured(-1.0, -1.1), 0.975)
    assert gain is not None and (gain.mean, gain.n) == (pytest.approx(0.1), 4)
