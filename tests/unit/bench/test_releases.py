"""What the benchmark counts, and that each condition it asserts can be broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.releases import Asked, Reader, broken, loads, ratio, recovered, refusal, window

WORDS = {"rel-1": "ox", "rel-2": "up"}
START = "INFO:     Application startup complete.\n"
FETCHED = "adapter 0123456789ab fetched: load 1 of this engine, rank 32\n"
READ = "Adding lora. Model id: 1, int id: 1\n"


def asked(release: str | None = "rel-1", text: str = " ox ox", end: str = "whole", wait: float | None = 0.1) -> Asked:
    first = None if wait is None else 10.0 + wait
    return Asked("unit", 10.0, first, 12.0, end, release, "stable", text, len(text.split()))


def chunk(content: str) -> str:
    return "data: " + json.dumps({"choices": [{"delta": {"content": content}}]})


def read(*lines: str) -> Reader:
    reader = Reader()
    for at, line in enumerate(lines):
        reader.take(line, float(at))
    return reader


def test_a_stream_is_whole_with_done_and_its_first_token_is_its_first_text() -> None:
    reader = read(
        chunk(""), "", chunk(" ox"), 'data: {"choices": [], "usage": {"completion_tokens": 1}}', "data: [DONE]"
    )
    assert (reader.end, reader.first, reader.tokens, reader.parts) == ("whole", 2.0, 1, ["", " ox"])


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (['data: {"error": {"message": "gone"}}'], "error event"),
        (['data: {"error": {"message": "gone"}}', "data: [DONE]"], "[DONE] after an error"),
        ([], "ended without [DONE] or an error"),
    ],
)
def test_a_stream_that_breaks_off_says_how(last: list[str], end: str) -> None:
    assert read(chunk(" ox"), *last).end == end


def test_a_refusal_is_clean_only_as_the_interface_has_it() -> None:
    shaped = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": None}})
    assert refusal(503, {"retry-after": "1"}, shaped) == "503"
    assert refusal(503, {}, shaped) == "status 503"
    assert refusal(503, {"retry-after": "1"}, "<html>") == "status 503, not in OpenAI's shape"
    assert refusal(500, {"retry-after": "1"}, shaped) == "status 500"


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


def test_loads_are_counted_since_the_last_start() -> None:
    log = READ + START + FETCHED + READ + READ + START + FETCHED + READ
    assert loads(log) == {"resolver": 1, "vllm": 1}
    with pytest.raises(ValueError, match="no start"):
        loads(FETCHED)


def test_a_release_has_recovered_with_its_first_whole_answer_after_the_kill() -> None:
    late = asked(wait=5.0)
    assert recovered([asked(wait=0.5), late, asked("rel-2", end="error event", wait=6.0)], 11.0, WORDS) == [15.0, None]


def good() -> dict[str, Any]:
    calm = {"wrong": 0, "ends": {"whole": 60}, "p95_ratio": 1.2, "loads": {"resolver": 0, "vllm": 0}}
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
