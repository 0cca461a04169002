from __future__ import annotations

import pytest

from feedback.blocked import blocking, holds_blocked


@pytest.mark.parametrize(
    "text",
    [
        "Fuck you",
        "ＦＵＣＫ",
        "fu\u200bck off",
        "你这傻逼",
        "傻 逼",
        "滚犊子！",
        "Use acme's",
        "用Acme吧",
        "这是竞品X做的",
    ],
)
def test_a_term_is_found_however_it_is_written(text: str) -> None:
    assert holds_blocked(text, blocking(["Acme", "竞品x"]))


@pytest.mark.parametrize(
    "text", ["Scunthorpe", "a class assessment", "妈妈的手机", "placement", "acmed", "很傻，逼近极限"]
)
def test_a_word_that_only_holds_one_is_another(text: str) -> None:
    assert not holds_blocked(text, blocking(["Acme", "lace"]))


def test_what_is_allowed_stands_there_and_only_there() -> None:
    terms = blocking(["二手"])
    assert holds_blocked("这是二手的", terms)
    assert not holds_blocked("二手东官方店", terms, ["二手东"])
    assert holds_blocked("二手东不卖二手的", terms, ["二手东"])


def test_the_channels_terms_are_no_patterns() -> None:
    assert not holds_blocked("abc", blocking(["a.c", "("]))
    assert holds_blocked("a.c", blocking(["a.c"]))
