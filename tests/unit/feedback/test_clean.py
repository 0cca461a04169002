from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.clean import MOST_MARKS, clean, compared, in_one_width, says_nothing, width

FAMILY = "👩\u200d👧"
ENGLAND = "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
PERSIAN = "می\u200cخواهم"
HINDI = "क्\u200dष"
MALAYALAM = "അവന്\u200d വന്നു"
CODER = "👩🏽\u200d💻"


@pytest.mark.parametrize(
    "text", [FAMILY, ENGLAND, PERSIAN, HINDI, MALAYALAM, CODER, "❤️\u200d🔥", "退货免费。", "a\tb\n c ", "café"]
)
def test_what_is_seen_stays(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\u200bb\ufeffc\u2060d\xade", "abcde"),
        ("a\x00b\x07c\x7fd\x85e", "abcd\ne"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("a\u202eb\u2066c\u200e", "abc"),
        ("pass\u200dword\u200c", "password"),
        ("a\u200d退", "a退"),
        ("退\u200d", "退"),
        ("退a\u200d货", "退a货"),
        ("退\u200d货", "退货"),
        ("воз\u200cврат", "возврат"),
        ("👩\u200d退", "👩退"),
        ("退\u200da货", "退a货"),
        ("hi\U000e0068\U000e0069", "hi"),
        ("a\ud800b", "ab"),
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
    ],
)
def test_what_nobody_sees_goes(text: str, wanted: str) -> None:
    assert clean(text) == wanted


@given(st.text(alphabet=st.one_of(st.characters(codec=None), st.sampled_from("\u200d\u200c\u200b\u0301K\u212a\r\n🏴"))))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode()  # no lone surrogates


MARKS = "\u0301\u0316\u0344\u0958\u0f73\uff9e\u0345か\u200b\u200d\U000e0061a"  # and what may stand between them


def most_marks(text: str) -> int:
    """The longest run of marks that a normalization has to sort."""
    runs = "".join("m" if unicodedata.combining(char) else " " for char in unicodedata.normalize("NFKD", text)).split()
    return max(map(len, runs), default=0)


@given(st.lists(st.tuples(st.sampled_from(MARKS), st.sampled_from([1, 2, 29, 30, 31, 60])), max_size=6))
def test_no_text_has_more_marks_on_a_character_than_a_few(runs: list[tuple[str, int]]) -> None:
    text = "".join(char * times for char, times in runs)
    once = clean(text)
    assert most_marks(once) <= 2 * MOST_MARKS + 3, "a mark may stand for two, and a character bring three of its own"
    assert clean(once) == once
    assert compared(compared(text)) == compared(text)


@pytest.mark.parametrize("between", ["", "\u200b", "\U000e0061"])
def test_marks_are_cut_before_they_are_sorted(between: str) -> None:
    """Cut after the sorting, whose time they would cost, those that stay would all be of the kind that sorts first."""
    text = clean("q" + f"\u0301\u0316{between}" * 1000)
    assert (text.count("\u0301"), text.count("\u0316")) == (MOST_MARKS // 2, MOST_MARKS // 2)
    assert clean("q" + "\u0301" * MOST_MARKS) == "q" + "\u0301" * MOST_MARKS
    assert clean("q" + "\u0301" * MOST_MARKS + "x\u0301") == "q" + "\u0301" * MOST_MARKS + "x\u0301"
    assert clean("…" * 100 + "🎉" * 100) == "…" * 100 + "🎉" * 100, "what is no mark stays"


@given(st.text())
def test_comparing_twice_is_comparing_once(text: str) -> None:
    assert compared(compared(text)) == compared(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("  Free  RETURN\n", "free return"),
        ("Ｆｒｅｅ，", "free,"),
        ("Straße", "STRASSE"),
        ("re\u200bturn", "return"),
        ("退货　免费", "退货 免费"),
    ],
)
def test_compared_alike(one: str, other: str) -> None:
    assert compared(one) == compared(other)


@pytest.mark.parametrize(("one", "other"), [("退货", "換貨"), ("free return", "freereturn"), ("a.", "a")])
def test_compared_apart(one: str, other: str) -> None:
    assert compared(one) != compared(other)


def test_width_counts_a_han_character_as_two_letters() -> None:
    assert (width("yes"), width("是"), width("是a")) == (3, 2, 3)


@pytest.mark.parametrize(
    ("text", "nothing"),
    [("", True), ("?!… 👍", True), ("ok ok " * 60, True), ("是", False), ("5", False), ("Да", False)],
)
def test_says_nothing(text: str, nothing: bool) -> None:
    assert says_nothing(text) is nothing


