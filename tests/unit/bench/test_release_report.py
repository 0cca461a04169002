"""What the requests show, and that each condition can be broken."""

from __future__ import annotations

from typing import Any

import pytest

from bench.release_load import Asked
from bench.release_report import broken, ratio, window

WORDS = {"rel-1": "ox", "rel-2": "up"}


def asked(release: str | None = "rel-1", text: str = " ox ox", end: str = "whole", wait: float | None = 0.1) -> Asked:
    first = None if wait is None else 10.0 + wait
    return Asked("unit", 10.0, first, 12.0, end, release, "stable", text, len(text.split()))


def test_an_answer_of_another_release_is_wrong_whole_or_not() -> None:
    found = window(
        [
            asked(),
            asked(text=" up up"),
            asked(text=" ox up", end="error event"),
            asked(text="", end="error event", wait=None),
            asked("rel-2", " up"),
            asked(None, "", end="503", wait=None),
        ],
        WORDS,
        2.0,
    )
    one, two = found["releases"]["rel-1"], found["releases"]["rel-2"]
    assert (found["wrong"], one["wrong"], two["wrong"]) == (2, 2, 0)
    assert (one["n"], one["errors"], two["n"]) == (2, 2, 1)
    assert one["tokens_per_s"] == 2.0
    assert found["ends"] == {"whole": 3, "error event": 2, "503": 1}


def test_the_ratio_is_of_the_p95s_and_needs_enough_answers() -> None:
    slow = [asked("rel-2", " up", wait=0.3) for _ in range(20)]
    assert ratio(window([asked() for _ in range(20)] + slow, WORDS, 1.0)) == pytest.approx(3.0)
    assert ratio(window([asked() for _ in range(19)] + slow, WORDS, 1.0)) is None


def good() -> dict[str, Any]:
    calm = {"wrong": 0, "ends": {"whole": 60}, "p95_ratio": 1.2, "loads": {"resolver": 0, "vllm": 0}}
    calm["releases"] = {release: {} for release in WORDS}
    return {
        "warm-up": {"wrong": 0},
        "peace": dict(calm),
        "before": {"wrong": 0},
        "gap": {"wrong": 0, "ends": {"503": 60, "error event": 20, "whole": 2}},
        "after": dict(calm),
        "loads": {"warm-up": {"resolver": 2, "vllm": 2}, "recovery": {"resolver": 2, "vllm": 2}},
        "rollout": {"state": "running", "reasons": []},
    }


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("peace", "p95_ratio", 2.1),
        ("after", "p95_ratio", None),
        ("peace", "ends", {"whole": 59, "503": 1}),
        ("after", "loads", {"resolver": 0, "vllm": 1}),
        ("loads", "warm-up", {"resolver": 2, "vllm": 0}),
        ("loads", "recovery", {"resolver": 3, "vllm": 2}),
        ("gap", "ends", {"hung": 1}),
        ("gap", "wrong", 1),
        ("before", "wrong", 1),
        ("rollout", "state", "rolled_back"),
    ],
)
def test_every_condition_can_be_broken(part: str, key: str, value: object) -> None:
    assert broken(good()) == []
    figures = good()
    figures[part][key] = value
    assert len(broken(figures)) == 1
