"""Numbers that states give to persons, and to their cars: where they stand.

With a check digit the number alone says so (China, Hong Kong, Taiwan, Singapore, Korea, India, Spain); the United
States' and Britain's have a form; passports, and what has nothing but digits, need the word before. A mainland
car's plate has the form of its province's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date

from thumbwheel.private.view import NATIONAL_ID, PLATE, Span, View, before, says_thing, span

_NAMED = re.compile(
    r"身份证|证件|护照|社保|身分證|(?<![a-z])(?:ssn|social security|national insurance|nino?|passport|national id|"
    r"identity|aadhaar|nric|dni)(?![a-z])",
    re.IGNORECASE,
)
_EDGE, _END = r"(?<![A-Za-z0-9])(?<!\d[ .\-])", r"(?![A-Za-z0-9]|[ .\-]\d)"
_CHINESE = re.compile(rf"{_EDGE}[1-9](?:[ \-]{{0,2}}\d){{16}}[ \-]{{0,2}}[\dXx](?![A-Za-z0-9])")
_OLD_CHINESE = re.compile(rf"{_EDGE}[1-8]\d{{5}}\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{{3}}{_END}")
_SSN = re.compile(rf"{_EDGE}(?!000|666|9)\d{{3}}([ \-])(?!00)\d{{2}}\1(?!0000)\d{{4}}{_END}")
_NINO = re.compile(
    rf"{_EDGE}(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]([ \-]?)\d\d\1\d\d\1\d\d\1[A-D]{_END}", re.I
)
_NAMED_NUMBER = re.compile(
    r"(?:护照号?码?|passport(?: number| no\.?)?)[^A-Za-z0-9\n]{0,4}(?:is |是)?([A-Z]{1,2}\d{6,8}|\d{9})(?![A-Za-z0-9])|"
    r"(?:ssn|social security(?: number)?)[^\d\n]{0,6}(\d{9})(?!\d)|(?:national insurance|nino|ssn)[^\d\n]{0,12}?"
    r"([A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-Z])(?![A-Za-z0-9])|通行证号?码?[^A-Za-z0-9\n]{0,4}([A-Z]\d{8})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
# A vehicle's plate (GA 36): a province, a letter, and five characters, or six of a new-energy vehicle; no I, no O.
_OF_PLATE = r"[A-HJ-NP-Z\d]"
_PLATE = re.compile(
    r"(?:[京津沪渝冀豫辽湘皖鲁苏浙赣鄂桂甘晋陕闽粤琼蒙吉贵川青宁]|(?<![纯漆亮磨暗深])黑|(?<![里讯为度原上私公混])云|"
    r"(?<![最全更创刷崭重翻出])新|(?<![收储珍隐])藏)"
    rf"[A-HJ-NP-Z] ?[·•‧・.\-]? ?((?:{_OF_PLATE}{{5,6}}|{_OF_PLATE}{{4}}[挂学警港澳领]))(?![A-Za-z\d]|[.\-]\d)",
    re.IGNORECASE,
)
_PLATED = re.compile(r"车牌|牌照|牌号|车号|号牌|车辆", re.IGNORECASE)
MOST_LETTERS = 2  # of a serial; all others are digits
_FIRST_YEAR, _LAST_YEAR = 1900, 2035
# The first two digits, by GB/T 2260: six regions' provinces, Taiwan, Hong Kong, Macao; 83 is for residents of Taiwan.
_REGIONS = (range(11, 16), range(21, 24), range(31, 38), range(41, 47), range(50, 55), range(61, 66))
_PROVINCES = frozenset({71, 81, 82, 83}.union(*_REGIONS))


def identities(seen: View) -> Iterator[Span]:
    """The identity numbers in a view."""
    for found in _CHINESE.finditer(seen.text):
        number = re.sub(r"[ \-]", "", found.group()).upper()
        named = _NAMED.search(before(seen, found.start())) is not None
        if _is_resident(number) and (named or resident_check(number[:17]) == number[17]):
            yield span(seen, *found.span(), NATIONAL_ID, number)
    for found in _OLD_CHINESE.finditer(seen.text):
        if "身份证" in before(seen, found.start()):
            yield span(seen, *found.span(), NATIONAL_ID, found.group())
    for found in _PLATE.finditer(seen.text):
        serial = found.group(1)
        digits = sum(char.isdecimal() for char in serial)
        letters = sum(char.isascii() and char.isalpha() for char in serial)
        if digits and letters <= MOST_LETTERS and not says_thing(seen, found.start(), _PLATED):
            yield span(seen, *found.span(), PLATE, re.sub(r"[^\w]", "", found.group()).upper())
    for pattern in (_SSN, _NINO):
        for found in pattern.finditer(seen.text):
            if not says_thing(seen, found.start(), _NAMED):
                yield span(seen, *found.span(), NATIONAL_ID, re.sub(r"[ \-]", "", found.group()).upper())
    for pattern, holds in _CHECKED:
        for found in pattern.finditer(seen.text):
            number = re.sub(r"[ \-()]", "", found.group()).upper()
            if holds(number) and not says_thing(seen, found.start(), _NAMED):
                yield span(seen, *found.span(), NATIONAL_ID, number)
    for found in _NAMED_NUMBER.finditer(seen.text):
        group = found.lastindex or 0
        yield span(seen, *found.span(group), NATIONAL_ID, found.group(group).replace(" ", "").upper())


def resident_check(body: str) -> str:
    """The 18th character of a Chinese resident number of which `body` is the first 17 (GB 11643)."""
    return "10X98765432"[sum(int(char) * pow(2, 17 - at, 11) for at, char in enumerate(body)) % 11]


def _is_resident(number: str) -> bool:
    return int(number[:2]) in _PROVINCES and _is_day(int(number[6:10]), int(number[10:12]), int(number[12:14]))


def _is_day(year: int, month: int, day: int) -> bool:
    if not _FIRST_YEAR <= year <= _LAST_YEAR or not 1 <= month <= 12:
        return False
    after = date(year + month // 12, month % 12 + 1, 1)
    return 1 <= day <= (after - date(year, month, 1)).days


def _hong_kong(number: str) -> bool:
    """Letters are 10 to 35, a lacking first one 36, A at the end 10; by weights from 9 to 1 a multiple of 11."""
    head, tail = number[:-7], number[-7:]
    values = [36 if len(head) == 1 else ord(head[0]) - 55, ord(head[-1]) - 55, *map(int, tail[:6])]
    check = 10 if tail[6] == "A" else int(tail[6])
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0


def _taiwan(number: str) -> bool:
    """The letter stands for two digits, not all in the alphabet's order; by weights a multiple of 10."""
    first = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    values = [first // 10, first % 10, *map(int, number[1:])]
    return (
        sum(value * weight for value, weight in zip(values, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True)) % 10 == 0
    )


def _singapore(number: str) -> bool:
    """The last letter is that of the weighted sum, modulo 11, in the table of the first letter's series."""
    total = sum(int(char) * weight for char, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(number[0], 0)
    table = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK", "M": "KLJNPQRTUWX"}
    return table[number[0]][total % 11 if number[0] != "M" else 10 - total % 11] == number[8]


def _korea(number: str) -> bool:
    """It begins with a birthday; its check digit says nothing of numbers that were given since October 2020."""
    return _is_day(1900 + int(number[:2]), int(number[2:4]), int(number[4:6]))


def _spain(number: str) -> bool:
    """The letter is that of the number modulo 23."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number[:8]) % 23] == number[8]


_D5 = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_P5 = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


def _verhoeff(number: str) -> bool:
    """Verhoeff's dihedral check (1969), which India's numbers end with."""
    check = 0
    for at, char in enumerate(reversed(number)):
        check = int(_D5[check][int(_P5[at % 8][int(char)])])
    return check == 0


_CHECKED: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(rf"{_EDGE}[A-Z]{{1,2}}\d{{6}}\([\dA]\)"), _hong_kong),
    (re.compile(rf"{_EDGE}[A-Z][12]\d{{8}}{_END}"), _taiwan),
    (re.compile(rf"{_EDGE}[STFGM]\d{{7}}[A-Z]{_END}"), _singapore),
    (re.compile(rf"{_EDGE}\d{{6}}-[1-8]\d{{6}}{_END}"), _korea),
    (re.compile(rf"{_EDGE}\d{{8}}-?[A-HJ-NP-TV-Z]{_END}"), _spain),
    (re.compile(rf"{_EDGE}[2-9]\d{{3}} \d{{4}} \d{{4}}{_END}"), _verhoeff),
)
