from __future__ import annotations

import pytest

from feedback.vary.recorded import PARAPHRASE, by_feedback, event_id, fault, recorded
from thumbwheel.events import ComputedEvent

ASKED = "充电器用了3天就坏了，不能退吗"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3天充电器就坏了，不可以退货吗", None),
        ("才3天，充电器就坏掉，退货不行吗", None),
        ("", "empty"),
        (" 3天充电器就坏了，不能退货吗", "empty"),
        ("充电器用了3天就坏了，\u200b不能退吗", "empty"),
        ("充电器用了３天就坏了，不能退吗", "the_same"),
        ("The charger broke after 3 days, can I not return it", "other_script"),
        ("3天不", "other_length"),
        ("充电器坏了，才用3天，" + "真的很着急，" * 30 + "不能退吗", "other_length"),
        ("3天充电器就坏了，可以退货吗", "other_marks"),
        ("4天充电器就坏了，不可以退货吗", "other_marks"),
        ("3天充电器就坏了，不可以退货吗？[PHONE_1]", "other_marks"),
        ("3天充电器就坏了，不可以退货吗 ann@example.com", "personal_data"),
    ],
)
def test_what_is_another_wording(text: str, reason: str | None) -> None:
    assert fault(ASKED, text) == reason


def event(value: object, model: str = "m", question: str = ASKED, feedback: str = "fb-1") -> ComputedEvent:
    return ComputedEvent(
        event_id(PARAPHRASE, feedback, model, question), feedback, "support", 1, PARAPHRASE, model, "v", value
    )


def test_only_what_fits_and_is_of_this_question_is_taken() -> None:
    good = event("3天充电器就坏了，不可以退货吗")
    others = [
        event(None, "a"),
        event(["3天充电器就坏了，不可以退货吗"], "b"),
        event("3天充电器就坏了，可以退货吗", "c"),
        event("3天充电器就坏了，不可以退货吗", "d", question="别的问题"),
        event("3天充电器就坏了，不可以退货吗", "e", feedback="fb-2"),
    ]
    assert recorded(by_feedback(others), PARAPHRASE, "fb-1", ASKED, "s") is None
    assert recorded(by_feedback([*others, good]), PARAPHRASE, "fb-1", ASKED, "s") == good


def test_of_several_one_is_drawn_whatever_their_order() -> None:
    some = [event(f"{word}3天充电器就坏了，不可以退货吗", word) for word in ("才", "刚", "仅")]
    drawn = {
        str(recorded(by_feedback(order), PARAPHRASE, "fb-1", ASKED, seed))
        for seed in map(str, range(20))
        for order in (some, some[::-1])
    }
    assert len(drawn) == 3
    for seed in "abc":
        one, other = (recorded(by_feedback(order), PARAPHRASE, "fb-1", ASKED, seed) for order in (some, some[::-1]))
        assert one == other
