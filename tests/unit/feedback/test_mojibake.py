from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.mojibake import is_mojibake

CHINESE = ["你好", "您好，请问怎么退货？", "退款已经处理", "请在三天内寄回，运费由我们承担。", "Excel 文件打不开怎么办"]
EUROPEAN = [
    "café",
    "L’été à Paris",
    "Größe",
    "çà et là",
    "smörgåsbord",
    "Straße – groß",
    "ça coûte 5 €",
    "Привет, как дела?",
]
WRONG = [
    *((text, "utf-8", shown) for text in [*CHINESE, *EUROPEAN, "こんにちは"] for shown in ("latin-1", "cp1252")),
    *((text, "utf-8", shown) for text in [*CHINESE, "ありがとうございます"] for shown in ("gbk", "gb18030")),
    *((text, "gbk", shown) for text in CHINESE for shown in ("latin-1", "utf-8")),
    ("Привет, как дела?", "utf-8", "cp1251"),
]


@pytest.mark.parametrize(("text", "written", "read"), WRONG)
def test_a_text_read_in_a_wrong_encoding(text: str, written: str, read: str) -> None:
    assert is_mojibake(text.encode(written).decode(read, "replace"))
    assert not is_mojibake(text)


@pytest.mark.parametrize("text", ["锟斤拷锟斤拷", "数据锟斤拷丢失", "好的��收到", "��"])
def test_what_is_left_where_bytes_were_lost(text: str) -> None:
    assert is_mojibake(text)


@pytest.mark.parametrize(
    "text",
    [
        "联通",
        "犇羴鱻",
        "溷浊的饕餮耄耋魑魅魍魉",
        "𠮷野家",
        "麵包機壞了，請問怎麼退貨？",
        "㗎嘅係唔",
        "こんにちは、返品したいです",
        "한국어 환불",
        "ภาษาไทย",
        "हिन्दी",
        "שלום",
        "می‌خواهم",
        "„Das macht Spaß“, sagte er.",
        "CAFÉ”",
        "AMANHÃ…",
        "NÃO",
        "« Le café\xa0»",
        "voilà…",
        "été”…",
        "ĐÃ”",
        "À bientôt…",
        "äöüß ÄÖÜ",
        "ÀÁÂÃÄÅÆÇÈÉÊË",
        "25 °C",
        "£5 €6 ¥7",
        "1½ ¼ ¾",
        "TRÂN TRỌNG… ÂM",
        "РС‘ ",
        "СССР — это",
        "😀👍❤️",
        "Why does `Ã©` show up instead of é?",
        "为什么显示“浣犲ソ锛岃闂”而不是你好？",
        "页面出现“锟斤拷”怎么办",
        "你好，收到一个�",
    ],
)
def test_clean_text_is_none(text: str) -> None:
    assert not is_mojibake(text)


def common(code: int) -> str:
    return bytes((0xB0 + code // 94, 0xA1 + code % 94)).decode("gb2312", "ignore")


COMMON = st.lists(st.integers(0, 39 * 94).map(common), min_size=1, max_size=40).map("".join)


@given(COMMON)
def test_no_common_chinese_is_taken_for_it(text: str) -> None:
    assert not is_mojibake(text)


@given(COMMON.filter(lambda text: len(text) >= 4))
def test_all_chinese_that_was_read_as_western_is_found(text: str) -> None:
    assert is_mojibake(text.encode().decode("latin-1"))


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    assert is_mojibake(text) in (True, False)


SENTENCES = [
    "师傅明天上午九点到您家检查水管。",
    "请带上身份证和户口本到二楼窗口办理。",
    "退款会在七个工作日内原路退回到付款账户。",
    "每月十五日之前缴费都不收滞纳金。",
    "您可以在手机上预约时间，到店后直接取号。",
    "早餐在一楼餐厅，七点开始，十点结束。",
]
TRADITIONAL = [
    "行李寄存處在大堂左側，二十四小時有人值班。",
    "請帶身分證到二樓櫃檯辦理，約十分鐘完成。",
    "退款會在七個工作天內退回原付款帳戶。",
    "師傅明天上午九點到府檢查水管，請留人在家。",
]
READ_AS = ("cp1251", "koi8_r", "cp866", "cp1250", "cp437", "mac_roman")


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize(
    ("written", "read"), [("gbk", "big5"), ("gbk", "latin-1"), *(("utf-8", encoding) for encoding in READ_AS)]
)
def test_simplified_chinese_read_in_a_wrong_encoding(text: str, written: str, read: str) -> None:
    assert is_mojibake(text.encode(written).decode(read, "replace"))
    assert not is_mojibake(text)


@pytest.mark.parametrize("text", TRADITIONAL)
@pytest.mark.parametrize("read", ["latin-1", "cp1252"])
def test_traditional_chinese_read_as_western(text: str, read: str) -> None:
    assert is_mojibake(text.encode("big5").decode(read, "replace"))
    assert not is_mojibake(text)


@pytest.mark.parametrize(
    "text",
    [
        "烫烫烫烫烫烫屯屯屯屯",
        "屯屯屯屯",
        "????????，????2????",
        "11?15????????????????????",
        "ATM??????",
        "??? LPR ????",
    ],
)
def test_memory_and_question_marks_in_place_of_letters(text: str) -> None:
    assert is_mojibake(text)


@pytest.mark.parametrize(
    "text",
    [
        "小心，烫烫烫！",
        "真的吗？？？好的！！",
        "Why???",
        "What? Really?? No way??",
        "你好????",
        "2+2=??",
        "未知的主机",
        "为每一行显示机器适用的提交信息",
        "我哋嘅舖頭喺旺角，你可以落嚟睇吓。",
        "請用ㄓㄨˋ ㄧㄣ輸入法",
        "憂鬱的臺灣烏龜，饕餮盛宴。",
        "Кханьхоа, ішкашимі, цимшиан",
        "ПРИВЕТ, КАК ДЕЛА СЕГОДНЯ",
        "пакет passé en «\xa0installé automatiquement\xa0».",
        "Wartość „%s” jest niepoprawna",
        "Cảm ơn quý khách đã sử dụng dịch vụ",
    ],
)
def test_clean_text_that_comes_near_it(text: str) -> None:
    assert not is_mojibake(text)
