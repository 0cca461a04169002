"""Payment cards and bank accounts: where they stand.

A card is told by its issuer's prefix with a length that goes with it, Luhn's check digit, and groups as cards print
them, or none. One order number in ten passes Luhn's test too: what the word before calls an order's, a parcel's or the
like is none. A number that is announced as a card's is one whole, also where it was mistyped. An IBAN is told by its
country's length and its check digits (ISO 13616).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from thumbwheel.private.view import CARD, IBAN, Span, View, before, only_digits, says_thing, span

_NUMBER = re.compile(r"(?<![\dA-Za-z])(?<!\d[.\-])\d(?:[ .\-]{0,2}\d){11,30}(?!\d)")
_PART = re.compile(r"\d+")
_PAID = re.compile(
    r"卡号|银行卡|信用卡|储蓄卡|借记卡|刷卡|付款|支付|扣款|扣费|账[号户]|帐[号户]|银联|退款|(?<![a-z])(?:card|visa|mastercard|amex|"
    r"credit|debit|unionpay|maestro|discover|pan|paid|charged)(?![a-z])",
    re.IGNORECASE,
)
# Right before a number: it is a card's whatever its digits are.
_ANNOUNCED = re.compile(
    r"(?:卡号|卡號|(?:银行|信用|储蓄|借记|工资|收款)卡|(?:银行|收款|付款|打款|转账|对公)[账帐][号户]|"
    r"(?<![a-z])(?:card|account) (?:number|no\.?))(?:码)?(?:[ :：=]|是|为|is){0,4}$",
    re.IGNORECASE,
)
# Issuers' prefixes and the lengths of their numbers (ISO/IEC 7812).
_ISSUERS = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|2720\d{12}|3[47]\d{13}|"
    r"3(?:0[0-5]|[689]\d)\d{11}|62(?:\d{14}|\d{17})|35\d{14}|6(?:011|4[4-9]\d|5\d{2})\d{12}"
)
LENGTHS = range(12, 20)
_GROUPS = ([4, 6, 5], [4, 6, 4], [6, 13], [6, 10], [6, 6, 7], [6, 6, 4])

# ISO 13616: how long an IBAN of each country is.
_IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "CH": 21,
    "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FR": 27,
    "GB": 22, "GE": 22, "GI": 23, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IS": 26, "IT": 27,
    "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24,
    "RS": 22, "SA": 24, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "TN": 24, "TR": 26, "UA": 29, "VG": 24, "XK": 20,
}  # fmt: skip
_IBAN_START = re.compile(r"(?<![A-Za-z0-9])([A-Za-z]{2})[ \-]?\d ?\d")

_IBAN_WHOLE = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}(?![A-Za-z0-9])")


def payments(seen: View) -> Iterator[Span]:
    """The cards and IBANs in a view."""
    for found in _NUMBER.finditer(seen.text):
        start = found.start()
        parts = [(start + part.start(), start + part.end()) for part in _PART.finditer(found.group())]
        yield from _cards(seen, parts)
    for found in _IBAN_START.finditer(seen.text):
        yield from _iban(seen, found.start(), found.group(1).upper())


def _cards(seen: View, parts: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """The first run of `parts` that is a card, and what follows it: a date of expiry may stand behind."""
    sizes = [high - low for low, high in parts]
    said = parts and sum(sizes) in LENGTHS and _ANNOUNCED.search(before(seen, parts[0][0]))
    if said:
        last = _card_ends(seen, parts)
        start, end = parts[0][0], parts[last - 1][1]
        yield span(seen, start, end, CARD, only_digits(seen.text[start:end]))
        yield from _cards(seen, parts[last:])
        return
    whole = sum(sizes) in LENGTHS and len(parts) > 1 and _as_printed(sizes)
    if whole and len(parts) in (4, 5) and set(sizes[:-1]) == {4} and not says_thing(seen, parts[0][0], _PAID):
        number = only_digits(seen.text[parts[0][0] : parts[-1][1]])
        if _ISSUERS.fullmatch(number):  # printed as a card and an issuer's, whatever its check digit
            yield span(seen, parts[0][0], parts[-1][1], CARD, number)
            return
    for first in range(len(parts)):
        for last in range(len(parts), first, -1):
            start, end = parts[first][0], parts[last - 1][1]
            number = only_digits(seen.text[start:end])
            sizes = [high - low for low, high in parts[first:last]]
            if (
                len(number) in LENGTHS
                and _as_printed(sizes)
                and (first == 0 or not whole)  # a part of a mistyped card is none
                and is_card(number, bool(_PAID.search(before(seen, start))))
            ):
                if not says_thing(seen, start, _PAID):
                    yield span(seen, start, end, CARD, number)
                yield from _cards(seen, parts[last:])
                return


def _card_ends(seen: View, parts: Sequence[tuple[int, int]]) -> int:
    """How many of `parts` are the announced card: those that an issuer's number with its check digit has, else all."""
    for last in range(len(parts), 0, -1):
        number = only_digits(seen.text[parts[0][0] : parts[last - 1][1]])
        if len(number) in LENGTHS and is_card(number, said=False):
            return last
    return len(parts)


def _as_printed(sizes: Sequence[int]) -> bool:
    """Whether groups of these sizes are how cards are written: none, 4-4-4-4, 4-6-5, 6-6-7, each digit apart."""
    by_four = all(size == 4 for size in sizes[:-1]) and 1 <= sizes[-1] <= 4
    return len(sizes) == 1 or by_four or list(sizes) in _GROUPS or set(sizes) == {1}


def is_card(number: str, said: bool) -> bool:
    """Whether a number of 12 to 19 digits can be a card's; `said` is whether a word before it says so."""
    return luhn(number) and len(set(number)) > 1 and (said or _ISSUERS.fullmatch(number) is not None)


def luhn(number: str) -> bool:
    """Luhn's test (ISO/IEC 7812-1, annex B)."""
    doubled = [int(char) * (2 if at % 2 else 1) for at, char in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _iban(seen: View, start: int, country: str) -> Iterator[Span]:
    length = _IBAN_LENGTHS.get(country)
    if length is None:
        return
    whole = _IBAN_WHOLE.match(seen.text, start)
    if whole is not None and _mod97(whole.group()) == 1:  # of a wrong length, and still somebody's account to be
        yield span(seen, *whole.span(), IBAN, whole.group())
        return
    taken, at = "", start
    while len(taken) < length and at < len(seen.text):
        char = seen.text[at]
        if char.isascii() and char.isalnum():
            taken += char.upper()
        elif char not in " -" or seen.text[at - 1] in " -":
            return
        at += 1
    follows = seen.text[at : at + 1]
    if len(taken) == length and not (follows.isascii() and follows.isalnum()) and _mod97(taken) == 1:
        yield span(seen, start, at, IBAN, taken)


def _mod97(account: str) -> int:
    return int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97
