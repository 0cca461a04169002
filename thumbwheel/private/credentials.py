"""Keys, tokens and passwords: where they stand.

A key is told by the prefix that its maker gives it, by the word before it, or by being long and as mixed as only a
random draw is. Hashes are written in hexadecimal, or say of which kind they are, and identifiers have hyphens: in
developers' talk none of these is a secret.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from thumbwheel.private.view import SECRET, Span, View, span

_KNOWN = re.compile(
    r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----[A-Za-z0-9+/=\s]{16,8000}?(?:-----END (?:[A-Z]+ ){0,3}PRIVATE "
    r"KEY-----|\Z)|"
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_\-]{16,200}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,100}|whsec_[A-Za-z0-9]{16,100}|"
    r"gh[pousr]_[A-Za-z0-9]{30,100}|github_pat_[A-Za-z0-9_]{22,120}|glpat-[A-Za-z0-9_\-]{18,60}|"
    r"(?:AKIA|ASIA|AGPA|AROA)[A-Z0-9]{16}|AIza[A-Za-z0-9_\-]{30,40}|ya29\.[A-Za-z0-9_\-]{20,200}|GOCSPX-[A-Za-z0-9_\-]{20,40}|"
    r"xox[abeprs]-[A-Za-z0-9\-]{20,200}|hf_[A-Za-z0-9]{30,40}|npm_[A-Za-z0-9]{30,40}|pypi-[A-Za-z0-9_\-]{40,250}|"
    r"SG\.[A-Za-z0-9_\-]{16,30}\.[A-Za-z0-9_\-]{30,60}|LTAI[A-Za-z0-9]{12,26}|AKID[A-Za-z0-9]{28,40}|"
    r"dop_v1_[a-f0-9]{64}|shp(?:at|ss|ca)_[a-fA-F0-9]{32}|sq0(?:atp|csp)-[A-Za-z0-9_\-]{20,50}|"
    r"eyJ[A-Za-z0-9_\-]{8,2000}\.[A-Za-z0-9_\-]{8,4000}(?:\.[A-Za-z0-9_\-]{8,2000})?"
    r")(?![A-Za-z0-9])"
)
# What stands where a secret would, and is none: PASSWORD, <your-key>, ****, ${DB_PASS}, what manuals print.
_STANDS_FOR = re.compile(
    r"[A-Z]+(?:_[A-Z]+)*|<[^<>]*>?|\[[^\[\]]*\]?|[*•.xX_\-]+|\$?\{+[^{}]*\}*|\$[A-Za-z_]+|%[A-Za-z_]+%|"
    r"(?i:(?:your|my|the|some|db|user)?[_\-]?(?:pass(?:word|wd|phrase)?|pwd|pw|secret|token|api[_\-]?key|key)(?:[_\-]?here)?|"
    r"change[_\-]?me|redacted|hidden|example)|[A-Za-z0-9+/=]*EXAMPLE(?:KEY)?"
)
_IN_URL = re.compile(r"://[^/\s:@]{1,100}:([^/\s@]{3,100})@")
_BEARER = re.compile(r"(?i:bearer|basic) ([A-Za-z0-9_\-.+/=]{16,2000})")
_IS = r"(?:['\"”’]? ?(?:[:=]|是|为|(?<![A-Za-z])(?:is|to)(?![A-Za-z])) ?['\"“‘`]?| ['\"“‘`]?)"
_NAMED = re.compile(
    r"(?:(?:api|access|secret|private|client|app|auth|encryption)[ _\-]?(?:key|secret|token)|(?<![A-Za-z])(?:token|"
    rf"secret|apikey|key)(?![A-Za-z])|密钥|秘钥|令牌|私钥){_IS}([A-Za-z0-9_\-.+/=]{{16,500}})",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    r"(?:(?:access|refresh|client|app|api|auth|secret|private)[ _\-]?(?:key|secret|token)|(?<![A-Za-z])(?:token|"
    r"secret|apikey)(?![A-Za-z])|密钥|秘钥|令牌|私钥)"
    r"['\"”’]? ?[:=] ?['\"“‘`]?([^\s'\"“”‘’`,;，。；<>{}\u4e00-\u9fff]{8,500})",
    re.IGNORECASE,
)
_PASSWORD = re.compile(
    r"(?:(?<![A-Za-z])(?:password|passwd|passcode|pwd|passphrase)|密码|口令)(?:['\"”’]? ?(?:[:=]|是|为|"
    r"(?<![A-Za-z])is(?![A-Za-z])){1,2}"
    r" ?['\"“‘`]?)([A-Za-z0-9!#$%&*+\-./?@^_~]{6,64})",
    re.IGNORECASE,
)
# Behind -p of a command line, without a blank.
_IN_COMMAND = re.compile(
    r"(?<![A-Za-z])(?:mysql|mysqldump|mysqladmin|mariadb)(?![A-Za-z])"
    r"[^\n;|&，。\u4e00-\u9fff]{0,80}? -p([^\s'\"]{4,64})"
)
# After a blank alone only what no word is: letters, digits and signs together, or many letters and digits.
_BARE_PASSWORD = re.compile(
    r"(?:(?<![A-Za-z])(?:password|passwd|passcode|pwd|passphrase)|密码|密碼|口令)(?: |/| / )"
    r"([A-Za-z0-9!#$%&*+\-./?@^_~]{6,64})(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SHOUT = re.compile("!+(?![\u4e00-\u9fff])")
_SIGN = re.compile(r"[!#$%&*+?@^_~]")
_PRODUCT = re.compile(r"[A-Za-z]+[-_]?\d{1,2}(?:\.\d{1,2})?[A-Za-z]{0,4}|[\d.\-]+[A-Za-z]{1,6}")
_ONCE = re.compile(
    r"(?:验证码|动态码|校验码|密码|密碼|口令|(?<![A-Za-z])(?:verification|one-time|security|2fa) code|(?<![A-Za-z])otp|"
    r"(?<![A-Za-z])(?:cvv2?|cvc|pin)"
    r"(?![A-Za-z])码?)(?: code)?(?:(?: ?(?:[:=]|是|为|is)){1,2} ?| )(\d{3,8})"
    r"(?!\d|[-~至到]\d| ?(?:位|个|次|digits?|分|天|年|版|元|条|种|小时|秒))",
    re.IGNORECASE,
)
_LONG = re.compile(r"(?<![A-Za-z0-9_\-./+=:@#])[A-Za-z0-9_\-+/]{32,512}={0,2}(?![A-Za-z0-9_\-./+])")
_HASH = re.compile(r"(?i:sha\d{1,3}|md5|integrity|digest|checksum)[\"' ]{0,2}[-:= ]{0,2}[\"']?$")
_HASHED = re.compile(r"sha\d{1,3}[-_]", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-fA-F\-]+")
BITS_NAMED, BITS_ALONE = 2.0, 4.0  # Shannon's, a character; English words joined by hyphens have under 4 and no digits


def credentials(seen: View) -> Iterator[Span]:
    """The keys, tokens and passwords in a view."""
    for one in _candidates(seen):
        if not _STANDS_FOR.fullmatch(one.key):
            yield one


def _candidates(seen: View) -> Iterator[Span]:
    for found in _KNOWN.finditer(seen.text):
        yield span(seen, *found.span(), SECRET, found.group())
    for pattern in (_IN_URL, _BEARER, _IN_COMMAND, _ONCE):
        for found in pattern.finditer(seen.text):
            yield span(seen, *found.span(1), SECRET, found.group(1))
    for found in (*_NAMED.finditer(seen.text), *_ASSIGNED.finditer(seen.text)):
        value = found.group(1).rstrip(".-")
        if _mixed(value) and bits(value) >= BITS_NAMED:
            yield span(seen, found.start(1), found.start(1) + len(value), SECRET, value)
    for found in _PASSWORD.finditer(seen.text):
        value = found.group(1).rstrip(".?!")
        if len(value) >= 6 and (any(map(str.isdigit, value)) or _mixed(value)):
            yield _password(seen, found, value)
    for found in _BARE_PASSWORD.finditer(seen.text):
        value = found.group(1).rstrip(".?!")
        drawn = any(map(str.isdigit, value)) and (_SIGN.search(value) or len(value) >= 8)
        if drawn and len(value) >= 6 and _mixed(value) and not _PRODUCT.fullmatch(value) and "://" not in value:
            yield _password(seen, found, value)
    for found in _LONG.finditer(seen.text):
        if (
            is_random(found.group())
            and not _HASHED.match(found.group())
            and not _HASH.search(seen.text[max(0, found.start() - 12) : found.start()])
        ):
            yield span(seen, *found.span(), SECRET, found.group())


def _password(seen: View, found: re.Match[str], value: str) -> Span:
    """A password with the `!` that it ends in, which only a sentence that goes on at once has for itself."""
    start, end = found.start(1), found.start(1) + len(value)
    marks = _SHOUT.match(seen.text, end)
    return span(seen, start, marks.end() if marks else end, SECRET, value)


def is_random(word: str) -> bool:
    """Whether a long word is as mixed as a key: capitals, small letters and digits all through, and not hexadecimal."""
    cases = (any(map(str.isupper, word)), any(map(str.islower, word)), any(map(str.isdigit, word)))
    return all(cases) and not _HEX.fullmatch(word) and not _pieces_are_words(word) and bits(word) >= BITS_ALONE


def _pieces_are_words(word: str) -> bool:
    """Whether it is names put together: long stretches of letters in one case, as in a path or an identifier."""
    pieces = re.findall(r"[A-Z]?[a-z]{3,}|[A-Z]{4,}", word)
    return sum(map(len, pieces)) > 0.6 * len(word)


def _mixed(value: str) -> bool:
    if any(map(str.isdigit, value)):
        return any(map(str.isalpha, value))
    return value not in (value.lower(), value.upper()) and not _pieces_are_words(value)


def bits(text: str) -> float:
    """Shannon's entropy of the characters, in bits a character."""
    counts = Counter(text).values()
    return -sum(n / len(text) * math.log2(n / len(text)) for n in counts)
