from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel import adjudication
from thumbwheel.adjudication import judge
from thumbwheel.events import ReviewEvent

AUTHOR = "u1"


def said(reviewer: str, verdict: str = "approve", at_ms: int = 0, **fields: Any) -> ReviewEvent:
    known = {"id": f"rv-{reviewer}-{verdict}-{at_ms}", "feedback": "fb-1", "channel": "support", "at_ms": at_ms}
    return ReviewEvent(**{**known, "reviewer": reviewer, "verdict": verdict, **fields})


def state(*reviews: ReviewEvent, needed: int = 1, author: str | None = AUTHOR) -> str:
    found = judge(reviews, needed, author).get(None)
    return adjudication.OPEN if found is None else found.state


def edit(reviewer: str, target: str, **fields: Any) -> ReviewEvent:
    return said(reviewer, "edit", target=target, **fields)


@pytest.mark.parametrize(
    ("reviews", "needed", "wanted"),
    [
        ([], 1, "open"),
        ([said("a")], 1, "approved"),
        ([said("a")], 2, "open"),
        ([said("a"), said("b")], 2, "approved"),
        ([said("a"), said("a", at_ms=1)], 2, "open"),
        ([said("a", "refuse", reason="no")], 1, "refused"),
        ([edit("a", "Free.")], 1, "edited"),
        ([edit("a", "Free."), edit("b", "Ｆｒｅｅ.")], 2, "edited"),
        ([edit("a", "Free."), edit("b", "Not free.")], 2, "disagreement"),
        ([edit("a", "100 yuan"), edit("b", "200 yuan")], 2, "disagreement"),
        ([said("a"), edit("b", "Free.")], 2, "disagreement"),
        ([said("a"), said("b", "refuse", reason="no")], 2, "disagreement"),
        ([said("a"), said("b", "refuse", reason="no")], 1, "disagreement"),
        ([said("a"), said("b", "refuse", reason="no"), said("b", at_ms=1)], 2, "approved"),
        ([said(AUTHOR)], 1, "open"),
        ([said(AUTHOR), said("a")], 2, "open"),
    ],
)
def test_what_reviewers_words_amount_to(reviews: list[ReviewEvent], needed: int, wanted: str) -> None:
    assert state(*reviews, needed=needed) == wanted


DIFFER = (said("a"), said("b", "refuse", reason="no"))


def test_an_arbiter_ends_a_disagreement() -> None:
    assert state(*DIFFER, said("c", role="arbiter"), needed=2) == "approved"
    assert state(*DIFFER, said("c", role="arbiter"), said("d", "refuse", role="arbiter"), needed=2) == "refused"
    found = judge([*DIFFER, edit("c", "Free.", role="arbiter")], 2, AUTHOR)[None]
    assert (found.state, found.target, len(found.reviews)) == ("edited", "Free.", 3)


def test_an_arbiter_says_nothing_where_nobody_disagrees() -> None:
    assert state(said("c", role="arbiter")) == "open"
    assert state(said("a"), said("c", role="arbiter"), needed=2) == "open"
    assert state(said("a"), said("b"), said("c", "refuse", role="arbiter"), needed=2) == "approved"


def test_who_disagrees_is_no_arbiter_of_it() -> None:
    assert state(*DIFFER, said("a", role="arbiter"), needed=2) == "disagreement"


def test_an_arbiter_need_not_have_come_last() -> None:
    """Gateways' clocks may be an hour apart."""
    words = (*DIFFER, said("c", "refuse", role="arbiter"))
    assert {state(*order, needed=2) for order in itertools.permutations(words)} == {"refused"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["approve", "refuse"])), max_size=6))
def test_only_the_order_of_ones_own_words_counts(words: list[tuple[str, str]]) -> None:
    reviews = [said(who, verdict, at_ms=at) for at, (who, verdict) in enumerate(words)]
    by_reviewer = sorted(reviews, key=lambda one: one.reviewer)
    assert state(*reviews, needed=2) == state(*by_reviewer, needed=2)


def test_each_target_is_judged_for_itself() -> None:
    judged = judge(
        [said("a", "refuse", reason="no", proposal="p1"), said("a", proposal="p2"), said(AUTHOR, proposal="p3")],
        1,
        AUTHOR,
    )
    assert {of: one.state for of, one in judged.items()} == {"p1": "refused", "p2": "approved", "p3": "approved"}


def decided(*reviews: ReviewEvent) -> tuple[str, str | None] | None:
    found = adjudication.decision(judge(reviews, 1, AUTHOR))
    return None if found is None else (found.state, found.proposal)


def test_the_decision_of_a_feedback() -> None:
    no_p1 = said("a", "refuse", reason="no", proposal="p1", at_ms=9)
    assert decided() is None
    assert decided(no_p1) is None
    assert decided(no_p1, said("a", proposal="p2", at_ms=1)) == ("approved", "p2")
    assert decided(said("a", proposal="p2", at_ms=5), said("a", proposal="p3", at_ms=1)) == ("approved", "p2")
    assert decided(said("a", proposal="p1"), said("b", "refuse", proposal="p1")) == ("disagreement", "p1")
    assert decided(said("a", proposal="p1", at_ms=5), said("a", "refuse", reason="no")) == ("refused", None)


# ids


def test_the_same_word_again_is_the_same_review() -> None:
    first = adjudication.review_id(said("a"), None)
    assert first == adjudication.review_id(said("a", at_ms=99), None)
    assert first == adjudication.review_id(said("a"), said("a", id=first))
    others = [
        said("b"),
        said("a", "refuse", reason="no"),
        edit("a", "Free."),
        said("a", proposal="p"),
        said("a", role="arbiter"),
        said("a", scores={"accuracy": 5}),
        said("a", feedback="fb-2"),
        said("a", channel="other"),
    ]
    assert len({first, *(adjudication.review_id(other, None) for other in others)}) == len(others) + 1


def test_who_returns_to_an_earlier_word_says_something_new() -> None:
    yes = said("a", id=adjudication.review_id(said("a"), None))
    no = said("a", "refuse", reason="no", id=adjudication.review_id(said("a", "refuse", reason="no"), yes))
    again = adjudication.review_id(said("a"), no)
    assert len({yes.id, no.id, again}) == 3


# samples


def test_a_sample_is_drawn_by_its_seed() -> None:
    waiting = [f"fb-{n}" for n in range(200)]
    drawn = adjudication.sample(waiting, 20, "monday")
    assert drawn == adjudication.sample(waiting[::-1], 20, "monday")
    assert drawn != adjudication.sample(waiting, 20, "tuesday") and drawn != waiting[:20]
    assert len(set(drawn)) == 20 and adjudication.sample(waiting, 300, "monday")[:20] == drawn
    left = [one for one in waiting if one != drawn[0]]
    assert adjudication.sample(left, 19, "monday") == drawn[1:]
