"""A text as the rules read it, with the way back to where each character came from: pure functions.

Full-width forms, odd dashes and blanks become plain (NFKC). Where many digits stand in a row, those written as Chinese
numerals (〇一二…, 壹贰叁…, 幺) or as English words become digits too. Anywhere else 一 stays the word it is.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

EMAIL, PHONE, CARD, IBAN, SECRET = "EMAIL", "PHONE", "CARD", "IBAN", "SECRET"
NATIONAL_ID, ADDRESS, ACCOUNT, NAME = "NATIONAL_ID", "ADDRESS", "ACCOUNT", "NAME"
PLATE = "PLATE"

CONTEXT = 16  # characters before a number in which a word says what it is

_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣"), "-")
_KEYCAP = "\ufe0f\u20e3"  # what makes a digit an emoji
_NUMERALS = {
    char: str(digit)
    for digit, chars in enumerate(
        ("零〇○", "一壹幺弌", "二贰貳", "三叁參", "四肆", "五伍", "六陆陸", "七柒", "八捌", "九玖")
    )
    for char in chars
}
_WORDS = {
    word: str(digit)
    for digit, words in enumerate(("zero oh", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"))
    for word in words.split()
}
_DIGIT = rf"(?!一[直下共般样起点些定旦律致个])[{''.join(_NUMERALS)}\d]"  # 一直 behind a number is a word
_NUMERAL_RUN = re.compile(rf"{_DIGIT}(?:[ .,，、-]?{_DIGIT}){{6,}}")
_WORD = rf"(?:{'|'.join(_WORDS)})"
_WORD_RUN = re.compile(rf"(?<![A-Za-z]){_WORD}(?:[ ,.-]{{1,2}}{_WORD}){{6,}}(?![A-Za-z])", re.IGNORECASE)
_ONE_WORD = re.compile(_WORD, re.IGNORECASE)
# What a number is by the word before it: one of an order is nobody's.
_OF_A_THING = re.compile(
    r"订单|运单|单号|快递|物流|流水|编号|交易号|批次|条码|序列号|发票|合同|工单|货号|型号|版本|错误码|时间戳|追踪|包裹|"
    r"(?<![a-z])(?:order|tracking|track|parcel|shipment|invoice|ref|reference|serial|imei|ticket|case|batch|sku|isbn|"
    r"transaction|trace|build|commit|error|code|part|model|version|timestamp|item|lot|po)(?![a-z])",
    re.IGNORECASE,
)

# Right before a number: it is a draw's, a row's of numbers, a place's on a map or a case's, whatever its form is.
_COUNTED_OFF = re.compile(
    r"(?:(?:开奖|中奖|彩票|双色球|大乐透|快乐8|福彩|体彩|奖号|数列|序列|数字|坐标|经纬度|案件|案号|案卷|期号|学号|工号|"
    r"机身号|许可证)(?:号码?|编号|结果|数字)?|"
    r"(?<![a-z])(?:lottery|winning numbers?|draw|sequence|series|coordinates?|case|serial)"
    r"(?: (?:numbers?|no\.?|results?))?)(?:[ :=]|是|为|are|is){0,4}$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class View:
    """`text` as read; its character i was made from [starts[i], ends[i]) of the original."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Span:
    """Something found at [start, end) of the original. `key` is the same however the same thing is written."""

    start: int
    end: int
    kind: str
    key: str


def view(text: str) -> View:
    """How the rules read `text`."""
    chars: list[str] = []
    starts: list[int] = []
    for at, char in enumerate(text):
        if char in _KEYCAP:
            continue
        for made in char if char.isascii() else unicodedata.normalize("NFKC", char).translate(_DASHES):
            chars.append(" " if made.isspace() and made != "\n" else made)
            starts.append(at)
    plain, ends = "".join(chars), [at + 1 for at in starts]
    for run in _NUMERAL_RUN.finditer(plain):
        for at in range(*run.span()):
            chars[at] = _NUMERALS.get(chars[at], chars[at])
    for run in reversed(list(_WORD_RUN.finditer(plain))):
        words, place = list(_ONE_WORD.finditer(plain, *run.span())), slice(*run.span())
        chars[place] = [_WORDS[word.group().lower()] for word in words]
        starts[place], ends[place] = [starts[word.start()] for word in words], [ends[word.end() - 1] for word in words]
    return View("".join(chars), tuple(starts), tuple(ends))


def numeral(chinese: str) -> str:
    """The decimal digits of a Chinese number under a thousand: 一百二十 is 120, 一二〇 too."""
    if not set(chinese) & set("十百"):
        return "".join(_NUMERALS.get(char, char) for char in chinese)
    total, digit = 0, 0
    for char in chinese:
        if char in "十百":
            total += (digit or 1) * (100 if char == "百" else 10)
            digit = 0
        else:
            digit = int(_NUMERALS.get(char, "0"))
    return str(total + digit)


def in_chinese(number: int) -> str:
    """How a number from 1 to 999 is written in Chinese characters: 120 is 一百二十."""
    hundreds, tens, ones = number // 100, number // 10 % 10, number % 10
    digits = "零一二三四五六七八九"
    text = f"{digits[hundreds]}百" if hundreds else ""
    if tens:
        text += f"{digits[tens] if tens > 1 or hundreds else ''}十"
    elif hundreds and ones:
        text += "零"
    return text + (digits[ones] if ones else "")


def span(seen: View, start: int, end: int, kind: str, key: str) -> Span:
    """What stands at [start, end) of the view, as a span of the original."""
    return Span(seen.starts[start], seen.ends[end - 1], kind, key)


def before(seen: View, start: int) -> str:
    """What stands shortly before `start` in its line."""
    return seen.text[max(0, start - CONTEXT) : start].rpartition("\n")[2]


def says_thing(seen: View, start: int, wanted: re.Pattern[str]) -> bool:
    """Whether the nearest word before `start` says that the number is an order's or the like, and not `wanted`."""
    context = before(seen, start)
    if _COUNTED_OFF.search(context):
        return True
    things = [found.end() for found in _OF_A_THING.finditer(context)]
    wants = [found.end() for found in wanted.finditer(context)]
    return bool(things) and things[-1] > max(wants, default=-1)


def only_digits(text: str) -> str:
    """The decimal digits of `text`."""
    return "".join(char for char in text if char.isdigit())
