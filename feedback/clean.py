"""Text as it goes into a dataset, and text as it is compared: pure functions, for every script.

Kept is NFC without what nobody sees. Joiners stay where scripts and emoji need them (a family emoji, Persian, Hindi),
and go between Latin letters, Chinese characters and the like, where they only hide one text from another. Compared is
NFKC, casefolded, blanks collapsed: nothing here counts words by blanks. All of it takes time in proportion to the text,
whatever the text is. It knows nothing of meaning, of personal data (redact.py) and of wrong encodings (mojibake.py).
"""

from __future__ import annotations

import re
import unicodedata

from thumbwheel.answers import flags

_LINE_ENDS = re.compile("\r\n|[\r\u0085\u2028\u2029]")
# Controls but tab and line feed, lone surrogates, zero-width and bidirectional marks, soft hyphens, noncharacters.
_UNSEEN = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff\U000e0000\U000e0001]"
)
# What a terminal takes for colours and titles: with its escape character alone gone, "[0m" would stay.
_ESCAPED = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\n]*(?:\x07|\x1b\\\\)")
_JOINERS = re.compile("[\u200c\u200d]+")
# Who needs joiners: Arabic and the scripts beside it, those of India and its neighbours, Mongolian; emoji, their skin
# tones, presentation selectors and tags.
_JOINING = re.compile(
    "[\u0600-\u07ff\u0840-\u0dff\u0f00-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefe\ufe0f"
    "©®\u2190-\u2bff\u3030\u303d\u3297\u3299\U00010a00-\U00011fff\U0001e900-\U0001e95f\U0001f000-\U0001faff\U000e007f]"
)
# A sign that takes its consonant's vowel away, in scripts of India: a joiner behind it shapes the letter before it.
_VIRAMA = 9  # canonical combining class
# Tag characters spell the flags of regions after a black flag; anywhere else they only smuggle text past a reader.
_TAGS = re.compile("(\U0001f3f4[\U000e0020-\U000e007f]*)|[\U000e0020-\U000e007f]+")
# Normalizing sorts the marks on a character, in time that grows with the square of their number. No script needs more
# than a few; Unicode's stream-safe text (UAX #15) has at most 30.
MOST_MARKS = 30
# How often a unit of at most so many letters is said before it is a loop: 好好好 and 谢谢谢谢 are none.
LOOPS = ((1, 10), (2, 6), (7, 5), (24, 4))
LOOP_SHARE = 0.6  # of a text's letters that the loop must be
_REPEATED = re.compile(r"(.{1,24}?)\1{3,}")
_LAUGH = re.compile(r"[哈嘿呵嘻嘎啊噢哦嗯咯呜w笑草ㅋㅎㅠ]+|[hjxк]+[aeiаеи]*|[aeiаеи]+[hjxхк]+|х[аеи]|[аеи]х|lol|[km]")
# Of how many letters one may be that says nothing else: 嗯嗯嗯 and the like, a key held down, any other laugh.
MOST_ALONE = ((re.compile(r"[啊噢哦嗯呜呵咯ㅠ]+"), 12), (re.compile("[a-z]"), 19), (_LAUGH, 30))
# Where too many of them may stand: no mark is ASCII, a blank, or a letter, except for the two halfwidth ones.
_MAYBE_MARKS = re.compile(rf"(?:[^\w\s\0-\x7f]|[\uff9e\uff9f]){{{MOST_MARKS + 1},}}")


def clean(text: str) -> str:
    """`text` in NFC with line feeds as line ends, without invisible characters or heaps of marks. Idempotent."""
    text = _UNSEEN.sub("", _ESCAPED.sub("", _LINE_ENDS.sub("\n", text)))
    text = _normal(_TAGS.sub(lambda found: found.group(1) or "", text))
    return _normal(_JOINERS.sub(lambda found: found.group() if _joins(text, found) else "", text))


def _normal(text: str) -> str:
    """NFC, with the first MOST_MARKS marks on each character. NFC can make two of one: another call takes the rest."""
    return unicodedata.normalize("NFC", _MAYBE_MARKS.sub(_fewer_marks, text))


def _fewer_marks(found: re.Match[str]) -> str:
    kept, marks = [], 0
    for char in found.group():
        marks = marks + 1 if _is_mark(char) else 0
        if marks <= MOST_MARKS:
            kept.append(char)
    return "".join(kept)


def _is_mark(char: str) -> bool:
    return all(unicodedata.combining(part) for part in unicodedata.normalize("NFKD", char))


def _joins(text: str, found: re.Match[str]) -> bool:
    before, after = text[max(0, found.start() - 1) : found.start()], text[found.end() : found.end() + 1]
    if before and unicodedata.combining(before) == _VIRAMA:
        return True
    return all(side and _JOINING.match(side) for side in (before, after))


def compared(text: str) -> str:
    """The form in which two texts are the same: NFKC, casefolded, runs of blanks as one, none at the ends."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean(text)).casefold())
    return " ".join(folded.split())


def in_one_width(text: str) -> str:
    """`text` with full-width and half-width characters in their usual width: NFKC of these alone.

    All of NFKC would also make 106 of 10⁶, and a correction of that is one.
    """
    usual = "".join(unicodedata.normalize("NFKC", char) if _has_a_width(char) else char for char in text)
    return unicodedata.normalize("NFC", usual)


def _has_a_width(char: str) -> bool:
    return unicodedata.decomposition(char).startswith(("<wide>", "<narrow>"))


def width(text: str) -> int:
    """Length in columns: a Han character or an emoji counts two, since it says more than a letter."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def says_nothing(text: str) -> bool:
    """Whether no letter or digit of any script is in it, or it is a loop or mixed beyond any language.

    What a wrong encoding lost of it is another fault (mojibake.py).
    """
    text = text.replace("\ufffd", "")
    return not any(char.isalnum() for char in text) or _is_loop(text) or "degenerate" in flags(text, None)


def _is_loop(text: str) -> bool:
    """Whether most of a text is one thing said over and over, more often than people do; no number, no laugh.

    A text of nothing but a laugh is a loop too where it is longer than people laugh.
    """
    said = "".join(char for char in text.casefold() if char.isalnum())
    for run in _REPEATED.finditer(said):
        unit, long = run.group(1), run.end() - run.start()
        often = next(least for longest, least in LOOPS if len(unit) <= longest)
        if long >= often * len(unit) and long >= LOOP_SHARE * len(said):
            if _LAUGH.fullmatch(unit):
                most = next(most for kind, most in MOST_ALONE if kind.fullmatch(unit))
                return len(said) > most and set(said) <= set(unit)
            return not unit.isdigit()
    return False