LOOPED = [
    "是是是是是是是是是是是是",
    "收到收到收到收到收到收到收到",
    "对不起对不起对不起对不起对不起对不起",
    "请联系前台。请联系前台。请联系前台。请联系前台。请联系前台。",
    "了了了了了了了了了了了了了了了",
    "在一楼，在一楼，在一楼，在一楼，在一楼，在一楼",
    "no no no no no no no no",
    "thank you thank you thank you thank you thank you thank you",
    "请到窗口办理办理办理办理办理办理办理办理办理办理办理",
    "吗吗吗吗吗吗吗吗吗吗吗吗吗",
    "您好您好您好您好您好您好您好您好",
    "好的，好的，好的，好的，好的，好的，好的",
    "退款退款退款退款退款退款退款退款",
    "aaaaaaaaaaaaaaaaaaaa",
    "We will call you back. We will call you back. We will call you back. We will call you back.",
    "请稍候！请稍候！请稍候！请稍候！请稍候！请稍候！",
    "那个那个那个那个那个那个那个",
    "在在在在在在在在在在在在在",
    "营业时间九点到五点营业时间九点到五点营业时间九点到五点营业时间九点到五点",
    "はいはいはいはいはいはいはい",
]
SAID_OFTEN = [
    "好的好的",
    "谢谢谢谢",
    "哈哈哈哈哈哈哈哈哈哈哈哈",
    "8888",
    "88888888888888888888",
    "好好好",
    "嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯",
    "不要转账！不要转账！不要转账！",
    "好的好的好的好的",
    "加油加油加油",
    "hahahahahahahahaha",
    "kkkkkkkkkkkkkkk",
    "555555555555",
    "wwwwwwwwwwww",
    "1010101010101010",
    "000000",
    "试试试试",
    "ㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋㅋ",
    "хахахахахаха",
    "慢慢慢慢来",
    "111-1111-1111",
    "bye bye",
    "谢谢谢谢谢谢",
    "AAAA",
]


INTERJECTED = [
    *("啊" * times for times in (15, 30, 60)),
    *("嗯" * times for times in (13, 40)),
    "呵" * 20,
    "哦" * 14,
    "呜" * 16,
    "嗯嗯啊啊" * 10,
    "啊啊啊啊啊啊啊啊啊啊，啊啊啊啊啊啊！！",
    "噢" * 25,
    "ㅠ" * 18,
    "h" * 20,
    "w" * 30,
    "哈" * 36,
    "哈哈哈哈哈哈哈哈哈哈哈哈，哈哈哈哈哈哈哈哈哈哈哈哈，哈哈哈哈哈哈哈哈哈哈哈哈",
    "ha" * 20,
    "嘻" * 31,
    "kkkk" * 8,
    "lol" * 12,
]
LAUGHED = [
    "哈" * 30 + "，您太幽默了，已帮您取消订单，退款三天内到账。",
    "啊啊啊啊啊啊啊啊啊啊啊啊啊啊啊啊啊，真的很抱歉，马上补发。",
    "好的，" + "哈" * 15,
    "嗯嗯嗯，好的",
    "呜呜呜呜呜呜呜呜呜，对不起，我们查一下",
    "啊啊啊",
    "嗯",
    "嗯嗯嗯嗯嗯嗯嗯嗯",
    "呵呵呵呵呵",
    "哦哦哦，明白了",
    "wwwww",
    "hahaha",
    "hhhhhhhh",
    "哈" * 30,
    "8" * 40,
    "lol lol lol",
]


@pytest.mark.parametrize("text", INTERJECTED)
def test_an_answer_of_nothing_but_a_long_interjection_says_nothing(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize("text", LAUGHED)
def test_a_short_one_or_one_within_a_sentence_says_something(text: str) -> None:
    assert not says_nothing(text)


@pytest.mark.parametrize("text", LOOPED)
def test_a_short_loop_says_nothing(text: str) -> None:
    assert says_nothing(text)


@pytest.mark.parametrize("text", SAID_OFTEN)
def test_what_people_repeat_says_something(text: str) -> None:
    assert not says_nothing(text)


def test_a_terminals_colours_go_whole() -> None:
    assert clean("下午三点开门。\x1b[0m") == "下午三点开门。"
    assert clean("\x1b[1;31mred\x9b0m \x1b]0;title\x07[0m") == "red [0m"
    assert clean("点\x07右上角的\x1b下载图标。") == "点右上角的下载图标。"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("第８６６４条（Help）。", "第8664条(Help)。"),
        ("No.６６５８，Ｈａｖｅ", "No.6658,Have"),
        ("ｶﾞｰﾄﾞ", "ガード"),
        ("退货　免费", "退货 免费"),
        ("￥５", "¥5"),
        ("Ａ１２ｂ", "A12b"),
    ],
)
def test_width_is_all_that_parts_them(one: str, other: str) -> None:
    assert in_one_width(one) == in_one_width(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("have a nice day", "Have a nice day"),
        ("a b", "a\nb"),
        ("a  b", "a b"),
        ("10⁶", "106"),
        ("H₂O", "H2O"),
        ("1½", "11⁄2"),
        ("退货", "退貨"),
        ("第①步", "第1步"),
        ("㎏", "kg"),
        ("9点", "8点"),
    ],
)
def test_a_correction_of_more_than_width_is_one(one: str, other: str) -> None:
    assert in_one_width(one) != in_one_width(other)
