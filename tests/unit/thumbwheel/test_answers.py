import pytest

from thumbwheel.answers import flags

GOOD = [
    "Category: quality fault. Next step: we send you a free return label.",
    "谢谢您的反馈。这属于质量问题，我们会为您免费办理退货，请在七天内寄回。",
    "カメラの電源が入らない場合は、バッテリーを充電してからもう一度お試しください。",
    "Да, конечно. Мы вернём деньги в течение пяти дней.",
    "1. Open the lid\n2. Press the button\n3. Wait\n4. Close the lid\n5. Try again\n6. Call us",
    "iPhone 与 iPad 都可以：ありがとう, 감사합니다!",
    "ok",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_answers_have_no_flags(text: str) -> None:
    assert flags(text, "stop") == []


def test_empty_and_truncated() -> None:
    assert flags(" \n", "stop") == ["empty"]
    assert flags("so far so", "length") == ["truncated"]


@pytest.mark.parametrize(
    "text",
    [
        "the the the " * 30,
        "好的好的" * 40,
        "ok \ufffd\ufffd\ufffd then",
        "qué это 하나 一二三 かな αβγ ไทย שלום слово mix",
    ],
)
def test_degenerate(text: str) -> None:
    assert "degenerate" in flags(text, "stop")
