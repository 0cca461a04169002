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


CUT_OFF = [
    "请先打开阀门，接着",
    "住宿费包含早餐和",
    "发票可以补开，不过",
    "材料需要原件及",
    "票可以改签，但",
    "需要身份证、户口本或",
    "具体流程如下",
    "可以线上办理，另外",
    "孩子可以免票，可是",
    "请先缴费，其次",
    "我们提供接送服务，同时",
    "本次优惠适用于新会员与",
    "如需取消，除非",
    "押金退还，然而",
    "首先刷卡進站，其次",
    "費用包括水費和",
    "因為設備檢修，所以",
    "可办理的业务分别是",
    "You need a passport, a photo and",
    "We can move your booking, including",
    "Please bring documents such as",
    "It was cancelled due to",
    "Ask the desk whether",
    "请把申请表交给窗口，并",
]
WHOLE = [
    "这两者的总和",
    "天气很温和",
    "请随时参与",
    "资金来不及",
    "他穿高跟",
    "再好不过",
    "改为线上参与",
    "请在三天内寄回，谢谢",
    "没有根据",
    "步骤很简单",
    "空调三档，风力柔和",
    "全场优惠，一律八折",
    "可以，随时来",
    "不涉及",
    "这事以后再说",
    "好的，稍后",
    "下午三点开门。[0m",
    "[31m已关闭[0m",
    "这是最后一次",
    "请改到周一，谢谢",
    "地址在太和",
    "他住在永和",
    "账户会解冻，请放心",
    "可以的，没有问题",
    "都可以",
    "不用，免费",
    "We accept card and cash",
    "It depends on what you are looking for",
    "Please log in",
    "行，可以",
]


@pytest.mark.parametrize("text", CUT_OFF)
def test_conjunctions_of_every_kind_break_off(text: str) -> None:
    assert is_unfinished(text)


@pytest.mark.parametrize("text", WHOLE)
def test_words_that_end_like_conjunctions_are_whole(text: str) -> None:
    assert not is_unfinished(text)
