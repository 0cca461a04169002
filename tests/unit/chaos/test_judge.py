"""The checker, checked: what is planted among clean lists is reported, and clean lists are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.chaos.judge import (
    Held,
    Word,
    judge,
    judge_after_run,
    judge_after_window,
    judge_answers,
    judge_inferences,
    judge_unknown,
)
from thumbwheel import ledger as ledger_words

SAID = [
    Word("m1", frozenset({"fb-1"})),
    Word("m2", frozenset({"fb-2"})),
    Word("m3", frozenset({"fb-3"})),
    Word("m4", frozenset()),  # was not acknowledged, and is there
    Word("m5", frozenset()),  # was not acknowledged, and is not
    Word("m6", frozenset({"fb-6"})),
]
HELD = [
    Held("fb-1", "m1", "used", None),
    Held("fb-2", "m2", "refused", "superseded"),
    Held("fb-3", "m3", "waiting", "no_correction"),
    Held("fb-4", "m4", "waiting", "no_run_yet"),
    Held("fb-6", "m6", "waiting", "dead_letter"),
]


def ledger(**changed: Any) -> dict[str, Any]:
    waiting = {"no_correction": 1, "no_run_yet": 1, "dead_letter": 1}
    return {"acknowledged": 5, "used": 1, "refused": {"superseded": 1}, "waiting": waiting, **changed}


def test_what_is_right_is_not_reported() -> None:
    assert judge(SAID, HELD, ledger()) == []


def lost(held: list[Held]) -> list[Held]:
    return [one for one in held if one.id != "fb-2"]


def doubled(held: list[Held]) -> list[Held]:
    return [*held, Held("fb-again", "m3", "waiting", "no_correction")]


def doubled_unheard(held: list[Held]) -> list[Held]:
    return [*held, Held("fb-again", "m4", "waiting", "no_run_yet")]


def in_two_states(held: list[Held]) -> list[Held]:
    return [*held, Held("fb-1", "m1", "waiting", "dead_letter")]


def never_said(held: list[Held]) -> list[Held]:
    return [*held, Held("fb-9", "m9", "used", None)]


def without_a_mark(held: list[Held]) -> list[Held]:
    return [*held, Held("fb-9", None, "used", None)]


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (lost, "fb-2 (m2) was acknowledged and is lost"),
        (doubled, "m3 is there 2 times"),
        (doubled_unheard, "m4 is there 2 times"),
        (in_two_states, "fb-1 is there 2 times"),
        (never_said, "fb-9 (m9) was never said"),
        (without_a_mark, "fb-9 (None) was never said"),
    ],
)
def test_what_is_planted_among_the_rows_is_reported(plant: Callable[[list[Held]], list[Held]], told: str) -> None:
    held = plant(HELD)
    assert told in judge(SAID, held, ledger())
    waiting: dict[str, int] = {}
    for one in held:
        if one.state == "waiting":
            waiting[str(one.reason)] = waiting.get(str(one.reason), 0) + 1
    refused = sum(one.state == "refused" for one in held)
    agreeing = ledger(
        acknowledged=len(held),
        used=sum(one.state == "used" for one in held),
        refused={"superseded": refused} if refused else {},
        waiting=waiting,
    )
    assert told in judge(SAID, held, agreeing), "a ledger that agrees hides nothing"


def test_one_message_is_one_event() -> None:
    said = [Word("m1", frozenset({"fb-1", "fb-7"})), *SAID[1:]]
    assert "m1 was acknowledged under 2 ids" in judge(said, HELD, ledger())


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"state": "limbo"}, "fb-3 is limbo, which is no state"),
        ({"reason": None}, "fb-3 is waiting with the reason None"),
        ({"state": "used"}, "fb-3 is used with the reason no_correction"),
    ],
)
def test_each_stands_somewhere_and_says_why(changed: dict[str, Any], told: str) -> None:
    assert told in judge(SAID, [*HELD[:2], replace(HELD[2], **changed), *HELD[3:]], ledger())


@pytest.mark.parametrize(
    "changed",
    [
        {"acknowledged": 6},
        {"used": 2},
        {"refused": {}},
        {"refused": {"duplicate": 1}},
        {"waiting": {"no_correction": 2, "no_run_yet": 1}},
    ],
)
def test_a_ledger_that_does_not_add_up_is_reported(changed: dict[str, Any]) -> None:
    assert judge(SAID, HELD, ledger(**changed))


def test_past_the_window_only_what_a_reviewer_ends_still_waits() -> None:
    over = ["dead_letter", "inference_not_seen", "no_correction", "no_run_yet", "second_source"]
    reasons = {*over, *ledger_words.REVIEWABLE}
    assert reasons == {*ledger_words.CURATION_WAITS, *over} and ledger_words.REVIEWABLE
    held = [Held(reason, reason, "waiting", reason) for reason in sorted(reasons)]
    told = judge_after_window([*held, Held("fb", "m", "refused", "inference_unknown"), Held("u", "u", "used", None)])
    assert [line.split()[0] for line in told] == over


def test_what_a_run_has_seen_waits_for_none() -> None:
    assert judge_after_run(HELD) == ["fb-4 waits for the run that it has had"]


def test_an_answer_without_a_record_is_a_fault_unless_its_gateway_was_killed_that_moment() -> None:
    held = [
        *HELD,
        Held("fb-7", "m7", "refused", "inference_unknown", "before"),
        Held("fb-8", "m8", "refused", "inference_unknown", "just before"),
        Held("fb-9", "m9", "refused", "inference_unknown", "just after"),  # heard late by its client
        Held("fb-10", "m10", "refused", "inference_unknown", "stranger"),
        Held("fb-11", "m11", "refused", "superseded", "before"),
    ]
    answered = {"before": 10.0, "just before": 10.9, "just after": 11.1}
    faults = judge_unknown(held, answered, [5.0, 11.0])
    assert [fault.split()[0] for fault in faults] == ["fb-7", "fb-10"]
    assert len(judge_unknown(held, answered, [])) == 4


def test_an_answer_that_is_lost_is_a_fault_whether_or_not_anybody_spoke_of_it() -> None:
    answered = {"kept": 3.0, "lost": 10.0, "dying": 10.9}
    assert judge_answers(answered, ["kept", "other"], [11.0]) == ["inference lost was answered and is lost"]
    assert judge_answers(answered, list(answered), []) == []


def test_inferences_are_once_in_the_store_however_often_in_the_log() -> None:
    assert judge_inferences(["a", "b", "b"], ["a", "b"]) == []
    assert judge_inferences(["a", "b"], ["a"]) == ["inference b is in the log and not in the store"]
    assert judge_inferences(["a"], ["a", "b"]) == ["inference b is in the store and not in the log"]
    assert judge_inferences(["a"], ["a", "a"]) == ["inference a is in the store 2 times"]
