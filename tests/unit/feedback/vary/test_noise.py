from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback import near
from feedback.near import marks
from feedback.vary.fixed import fixed
from feedback.vary.noise import _ALIKE, RATE, with_slips


def slipped(text: str, seed: str = "s") -> str | None:
    return with_slips(text, fixed(text), seed)


def changed(one: str, other: str) -> int:
    """How many characters have to be put in, taken out or changed to make the one from the other."""
    row = list(range(len(other) + 1))
    for at, char in enumerate(one, start=1):
        last, row = row, [at]
        for place, another in enumerate(other, start=1):
            row.append(min(last[place] + 1, row[-1] + 1, last[place - 1] + (char != another)))
    return row[-1]


LONG_ZH = "你好，我在你们店买的充电器用了几次就坏了，联系客服一直没有人理，请问应该怎么办，能换一个吗？" * 2
LONG_EN = "hello there, the charger that came with this order stopped working after several weeks of careful usage " * 2


@pytest.mark.parametrize("text", [LONG_ZH, LONG_EN, LONG_ZH + LONG_EN])
def test_one_letter_in_twenty_is_another(text: str) -> None:
    for n in range(5):
        found = slipped(text, str(n))
        assert found is not None
        letters = sum(map(str.isalpha, text))
        assert 0 < changed(text, found) <= 2 * RATE * letters  # two letters exchanged are two characters
        assert changed(text, found) >= 0.5 * RATE * letters


def test_the_same_seed_slips_the_same_and_another_does_not() -> None:
    assert slipped(LONG_ZH, "1") == slipped(LONG_ZH, "1") != slipped(LONG_ZH, "2")


def test_slips_are_those_of_a_pen() -> None:
    assert {slipped("我买的充电器到现在还没有收到", str(n)) for n in range(30)} <= {
        "我买的冲电器到现在还没有收到",
        "我买的插电器到现在还没有收到",
        "我买地充电器到现在还没有收到",
        "我买得充电器到现在还没有收到",
        "我买的充电器倒现在还没有收到",
        "我买的充电器到线在还没有收到",
        "我买的充电器到现再还没有收到",
        "我买的充电器到现在还没有收倒",
    }


@pytest.mark.parametrize(
    "text",
    [
        "退货",
        "在吗",
        "[PHONE_1] [ORDER_2] 12345 67890",
        "SONY WH1000 AKG K240 JBL Bose Sennheiser",
        "return value == other(value)",
        "`the charger that came with this order`",
        "充電器が壊れました。在庫はありますか",
        "เครื่องชาร์จเสีย ทำอย่างไรดี",
        "never nothing without nobody neither hardly",
    ],
)
def test_what_takes_no_slip(text: str) -> None:
    assert slipped(text) is None


PARTS = ["不要退货", "充电器坏了", "订单 12345", "[PHONE_1]", "`code in it`", "Sony", "charger", "没有收到", "3 days"]


@given(st.lists(st.sampled_from([*PARTS, "please help", "请帮忙看看"]), min_size=3, max_size=12), st.integers())
def test_numbers_negations_names_and_placeholders_stay(parts: list[str], seed: int) -> None:
    text = "，".join(parts)
    found = slipped(text, str(seed))
    if found is not None:
        assert found != text and marks(found) == marks(text)


def test_what_is_mistaken_makes_no_other_case() -> None:
    chars = [char for group in _ALIKE for char in group]
    assert len(chars) == len(set(chars)), "each stands in one group"
    assert not set(chars) & near._BEARING
    assert not any(marks(f"好{char}好") for char in chars)


def test_it_takes_time_in_proportion() -> None:
    """What was quadratic would run into the time limit of a test here."""
    text = "".join(random.Random(1).choices("abcdefg @/=`[(", k=60_000))
    assert slipped(text) is None, "it is signs and code, in which nothing may slip"
