from __future__ import annotations

import pytest

from feedback.opposites import exchanged, measures, senses


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("怎么开通会员", "怎么关闭会员"),
        ("我要退货", "我要换货"),
        ("余额怎么充值", "余额怎么提现"),
        ("红色的裙子", "蓝色的裙子"),
        ("周一能送到吗", "周三能送到吗"),
        ("国内运费", "国际运费"),
        ("下单之前改地址", "下单之后改地址"),
        ("上午送货", "下午送货"),
        ("修改密码", "修改地址"),
        ("可以开箱验货", "必须开箱验货"),
        ("Can I enable it?", "Can I disable it?"),
        ("Cancel before shipping", "Cancel after shipping"),
        ("I am receiving money", "I am sending money"),
        ("the red one", "the blue one"),
        ("Open on Mondays", "Open on Fridays"),
        ("You can sign", "You must sign"),
        ("change my password", "change my address"),
    ],
)
def test_a_listed_word_for_another_of_its_kind(one: str, other: str) -> None:
    assert exchanged(senses(one), senses(other)) and exchanged(senses(other), senses(one))
    assert not exchanged(senses(one), senses(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("怎么开通会员", "会员如何开启"),
        ("这个东西多少钱", "什么价格"),
        ("晚上送货吗", "夜里会送货吗"),  # 晚上 holds no 上
        ("24小时内发货", "发货在24小时内"),  # 小时 holds no 小
        ("怎么退货", "不想要的东西如何退"),
        ("How do I enable it?", "How is it activated?"),
        ("Where is the store?", "Which way to the shop?"),
        ("Can I return it?", "Is a return possible?"),
        ("the button", "on the button"),  # one has a word more, none has another one
        ("shopping", "shop"),  # no `in`, no `on`
    ],
)
def test_other_words_are_none(one: str, other: str) -> None:
    assert not exchanged(senses(one), senses(other))


def test_what_a_number_counts() -> None:
    assert (
        measures("七天内退，3个小时到") == measures("3个工作日") + measures("7天, 3 hours")
        and len(measures("7天")) == 1
    )
    assert measures("30元") != measures("30%") != measures("$30") and measures("3 days") == measures("3天")
    assert measures("30 minutes") != measures("30 hours") and measures("明天、今年") == ()


def test_the_lists_hold_no_word_for_two_members_of_a_kind() -> None:
    from feedback.opposites import _BY_CHINESE, _BY_ENGLISH

    for by_word in (_BY_CHINESE, _BY_ENGLISH):
        for word, places in by_word.items():
            assert len({kind for kind, _ in places}) == len(places), word
