"""What a rollout's looks and requests add up to, and the ledger's sum."""

from __future__ import annotations

import pytest

from demo.cycle import Poll, adds_up, canary, describe_progress, form_kept
from demo.desk import Seen
from demo.intervals import error_bound


def seen(sent: float, user: str, variant: str | None, failed: bool = False, form: bool = True) -> Seen:
    return Seen(sent, user, variant, failed, form and not failed, None)


POLLS = [
    Poll(0.0, "running", 0),
    Poll(1.0, "running", 5),
    Poll(2.0, "running", 5),
    Poll(3.0, "running", 25),
    Poll(4.0, "running", 25),
    Poll(5.0, "promoted", 100),
]


def test_a_stage_counts_the_requests_between_its_first_and_last_look() -> None:
    requests = [
        seen(0.5, "a", "stable"),  # before the first weight
        seen(1.5, "a", "stable"),
        seen(1.6, "b", "candidate"),
        seen(1.7, "b", "candidate"),
        seen(2.5, "c", "candidate"),  # between two weights: nobody knows which one it saw
        seen(3.5, "c", "candidate"),
        seen(4.5, "d", "stable"),
    ]
    five, twenty_five = canary(POLLS, requests)
    assert (five["weight"], five["requests"], five["units"], five["all_requests"]) == (5, 2, 1, 3)
    assert five["observed"] == pytest.approx(66.67)
    assert five["bound"] == error_bound(0, 2)
    assert (twenty_five["weight"], twenty_five["requests"], twenty_five["observed"]) == (25, 1, 100.0)


def test_a_failure_of_unknown_origin_counts_against_the_candidate() -> None:
    stage = canary(POLLS, [seen(1.5, "a", "candidate"), seen(1.6, "b", None, failed=True)])[0]
    assert (stage["errors"], stage["bound"]) == (1, error_bound(1, 2))


def test_a_stage_that_saw_no_candidate_claims_nothing() -> None:
    stage = canary(POLLS, [seen(1.5, "a", "stable")])[0]
    assert (stage["requests"], stage["observed"], stage["bound"]) == (0, 0.0, None)
    assert canary(POLLS, [])[0]["observed"] is None


def test_form_is_counted_over_answers_that_came() -> None:
    requests = [
        seen(1, "a", "stable", form=False),
        seen(1, "b", "candidate"),
        seen(1, "c", "candidate", form=False),
        seen(1, "d", "candidate", failed=True),
    ]
    assert form_kept(requests, "stable") == (0, 1)
    assert form_kept(requests, "candidate") == (1, 2)


@pytest.mark.parametrize(
    ("acknowledged", "used", "own", "expected"),
    [(10, 5, 10, True), (10, 5, 11, False), (10, 4, 10, False)],
)
def test_a_ledger_adds_up_to_its_parts_and_to_the_desks_own_count(
    acknowledged: int, used: int, own: int, expected: bool
) -> None:
    ledger = {"acknowledged": acknowledged, "used": used, "refused": {"a": 1, "b": 1}, "waiting": {"c": 3}}
    assert adds_up(ledger, own) is expected


def test_progress_in_words() -> None:
    assert describe_progress("queued", {}) == "queued"
    progress = {"step": "epochs", "done": 3, "of": 84, "eta_s": 95.2}
    assert describe_progress("training", progress) == "training: epochs 3 of 84, 95 s to go"
