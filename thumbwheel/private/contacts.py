"""Mails, telephone numbers and messenger accounts: where they stand.

A number is a telephone's by its form (a mainland mobile, an area code in brackets, `+` with a country's code, the
groups of a national plan) or by the word before it. Numbers that no person has are left: 400, 800, 95xxx, 1-800.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from thumbwheel.private.view import ACCOUNT, EMAIL, PHONE, Span, View, before, only_digits, says_thing, span

_LOCAL = r"[A-Za-z0-9À-ÖØ-öø-ÿ_%+\-](?:[A-Za-z0-9À-ÖØ-öø-ÿ._%+\-]{0,62}[A-Za-z0-9À-ÖØ-öø-ÿ_%+\-])?"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62}[A-Za-z0-9])?\.){1,6}"
_TOP = r"(?:com|org|net|edu|gov|cn|hk|tw|uk|us|de|fr|eu|in|jp|kr|info|biz|io|me|co|cc|top|example|test)"
_AT = r"(?: ?[\[(<{] ?(?:at|艾特) ?[\])>}] ?| at |艾特)"
_DOT = r"(?: ?[\[(<{] ?(?:dot|点) ?[\])>}] ?| dot |点|\.)"
_MAILS = (
    re.compile(rf"(?<![A-Za-z0-9._%+\-]){_LOCAL}@{_HOST}[A-Za-z]{{2,24}}(?![A-Za-z0-9])"),
    # Blanks around the signs, single letters, or words instead: only with an ending that hosts have.
    re.compile(
        rf"(?<![A-Za-z0-9._%+\-]){_LOCAL}(?: @ ?|@ )(?:[A-Za-z0-9\-]{{1,63}} ?\. ?){{1,6}}{_TOP}(?![A-Za-z0-9])", re.I
    ),
    re.compile(rf"(?<![A-Za-z0-9._%+\-]){_LOCAL}@(?:[A-Za-z0-9\-]{{1,63}} ?\. ?){{1,6}}{_TOP}(?![A-Za-z0-9])", re.I),
    re.compile(
        rf"(?<![A-Za-z0-9._%+\-]){_LOCAL}{_AT}[A-Za-z0-9\-]{{1,63}}(?:{_DOT}[A-Za-z0-9\-]{{1,63}}){{0,3}}{_DOT}{_TOP}"
        r"(?![A-Za-z0-9])",
        re.I,
    ),
    re.compile(
        r"(?<![A-Za-z0-9])(?:[A-Za-z0-9._\-] ){2,40}@ (?:[A-Za-z0-9\-] ){1,40}\. (?:[A-Za-z] ){1,5}[A-Za-z]"
        r"(?![A-Za-z0-9])"
    ),
)

_CALLED = re.compile(
    r"电话|手机|联系方式|座机|号码|致电|拨打|来电|回电|短信|传真|(?<![a-z])(?:tel|telephone|phone|call|mobile|cell|fax|text|"
    r"whatsapp|sms|ring|dial|reach)(?![a-z])",
    re.IGNORECASE,
)
_COUNTRY = (
    r"(?:1|7|20|27|3[0-46-9]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-69]\d|3[578]\d|42\d|5[09]\d|6[789]\d|8[0578]\d|"
    r"9[679]\d)"
)
_EXTENSION = r"(?: ?(?:,|转|分机|ext\.?|extension|x) ?\d{1,6})?"
_PHONES = (
    # mainland mobiles: in one piece, 3-4-4 and 3-3-5, or each digit apart
    re.compile(
        r"(?<![\dA-Za-z])(?<!\d[.\-])(?:\(?(?:\+|00)?86\)?[ \-]{0,2})?"
        r"1[3-9]\d(?:\d{8}| ?([ .\-]) ?\d{4} ?\1 ?\d{4}|([ .\-])\d{3}\2\d{5}|\d([ .\-])\d{3}\3\d{4}|"
        r", ?\d{4}, ?\d{4}| ?\d{4} ?\d{4})(?!\d)"
    ),
    re.compile(r"(?<![\d])(?<!\d[ .,\-])1([ .,\-]{1,2})[3-9](?:\1\d){9}(?![\d])(?![ .,\-]\d)"),
    # landlines with an area code: 010-12345678, (0755) 8888 6666
    re.compile(
        r"(?<![\dA-Za-z])(?<!\d[.\-])(?:(?:\+|00)?86[ \-]?)?(?:\(0\d{2,3}\) ?-?|"
        r"0\d{2,3}[ \-]{1,2})[2-9]\d{2,3}[ \-]?\d{4}"
        rf"(?:[ \-]\d{{1,5}}|{_EXTENSION})?(?!\d|-\d)"
    ),
    # any country, with its code: +44 20 7946 0000, 0033 6 12 34 56 78
    re.compile(
        rf"(?<![A-Za-z0-9+])(?<!\d[.\-])(?:\+{_COUNTRY}|00{_COUNTRY}[ .\-(])(?:[ .\-/]{{0,2}}(?:\(\d{{1,4}}\)|"
        rf"\d)){{6,12}}"
        rf"(?![\dA-WYZa-wyz]){_EXTENSION}"
    ),
    # North America: (415) 555-0100, 415.555.0100, 1-415-555-0100
    re.compile(
        r"(?<![\dA-Za-z])(?<!\d[.\-])(?:\+?1[ .\-])?(?:\([2-9]\d{2}\)[ .\-]?|[2-9]\d{2}[ .\-])[2-9]\d{2}[ .\-]\d{4}"
        rf"(?!\d|[.\-]\d){_EXTENSION}"
    ),
    # national forms with a trunk 0: 020 7946 0000, 07700 900123, 06 12 34 56 78, 030/1234567, 090-1234-5678
    re.compile(
        r"(?<![\dA-Za-z])(?<!\d[.\-/])(?:07\d{3} ?\d{6}|0[1-9]\d{9}|(?<!\d )0[1-9](?:[ .\-]\d{2}){4})"
        r"(?![\dA-Za-z]|[.\-/]\d| \+? ?\d\d(?!\d))"
    ),
    re.compile(r"(?<![\dA-Za-z])(?<!\d[.\-/])(?:\(0\d{1,4}\)[ \-]?|0\d{1,4}[ \-/])\d{3,4}[ \-]?\d{3,4}(?!\d|[.\-/]\d)"),
)
_TO_CALL = re.compile(
    r"(?:电话|手机|联系方式|座机|致电|拨打|回电|(?<![A-Za-z])(?:tel|telephone|phone|call|mobile|cell|fax|text|whatsapp|"
    # A bracket within is closed again: behind a hotline's number come its hours.
    r"dial)(?![A-Za-z]))[^\d\n]{0,12}?((?:\(\d{1,5}\)|\d)(?:[ .\-]{0,2}(?:\(\d{1,4}\)|\d)){2,14})(?!\d)",
    re.IGNORECASE,
)
_NOBODYS = re.compile(r"(?:86)?(?:[48]00\d{7}|95\d{3,6})|0?800\d{6,7}")
_TOLL_FREE = re.compile(r"(?:\+?1[ .\-])?\(?8(?:00|33|44|55|66|77|88)\)?[ .\-]")
_DIGITS = re.compile(r"\d{7,15}")
_EXTENDED = re.compile(r" ?(?:,|转|分机|ext\.?|extension|x) ?\d{1,6}$")
FEWEST, MOST = 7, 15  # digits of a telephone number, E.164
# Numbers that are drawn from a drum: in order, none over 49. A French number in pairs has higher ones.
_PAIRS, HIGHEST_DRAWN = re.compile(r"0[1-9](?:[ .\-]\d{2}){4}"), 49

_ACCOUNT = re.compile(
    r"(?:(?:微信号?|薇信|威信|v信|wechat|wei ?xin|(?<![a-z])(?:vx|wx)|QQ号?|扣扣号?|"
    r"telegram|line ?id|抖音号?|小红书号?)"
    r"(?:号码|账号|id)?[ :=是为]{1,3}|"
    r"(?:加|(?<![A-Za-z0-9+/=])\+)(?:我|他|她|老师|客服|群主|店主|老板)?的?(?:个|一下)?"
    r"(?:微信号?|微|薇信?|威信|卫星|v信|vx|wx|v|QQ|扣扣|企鹅)号?[ :=是为]{0,3})"
    r"(@?[A-Za-z0-9][A-Za-z0-9_\-]{4,30})",
    re.IGNORECASE,
)
# Nothing between: behind 号 any account; else what has digits enough, and is no part of the messenger's software.
_GLUED = re.compile(
    r"(?:微信|薇信|威信|QQ|扣扣|抖音|小红书|快手|微博|支付宝)(?:号码?|账号|id) ?"
    r"((?=[A-Za-z0-9_\-]{0,30}\d)(?!\d{1,3}(?!\d))[A-Za-z0-9][A-Za-z0-9_\-]{4,30})|"
    r"(?:(?:微信|薇信|威信) ?((?!(?:wx)?(?:err|code|api|sdk|pay|web|app|open|union|ios|android|windows|mac|http|"
    r"ver|mini|js|pc|h5|x5|iphone|ipad|v\d))[A-Za-z](?=[A-Za-z_\-]{0,30}\d)(?:[A-Za-z0-9_\-]{0,10}\d){3}[A-Za-z0-9_\-]{0,24})|"
    r"(?:QQ|扣扣) ?([1-9]\d{6,10}))(?![A-Za-z0-9.])",
    re.IGNORECASE,
)
# Of these a dot is a part; a host is none.
_DOTTED = re.compile(
    r"(?<![a-z])(?:line(?: ?id)|telegram|skype|instagram|ig|snapchat)(?: ?id)?(?: ?[:=@]| is |是)[ @]{0,2}"
    r"((?!https?|www\.|t\.me)[A-Za-z0-9]{1,30}(?:\.[A-Za-z0-9_\-]{1,30}){1,3})(?![A-Za-z0-9/]|\.\w)",
    re.IGNORECASE,
)
_HOST_END = re.compile(rf"\.{_TOP}$", re.IGNORECASE)
# Who stands in mails of manuals, at the hosts that RFC 2606 keeps for them.
_NOBODYS_MAIL = re.compile(
    r"(?:you|your|user|username|yourname|me|someone|somebody|name|email|mail|nobody|(?:your|my)[._\-]?(?:name|e?mail))"
    r"@(?:[a-z]+\.)?example\.(?:com|org|net)"
)


def contacts(seen: View) -> Iterator[Span]:
    """The mails, telephone numbers and messenger accounts in a view."""
    yield from _mails(seen)
    for pattern in _PHONES:
        for found in pattern.finditer(seen.text):
            yield from _phone(seen, *found.span(), found.group())
    for found in _DIGITS.finditer(seen.text):
        if seen.ends[found.end() - 1] - seen.starts[found.start()] > 2 * len(found.group()):  # spelt in words
            yield from _phone(seen, *found.span(), found.group())
    for found in _TO_CALL.finditer(seen.text):
        yield from _phone(seen, *found.span(1), found.group(1))
    for found in _ACCOUNT.finditer(seen.text):
        if any(char.isdigit() or char in "_-" for char in found.group(1)):
            yield span(seen, *found.span(1), ACCOUNT, found.group(1).lower())
    for found in _GLUED.finditer(seen.text):
        group = found.lastindex or 0
        if not says_thing(seen, found.start(), _CALLED):
            yield span(seen, *found.span(group), ACCOUNT, found.group(group).lower())
    for found in _DOTTED.finditer(seen.text):
        if not _HOST_END.search(found.group(1)):
            yield span(seen, *found.span(1), ACCOUNT, found.group(1).lower())


def _mails(seen: View) -> Iterator[Span]:
    if "@" not in seen.text and "dot" not in seen.text.lower() and "艾特" not in seen.text and "at" not in seen.text:
        return
    for pattern in _MAILS:
        for found in pattern.finditer(seen.text):
            key = re.sub(r"[\[(<{] ?(?:at|艾特) ?[\])>}]| at |艾特", "@", found.group().lower())
            key = re.sub(r"[\[(<{] ?(?:dot|点) ?[\])>}]| dot |点", ".", key).replace(" ", "")
            # git@HOST:PATH names a repository and no person
            if not key.startswith("git@") and not _NOBODYS_MAIL.fullmatch(key):
                yield span(seen, *found.span(), EMAIL, key)


def _phone(seen: View, start: int, end: int, text: str) -> Iterator[Span]:
    number = only_digits(_EXTENDED.sub("", text))
    if not FEWEST <= len(number) <= MOST or _NOBODYS.fullmatch(number) or _TOLL_FREE.match(text):
        return
    if not says_thing(seen, start, _CALLED) and not _is_drawn(seen, start, text):
        yield span(seen, start, end, PHONE, national(number, before(seen, start).endswith("+") or text.startswith("+")))


def _is_drawn(seen: View, start: int, text: str) -> bool:
    """Whether pairs of digits are a draw's numbers, and nothing says that somebody is called so."""
    if not _PAIRS.fullmatch(text):
        return False
    pairs = [int(pair) for pair in re.findall(r"\d{2}", text)]
    rises = all(one < other for one, other in pairwise(pairs))
    return rises and pairs[-1] <= HIGHEST_DRAWN and not _CALLED.search(before(seen, start))


def national(number: str, with_country: bool) -> str:
    """A number's digits without what only says which country it is in, where that is plain."""
    if len(number) in (13, 15) and number.removeprefix("00").startswith("86"):
        return number.removeprefix("00").removeprefix("86")
    if len(number) == 11 and number[0] == "1" and (with_country or number[1] in "2" or number[1] < "3"):
        return number[1:]
    return number
