from __future__ import annotations

import pytest

from feedback.unfinished import is_unfinished


@pytest.mark.parametrize(
    "text",
    [
        "您好，请您先登录账户，然后",
        "请按以下步骤操作：",
        "您的订单将在三天内发货，",
        "运费由我们承担（不含",
        "请把发票、",
        "他说“明天就到",
        "如有问题，请联系我们，因为",
        "返品の場合は、",
        "Please sign out and",
        "We will refund your",
        "The steps are:\n1. Open it\n2.",
        "Steps\n- a\n-",
        "```python\nprint(1)",
        "Sorry, we need your order number and the",
        "Bitte senden Sie es zurück und",
        "See informa-",
        '{"a": [1, 2',
        "I see (but",
    ],
)
def test_what_breaks_off(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "好的",
        "退货免费",
        "Free return",
        "是的",
        "可以的",
        "稍等…",
        "We're on it...",
        "请于三天内寄回，谢谢",
        "再好不过",
        "温和",
        "我还有",
        "ขอบคุณค่ะ",
        "ありがとうございます",
        "Done :)",
        "Sorry about that :(",
        "区间是[0, 1)",
        "1) 打开 2) 关闭",
        "请看图 (1)",
        "Dear Ann,\nit is done.\nBest regards,",
        "„Das ist gut“",
        "他说“好”",
        "“First para\n\n“Second para.”",
        "SELECT 1;",
        "C++",
        "A+",
        "`foo(` 是函数名",
        "Use `(`",
        "The operator is `and`",
        "See https://a.example/b_(c)",
        "int main() { return 0; }",
        "R&D",
        "3:30",
        "Category: quality fault. Send it back",
        "That is what it is",
        "It's all yours",
        "- a\n- b",
        "```\nf(\n```",
        "and",
        "the",
    ],
)
def test_what_is_whole_without_a_full_stop(text: str) -> None:
    assert not is_unfinished(text)
