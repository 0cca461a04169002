from __future__ import annotations

import pytest

from thumbwheel.scripts import script_of


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("充电器坏了怎么办", "zh"),
        ("我的iPhone充不进电", "zh"),
        ("SONY WH-1000XM5 headset 坏了", "latin"),
        ("優の良品的充电器什么时候发货，订单还没有动静", "zh"),
        ("充電器が壊れました", "ja"),
        ("カタカナ", "ja"),
        ("ﾊﾝｶｸ", "ja"),
        ("충전기가 고장났어요", "ko"),
        ("เครื่องชาร์จเสีย", "th"),
        ("The charger is broken", "latin"),
        ("Ｆｕｌｌ ｗｉｄｔｈ", "latin"),
        ("Зарядка сломалась", "cyrillic"),
        ("شارژر خراب است", "arabic"),
        ("चार्जर खराब है", "devanagari"),
        ("ቻርጀሩ ተበላሽቷል", "other"),
        ("12345 ?!", "none"),
        ("", "none"),
        ("充电器坏了" * 400 + "It is broken. " * 10_000, "zh"),
    ],
)
def test_what_most_of_it_is_written_in(text: str, script: str) -> None:
    assert script_of(text) == script
