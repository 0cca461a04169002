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


ABUSE = [
    "滚你妈的蛋",
    "你他妈爱来不来",
    "新来的保安是个他妈的骗子",
    "你麻痹的，烦不烦",
    "去死吧你",
    "妈的智障",
    "问你妹啊",
    "傻屌一个",
    "给我滚",
    "不爽就滚",
    "你们都去死",
    "傻Ｘ，别问了",
    "你個傻逼",
    "操 你 妈",
    "幹你娘",
    "狗杂种",
    "一群废物",
    "你这个白痴",
    "真他妈烦",
    "草你大爷",
    "脑残才这么问",
    "臭傻逼",
    "滾蛋，不伺候",
    "肏你妈",
    "你妈逼",
    "王八羔子",
    "You dumbass",
    "Eat shit",
    "f**k off",
    "包過",
    "包 过",
    "代搶號",
    "包　過",
]
NO_ABUSE = [
    "妈妈的手机",
    "他妈妈在大厅等您",
    "孩子他妈的身份证也要带",
    "滚动播放",
    "洗衣机滚筒",
    "草坪每周修剪",
    "今日你可以来",
    "日本游客",
    "干部档案",
    "屏幕坏了",
    "电脑残留文件",
    "生日你妈妈也能来",
    "滚蛋液后下锅",
    "面部麻痹请立即就医",
    "智障人士免票",
    "废物利用",
    "危险废物处理",
    "杂种犬",
    "你妹妹可以代办",
    "带你妹来也行",
    "过去死亡率",
    "你去死海旅游",
    "周日你们休息吗",
    "体操你可以周末练",
    "水烧开后会滚",
    "给你妈的手机充值",
    "你妈妈的医保卡",
    "傻瓜相机",
    "打滚的孩子",
    "让你麻痹大意",
    "不滚动",
    "赶快滚动鼠标",
    "大脑残疾鉴定",
    "草鱼妈祖",
    "操作你妈祖",
    "鱼塘草你可以割",
    "情操你有",
    "能干你就来",
    "明日你妈到站",
]


@pytest.mark.parametrize("text", ABUSE)
def test_abuse_is_found_in_its_forms(text: str) -> None:
    assert holds_blocked(text, blocking(["包过", "代抢 号"]))


@pytest.mark.parametrize("text", NO_ABUSE)
def test_words_of_the_same_characters_are_no_abuse(text: str) -> None:
    assert not holds_blocked(text, blocking(["包过", "代抢 号"]))


EXPIRED = ["您的红包过期了，会自动退回。", "面包过期就不要吃了。", "紅包過期後退回", "红 包 过 期 了"]


@pytest.mark.parametrize("text", EXPIRED)
def test_words_that_hold_a_channels_term_are_allowed_by_name(text: str) -> None:
    terms = blocking(["包过"])
    assert holds_blocked(text, terms), "a plain term matches within a word too"
    assert not holds_blocked(text, terms, ["红包过期", "面包过期"])


@pytest.mark.parametrize("text", ["本班包过，签协议", "红包过期了也包过", "红包过了，包过期间", "酥皮面包过夜会软"])
def test_what_is_allowed_frees_nothing_beside_it(text: str) -> None:
    assert holds_blocked(text, blocking(["包过"]), ["红包过期", "面包过期"])


PART_OF_OTHERS = [
    "滚动条滚到底，滚蛋糕卷也行",
    "炸之前先滚蛋清再裹面包糠",
    "国际狗日的活动周六开始",
    "急死妈妈了，孩子已经找到",
    "体操蛋白粉的用量",
    "早操蛋糕每人一份",
    "小杂种犬也能打疫苗",
    "小傻狗狗要多喝水",
    "下贱人家是旧小说里的话",
    "离骚货架在二楼",
]
STILL_ABUSE = ["滚蛋", "你给我滚蛋吧", "真操蛋", "贱人一个", "你死妈了", "傻狗一条", "狗日的东西", "王八蛋", "小杂种滚"]


@pytest.mark.parametrize("text", PART_OF_OTHERS)
def test_a_built_in_term_is_none_as_part_of_other_words(text: str) -> None:
    assert not holds_blocked(text, blocking([]))


@pytest.mark.parametrize("text", STILL_ABUSE)
def test_a_built_in_term_by_itself_is_one(text: str) -> None:
    assert holds_blocked(text, blocking([]))


def test_a_term_that_the_channel_names_itself_holds_anywhere() -> None:
    assert holds_blocked("急死妈妈了", blocking(["死妈"]))


def test_a_term_written_apart_is_found() -> None:
    terms = blocking(["代抢票"])
    for text in ("支持代-抢-票", "代 抢 票", "代.抢.票", "代*抢*票", "代_抢_票"):
        assert holds_blocked(text, terms), text
    assert not holds_blocked("代为抢修，票在前台", terms) and not holds_blocked("古代/抢救/票根", terms)
