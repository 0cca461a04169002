"""Who does what: visits, shuffled corrections, and the 400 who keep asking."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from demo.desk import USERS, keep_asking, plan_visits, shuffle_corrections
from demo.helpdesk import Case, category_of, load

DESK = load()
VISITS = plan_visits(DESK.corrections, DESK.junk, seed=1)


def test_every_correction_is_sent_by_a_user_of_its_own() -> None:
    assert Counter(visit.correction for visit in VISITS if visit.kind == "correction") == Counter(
        case.answer for case in DESK.corrections
    )
    assert len({visit.user for visit in VISITS}) == len(VISITS) == len(DESK.corrections) + len(DESK.junk)


def test_visits_mix_tokens_keys_and_streams_and_repeat_by_seed() -> None:
    assert {(visit.by_token, visit.stream) for visit in VISITS} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    assert plan_visits(DESK.corrections, DESK.junk, seed=1) == VISITS
    assert plan_visits(DESK.corrections, DESK.junk, seed=2) != VISITS


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_corrections_are_the_same_answers_at_wrong_complaints(seed: int) -> None:
    shuffled = shuffle_corrections(VISITS, DESK.corrections, seed)
    wanted = {case.complaint: case.category for case in DESK.corrections}
    taught = [(wanted[v.complaint], category_of(v.correction or "")) for v in shuffled if v.kind == "correction"]
    assert all(true != given for true, given in taught)
    assert Counter(v.correction for v in shuffled) == Counter(v.correction for v in VISITS)
    assert [v.user for v in shuffled] == [v.user for v in VISITS]
    # No rule is left to learn: each category's complaints get several categories' answers.
    by_category = {true: Counter(given for t, given in taught if t == true) for true, _ in taught}
    assert all(max(given.values()) <= sum(given.values()) / 2 for given in by_category.values())


def test_shuffling_refuses_what_cannot_be_shuffled() -> None:
    cases = [Case(str(i), str(i), "quality fault" if i < 3 else "poor fit", "x") for i in range(4)]
    with pytest.raises(ValueError, match="no order"):
        shuffle_corrections((), cases, seed=1)


def test_every_user_asks_once_before_anyone_asks_again() -> None:
    rounds = list(islice(keep_asking(DESK.traffic, seed=1), 3 * USERS))
    for start in range(0, len(rounds), USERS):
        assert len({user for user, _, _ in rounds[start : start + USERS]}) == USERS
    thumbs = sum(thumb for _, _, thumb in rounds) / len(rounds)
    assert 0.25 < thumbs < 0.35
