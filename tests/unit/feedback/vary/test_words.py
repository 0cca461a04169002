from __future__ import annotations

import pytest

from feedback.near import marks
from feedback.vary.fixed import fixed
from feedback.vary.words import BUILT_IN, in_other_words, lexicon

SHOP = lexicon([("宽带", "光纤"), ("router", "gateway", "box")])


def worded(text: str, target: str = "Yes.", seed: str = "s") -> str | None:
    return in_other_words(text, target, SHOP, fixed(text), seed)


def test_a_word_stands_for_another_wherever_it_is() -> None:
    assert worded("宽带断了，宽带怎么修") == "光纤断了，光纤怎么修"


@pytest.mark.parametrize(
    "text",
    [
        "电视断了",
        "my routers fail",
        "the router-x fails",
        "my_router fails",
        "the code `router` fails",
        "set router=1",
    ],
)
def test_nothing_else_is_touched(text: str) -> None:
    assert worded(text) is None


def test_a_word_that_the_answer_holds_stays() -> None:
    assert worded("宽带断了", "您好，宽带已恢复。") is None
    assert worded("The router is off", "Turn the ROUTER on.") is None


def test_capitals_stay() -> None:
    assert {worded("Router is off", seed=str(n)) for n in range(20)} == {"Gateway is off", "Box is off"}


def test_the_same_seed_draws_the_same() -> None:
    assert len({worded("the router is off", seed="7") for _ in range(5)}) == 1


def test_the_longest_word_counts_so_a_short_one_in_it_does_not() -> None:
    known = lexicon(BUILT_IN)
    for text, wanted in {
        "任何时候都行吗": "任何时间都行吗",
        "这个怎么办理": {"这个如何办理", "这个怎样办理"},
        "这个什么时候到": "这个何时到",
        "忘记了密码": "忘了密码",
    }.items():
        found = in_other_words(text, "好的。", known, fixed(text), "s")
        assert found in wanted if isinstance(wanted, set) else found == wanted


def test_built_in_words_mean_the_same_to_what_tells_questions_apart() -> None:
    for group in BUILT_IN:
        assert len({marks(f"q {word} q") for word in group}) == 1, group
        assert len({word.casefold() for word in group}) == len(group)
    words = [word for group in BUILT_IN for word in group]
    assert len(words) == len(set(words))
