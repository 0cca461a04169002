from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from thumbwheel.dataset_figures import LEAST_RATIO, MOST_RATIO, after_erasure, balance, figures_of, weighed


def row(id_: str, **fields: Any) -> dict[str, Any]:
    held = {
        "id": id_,
        "kind": "sft",
        "messages": [{"role": "user", "content": f"订单{id_}到哪了"}],
        "group": f"g-{id_}",
        "split": "train",
        "feedback": f"fb-{id_}",
        "author": f"u-{id_}",
        "role": "user",
        "merged": [],
        "since": None,
    }
    return {**held, **fields}


def thumb(id_: str, label: bool, split: str = "train") -> dict[str, Any]:
    return row(id_, kind="kto", label=label, weight=1.0, split=split)


def test_corrections_thumbs_and_other_wordings_are_counted_apart() -> None:
    rows = [
        row("1", merged=["fb-8"]),
        row("2", split="test", since="d1", role="expert"),
        row("1-a", augmented={"from": "1", "kind": "noise"}, group="g-1"),
        thumb("3", True),
    ]
    told = figures_of(rows, {"1": ["退货"], "2": []})
    assert (told["rows"], told["kinds"], told["merged"], told["new"]) == (2, {"kto": 1, "sft": 2}, 1, 1)
    assert (told["splits"], told["new_by_split"]) == ({"train": 1, "test": 1}, {"train": 1})
    assert (told["groups"], told["authors"], told["roles"]) == (2, 2, {"expert": 1, "user": 1})
    assert told["augmented"] == {"rows": 1, "kinds": {"noise": 1}}
    assert told["coverage"]["tags"]["退货"]["rows"] == told["coverage"]["untagged"]["rows"] == 1
    assert told["kto"]["splits"]["train"]["desirable"] == {"rows": 1, "weight": 1.0}


def test_what_went_is_added_up_and_what_nobody_can_count_is_named() -> None:
    card = {"format": 3, "rows": 9, "feedback": 12, "redacted": {"EMAIL": 4}, "refused": {"empty": 3}}
    once = after_erasure(card, [row("1"), row("2")], {"1": (), "2": ()}, 7)
    assert once == {
        "format": 3,
        "rows": 2,
        "feedback": 12,
        "refused": {"empty": 3},
        "erased": 7,
        "as_frozen": ["feedback", "refused"],
        "uncounted": ["redacted"],
    }
    twice = after_erasure(once, [row("1")], {"1": ()}, 1)
    assert (twice["rows"], twice["erased"], twice["uncounted"]) == (1, 8, ["redacted"])


def test_a_mix_has_the_rows_that_are_left_of_its_training_rows() -> None:
    part = {"wanted": 0.5, "got": 0.5, "rows": 2, "left_out": 3}
    card = {"mix": {"shares": {"a": part, "b": part}, "other": None, "max_age_days": 30, "too_old": 4}}
    rows = [row("1"), row("2"), row("3"), row("4", split="test"), row("1-a", augmented={"from": "1", "kind": "noise"})]
    tags = {"1": ("a",), "2": ("b",), "3": ("a", "b"), "4": ("b",), "1-a": ("a",)}
    mix = after_erasure(card, rows, tags, 1)["mix"]
    assert mix["shares"]["a"] == {"wanted": 0.5, "got": 0.666667, "rows": 2, "left_out": 3}
    assert mix["shares"]["b"] == {"wanted": 0.5, "got": 0.333333, "rows": 1, "left_out": 3}
    assert (mix["other"], mix["max_age_days"], mix["too_old"]) == (None, 30, 4)


def test_thumbs_that_are_left_are_balanced_anew_in_each_split() -> None:
    rows = [row("0"), *(thumb(str(n), n != 9) for n in range(1, 10)), thumb("t", True, "test")]
    weights = {one["id"]: one.get("weight") for one in weighed(rows)}
    assert weights["0"] is None and weights["1"] == 1.0 and weights["9"] == 6.0 and weights["t"] == 1.0
    assert [one for one in weighed(rows) if one.get("kind") != "kto"] == [rows[0]]


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_weights_balance_and_discard_nothing(liked: int, disliked: int) -> None:
    up, down = balance(liked, disliked)
    assert min(up, down) == 1.0, "only one side is weighed otherwise, and up"
    if liked and disliked:
        assert LEAST_RATIO - 1e-9 <= up * liked / (down * disliked) <= MOST_RATIO + 1e-9
        assert (up, down) == (1.0, 1.0) or not LEAST_RATIO <= liked / disliked <= MOST_RATIO
    else:
        assert (up, down) == (1.0, 1.0)


def test_weights_of_a_channel_that_is_mostly_liked_and_of_one_that_is_not() -> None:
    assert balance(40, 10) == (1.0, 3.0)
    assert balance(5, 10) == (2.0, 1.0)
    assert balance(12, 10) == (1.0, 1.0)
