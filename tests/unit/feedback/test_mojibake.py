from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.mojibake import is_damaged, is_mojibake

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


SHORT = [
    "可以的",
    "没有了",
    "明天到",
    "请稍等",
    "不客气",
    "三天到",
    "已退款",
    "在二楼",
    "九点半",
    "免费的",
    "不能退",
    "可以退款",
    "周日休息吗",
]


@pytest.mark.parametrize("text", SHORT)
@pytest.mark.parametrize("written", ["replace", "one sign a pair"])
def test_short_chinese_read_as_gbk(text: str, written: str) -> None:
    raw = text.encode()
    shown = raw.decode("gbk", "replace") if written == "replace" else as_browsers_do(raw)
    assert is_damaged(shown)
    if len(text) % 2 and written == "replace":
        assert is_mojibake(shown), "as a question it is none either"


def as_browsers_do(raw: bytes) -> str:
    """`raw` as GBK, where a pair that stands for nothing is one replacement character."""
    pairs = (raw[at : at + 2] for at in range(0, len(raw), 2))
    return "".join("\ufffd" if "\ufffd" in (one := pair.decode("gbk", "replace")) else one for pair in pairs)


@pytest.mark.parametrize(
    "text",
    [
        "您的包裹�经签收",
        "一天三�，饭后服",
        "Don�t worry, it ships today.",
        "退款�到账",
        "caf� is open",
        "�好，请稍等",
        "好的�",
        "It costs 5 � a month, and there is nothing else to pay for the whole of the first year of your contract.",
        "Gr��e",
        "您的“会员�”已开通，�请查收",
    ],
)
def test_an_answer_with_a_lost_character_is_damaged(text: str) -> None:
    assert is_damaged(text)


@pytest.mark.parametrize(
    "text",
    [
        "出现“�”说明编码不对，请改成 UTF-8。",
        "The sign `�` is shown where bytes cannot be read.",
        'It shows "�" for what it cannot read.',
        "请把文件另存为 UTF-8，就不会有「�」了。",
        "```\nprint('�')\n```",
        "可以的",
        "?",
        "已发货□",
        "café is open",
    ],
)
def test_an_answer_that_talks_of_lost_characters_is_whole(text: str) -> None:
    assert not is_damaged(text)


@given(COMMON.filter(lambda text: len(text) >= 2), st.integers(0, 40))
def test_a_question_that_lost_one_character_is_still_read(text: str, at: int) -> None:
    at = min(at, len(text))
    assert not is_mojibake(text[:at] + "\ufffd" + text[at:])


QUOTED_OR_WHOLE = [
    "Warum ist „für“ in der Ausgabe kaputt („fÃ¼r“)?",
    "Pourquoi «Ã©tÃ©» au lieu de été ?",
    "Warum steht da »fÃ¼r«?",
    "為什麼顯示『ä½ å¥½』？",
    "表示が「æ—¥æœ¬」になる",
    "Hier steht ‚fÃ¼r‘ statt für.",
    "说明里写着“ä½ å¥½”，怎么改",
    "Die Anzeige ‹GrÃ¶ÃŸe› ist falsch",
    "第一行\x85第二行",
    "\x9b31mError\x9b0m: file not found",
    "Er sagt: „Schöne Grüße“",
    "ＯＫ＂Ã©＂",
    "« Où êtes-vous ? » — « Ici, à l’été. »",
    "prix 5 €, ça va",
    "price ‚low‘ ƒ(x)",
    "smörgås, ça, ‚ähnlich‘",
]
JAPANESE = ["猫が吐く、毛玉かもしれません。様子を見てください。", "ワクチンはいつですか", "予約は来週の火曜です"]
WRONGLY_READ = [
    *(text.encode("shift_jis").decode("latin-1") for text in JAPANESE),
    *(text.encode("euc_jp").decode("latin-1") for text in JAPANESE),
    *(text.encode("cp932").decode("cp1252", "ignore") for text in JAPANESE[:2]),
    "„für“ und „größer“".encode().decode("cp1252", "ignore"),
    "été «là»".encode().decode("cp1252", "ignore"),
    "你好，请重启".encode().decode("latin-1"),
    "我们".encode("gbk").decode("latin-1") + "\x93\xa9 \x94\xb5",
]


@pytest.mark.parametrize("text", QUOTED_OR_WHOLE)
def test_what_any_kind_of_quotes_shows_and_lone_controls_are_none(text: str) -> None:
    assert not is_mojibake(text)
    assert not is_damaged(text)


@pytest.mark.parametrize("text", WRONGLY_READ)
def test_controls_and_quotes_that_a_wrong_reading_leaves(text: str) -> None:
    assert is_mojibake(text)


def test_a_question_with_lost_quotes_can_still_be_read() -> None:
    assert not is_mojibake("It\x92s \x93fine\x94 in the café\x92s app \x96 why?")


def test_an_apostrophe_that_became_a_control_spoils_an_answer_and_no_question() -> None:
    assert is_damaged("don\x92t worry")
    assert not is_mojibake("don\x92t worry")


def test_utf8_that_was_read_as_shift_jis() -> None:
    for text in ("手袋をつけてください", "ありがとうございます", "カメラを確認します"):
        wrong = text.encode().decode("shift_jis", "ignore")
        assert is_mojibake(wrong) and not is_mojibake(text), wrong
    assert not is_mojibake("『縺』という漢字")
