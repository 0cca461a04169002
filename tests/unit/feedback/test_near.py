from __future__ import annotations

import random
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.near import MOST_COMPARED, Said, first_near, is_near, marks, said

ANSWER = "您好，已为您登记。"
LONG = "我上个星期在你们店里买的外套洗了一次就起球了，质量也实在说不过去，{}，应该怎么办"


def row(question: str, target: str = ANSWER) -> Said:
    return said([("system", "Be brief. 3 rules."), ("user", question)], target)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("怎么退货", "请问怎么退货呢？"),
        ("怎么退货", "如何退货"),
        ("我想退货", "您好，我要退货，谢谢"),
        ("衣服洗了一次就褪色了", "衣服洗了一次就褪色！！"),
        ("登陆不上", "登录不上了"),
        ("How do I return it?", "Hi, how can I return it please"),
        ("My order has not arrived yet, where is it?", "My order has not arived yet, where is it"),
        (LONG.format("袖口脱线"), LONG.format("袖囗脱线")),
    ],
)
def test_what_differs_in_form_only_is_near(one: str, other: str) -> None:
    assert is_near(row(one), row(other)) and is_near(row(other), row(one))
    assert first_near([row(one), row(other)]) == {1: 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("要退货", "不要退货"),
        ("没收到货", "收到货"),
        ("能不能退", "能退"),
        ("五天能到吗", "六天能到吗"),
        ("5天能到吗", "6天能到吗"),
        ("WH-1000 坏了", "WH-900 坏了"),
        ("iPhone坏了", "iPad坏了"),
        ("手机坏了", "手表坏了"),
        ("红色还有吗", "蓝色还有吗"),
        ("怎么买", "怎么卖"),
        ("帮我查张伟的订单", "帮我查李娜的订单"),
        ("我住在北京", "我住在上海"),
        ("我的手机[PHONE_1]", "我的手机[PHONE_2]"),
        ("I can return it", "I can't return it"),
        ("I want a refund", "I do not want a refund"),
        ("Please ask Anna about my order", "Please ask Hanna about my order"),
        ("The blue one broke", "The red one broke"),
        (LONG.format("买的是红色"), LONG.format("买的是蓝色")),
    ],
)
def test_what_differs_in_meaning_is_not(one: str, other: str) -> None:
    assert not is_near(row(one), row(other)) and first_near([row(one), row(other)]) == {}


def test_the_answers_must_be_near_too() -> None:
    assert not is_near(row("怎么退货", "三天内申请。"), row("怎么退货呢", "五天内申请。"))
    assert not is_near(row("怎么退货", "可以退。"), row("怎么退货呢", "请换货。"))
    assert not is_near(row("怎么退货", "要先登记。"), row("怎么退货呢", "可以先登记。"))
    assert is_near(row("怎么退货", "您好，三天内申请"), row("怎么退货呢", "三天内申请哦。"))


def test_turns_stand_in_their_places() -> None:
    one = said([("user", "退货"), ("assistant", "好"), ("user", "继续")], ANSWER)
    other = said([("user", "退货继续"), ("assistant", "好"), ("user", "继续")], ANSWER)
    assert not is_near(one, other) and not is_near(one, said([("user", "退货好继续")], ANSWER))


def test_marks_are_numbers_negations_names_and_codes_in_order() -> None:
    assert marks("不要 WH-1000，三天 5.5 kg for Ann. The end") == ("not", "wh-1000", "1000", "3", "5.5", "ann")
    assert "[PHONE_1]" in marks("打[PHONE_1]")
    assert marks("不好意思，看一下") == ()


def test_the_first_stays_and_stands_for_all() -> None:
    rows = [row("怎么退货"), row("怎么换货"), row("请问怎么退货"), row("怎么退货呀"), row("怎么换货呢")]
    assert first_near(rows) == {2: 0, 3: 0, 4: 1}


