from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.simplified import simplified


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("請問電話號碼", "请问电话号码"),
        ("滾動視窗", "滚动视窗"),
        ("包過", "包过"),
        ("已经是简体 abc 123", "已经是简体 abc 123"),
    ],
)
def test_traditional_characters_become_simplified(text: str, made: str) -> None:
    assert simplified(text) == made


@given(st.text())
def test_once_is_enough_and_the_length_stays(text: str) -> None:
    once = simplified(text)
    assert simplified(once) == once and len(once) == len(text)
