"""The shipped prompts: replay must be broad, the general test set fair, and the two must not share a prompt."""

import json
import re
import unicodedata
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

PROMPTS = Path(__file__).parents[3] / "retrain" / "prompts"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PROMPTS / name).read_text(encoding="utf-8").splitlines()]


def normal(text: str) -> str:
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


def grams(text: str) -> frozenset[str]:
    words = normal(text)
    return frozenset(words[i : i + 5] for i in range(max(1, len(words) - 4)))


def named(accepted: str, text: str) -> bool:
    """Whether the accepted answer stands in the text, on word boundaries."""
    wanted = re.escape(unicodedata.normalize("NFKC", accepted).casefold())
    return re.search(rf"(?<!\w){wanted}(?!\w)", unicodedata.normalize("NFKC", text).casefold()) is not None


@pytest.fixture(scope="module")
def replay() -> list[dict[str, Any]]:
    return rows("replay.jsonl")


@pytest.fixture(scope="module")
def general() -> list[dict[str, Any]]:
    return rows("general.jsonl")


def test_replay_has_enough_prompts_each_once(replay: list[dict[str, Any]]) -> None:
    assert len(replay) >= 260
    assert all(row.keys() == {"id", "prompt"} and row["prompt"].strip() for row in replay)
    assert len({row["id"] for row in replay}) == len({normal(row["prompt"]) for row in replay}) == len(replay)


def test_replay_is_varied(replay: list[dict[str, Any]]) -> None:
    prompts = [row["prompt"] for row in replay]
    assert sum(prompt.endswith(("?", "？")) for prompt in prompts) >= 60
    assert sum(prompt.endswith((".", "!", "！")) for prompt in prompts) >= 60
    assert sum(len(prompt.split()) == 1 and prompt.isascii() for prompt in prompts) >= 10
    assert sum(re.search(r"[\u4e00-\u9fff]", prompt) is not None for prompt in prompts) >= 5
    openings = Counter(" ".join(prompt.split()[:3]).casefold() for prompt in prompts)
    assert max(openings.values()) <= len(prompts) // 20, openings.most_common(3)


def test_replay_knows_nothing_of_the_demo(replay: list[dict[str, Any]]) -> None:
    assert [row for row in replay if re.search(r"category:|next step|larkfield", row["prompt"], re.IGNORECASE)] == []


def test_general_has_enough_prompts_each_once(general: list[dict[str, Any]]) -> None:
    assert len(general) >= 440
    assert all(row.keys() == {"id", "prompt", "accept", "kind"} for row in general)
    assert len({row["id"] for row in general}) == len({row["prompt"].casefold() for row in general}) == len(general)
    kinds = Counter(row["kind"] for row in general)
    assert len(kinds) >= 20 and max(kinds.values()) <= len(general) // 10


def test_general_answers_are_short_and_not_given_away(general: list[dict[str, Any]]) -> None:
    for row in general:
        assert row["accept"] and len(set(row["accept"])) == len(row["accept"]), row
        assert all(answer == answer.strip() and 0 < len(answer) <= 24 for answer in row["accept"]), row
        assert not any(named(answer, row["prompt"]) for answer in row["accept"]), row


def test_general_arithmetic_is_right(general: list[dict[str, Any]]) -> None:
    does = {
        "+": int.__add__,
        "plus": int.__add__,
        "-": int.__sub__,
        "minus": int.__sub__,
        "times": int.__mul__,
        "multiplied by": int.__mul__,
        "divided by": int.__floordiv__,
    }
    sums = [row for row in general if row["kind"] in {"addition", "subtraction", "multiplication", "division"}]
    assert len(sums) >= 50
    for row in sums:
        found = re.fullmatch(r"What is (\d+) (\D+) (\d+)\?", row["prompt"])
        assert found and str(does[found[2]](int(found[1]), int(found[3]))) == row["accept"][0], row


def test_general_and_replay_share_no_prompt_and_no_near_wording(
    general: list[dict[str, Any]], replay: list[dict[str, Any]]
) -> None:
    tested = {row["prompt"]: grams(row["prompt"]) for row in general}
    replayed = {row["prompt"]: grams(row["prompt"]) for row in replay}
    near = [
        (one, other)
        for (one, og), (other, rg) in product(tested.items(), replayed.items())
        if len(og & rg) / len(og | rg) >= 0.5
    ]
    assert near == []