class Turn(tuple[str, ...]):
    """A turn's tokens, which count how often such are compared: once for each two rows."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Turn.compared += 1
        return tuple.__eq__(self, other)

    __hash__ = tuple.__hash__


def test_a_flood_of_one_form_costs_no_square() -> None:
    draw = random.Random(1)
    words = ["".join(draw.choices(string.ascii_lowercase, k=7)) for _ in range(600)]
    rows = [row(f"there is a complaint about the thing in the house and the {word}") for word in words]
    first_near([replace(one, turns=tuple(Turn(tokens) for tokens in one.turns)) for one in rows])
    assert len(rows) < Turn.compared <= MOST_COMPARED * len(rows)


PARTS = st.lists(
    st.sampled_from(
        [
            "衣服",
            "手机",
            "怎么",
            "退货",
            "请问",
            "三天",
            "不",
            "5",
            "没",
            "Ann",
            "WH-1",
            "了",
            "吗",
            "return",
            "it",
            "please",
        ]
    ),
    max_size=8,
).map(" ".join)


@given(PARTS, PARTS)
def test_near_goes_both_ways_and_every_text_is_near_itself(one: str, other: str) -> None:
    assert is_near(row(one), row(one))
    assert is_near(row(one), row(other)) == is_near(row(other), row(one))


@given(PARTS, st.sampled_from(["不", "没", "7", "XK-12", " never "]), st.integers(0, 20))
def test_a_mark_more_is_another_question(text: str, mark: str, at: int) -> None:
    assert not is_near(row(text), row(f"{text[:at]} {mark} {text[at:]}"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Do you ship to Canada?", "do you ship to canada"),
        ("DO YOU SHIP TO CANADA", "Do you ship to Canada?"),
        ("Is Tom's class full?", "is tom's class full"),
        ("wifi密码忘了，怎么办", "WiFi密码忘了怎么办"),
        ("VPN断了", "vpn断了"),
        ("积分怎么兑換", "积分怎么兑换"),
        ("學生證可以打折嗎", "学生证可以打折吗"),
        ("請問手機號怎麼過戶？", "手机号怎么过户"),
        ("每晚8点开打吗", "每晚八点开打吗"),
        ("房间能住十二个人吗", "房间能住12个人吗"),
        ("两个人能住吗", "２个人能住吗"),
        ("公会战几点开打", "公会战几点开打哇"),
        ("公会战几点开打呀", "公会战几点开打"),
        ("您好，帮我退货", "退货"),
        ("子猫のトイレの教え方を教えて", "子猫のトイレの教え方を教えてください"),
        ("営業時間は何時ですか", "営業時間は何時でしょうか"),
        ("すみません、予約できますか", "予約できますか"),
        ("コインの場所を教えていただけませんか", "コインの場所を教えてください"),
        ("คืนเงินยังไงครับ", "คืนเงินยังไงคะ"),
        ("คืนเงินยังไง", "คืนเงินยังไงค่ะ"),
        ("Could you tell me how to reset it?", "How do I reset it"),
        ("How can I reset the router", "how to reset the router, please"),
        ("Can you help me with my invoice?", "please help with my invoice"),
        ("I was wondering if I can pay by card", "Can I pay by card?"),
        ("Hallo, wie lese ich meine Mailbox ab?", "wie lese ich meine Mailbox ab"),
    ],
)
def test_case_script_numerals_and_courtesy_are_form(one: str, other: str) -> None:
    assert is_near(row(one), row(other)) and is_near(row(other), row(one))
    assert first_near([row(one), row(other)]) == {1: 0}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I paid you", "You paid me"),
        ("Did I call you?", "Did you call me?"),
        ("I owe you 5 dollars", "You owe me 5 dollars"),
        ("I sent you the form", "You sent me the form"),
        ("我借了你钱", "你借了我钱"),
        ("我骂了你们", "你们骂了我"),
        ("Do you ship to Canada?", "do you ship to mexico"),
        ("please ask Marta", "please ask Marte"),
        ("I want IT support", "I want support"),
        ("每晚8点开打吗", "每晚九点开打吗"),
        ("房间能住十二个人吗", "房间能住二十个人吗"),
        ("便宜一点行不行", "便宜1点行不行"),
        ("万一坏了怎么办", "1坏了怎么办"),
        ("學生證可以打折嗎", "学生证不可以打折吗"),
        ("予約できますか", "予約できません"),
        ("คืนเงินได้ไหมครับ", "คืนเงินไม่ได้ไหมครับ"),
        ("紅色還有嗎", "蓝色还有吗"),
        ("How do I reset it", "How should I not reset it"),
    ],
)
def test_case_script_numerals_and_courtesy_hide_no_meaning(one: str, other: str) -> None:
    assert not is_near(row(one), row(other)) and first_near([row(one), row(other)]) == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("列车广播报错站名了", "谢谢提醒，本周五更新"), ("列车广播报错站名了？？", "谢谢您提醒，本周五更新～")),
        (("影集里能不能加一页合照", "可以加，最多两页"), ("影集里能不能加一页合照吖", "可以加的，最多两页哈")),
        (("租的禮服弄上紅酒怎麼賠償", "輕微污漬收清洗費"), ("租的礼服弄上红酒怎么赔偿", "轻微污渍收清洗费")),
        (("小麥澱粉怎麼熬", "去麵筋後慢火熬"), ("小麦淀粉怎么熬呐", "去面筋后慢火熬")),
    ],
)
def test_courtesy_particles_and_the_form_of_characters_are_no_difference(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    assert is_near(*(said((("user", question),), target) for question, target in (one, other)))
