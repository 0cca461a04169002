"""Whether a text was read in a wrong encoding somewhere on its way: a pure function of the text as it came.

What is looked for is what such a reading leaves: pairs and triples of characters that are UTF-8's bytes as Latin-1,
Windows-1252 or Windows-1251 show them (Ã©, â€™, ä½ å¥½, РџСЂРё), Chinese whose GBK bytes are UTF-8 of other, common
Chinese (浣犲ソ for 你好), GBK or Big5 as Latin-1 (ÄãºÃ, ±z¦n), one of the two as the other (蠟疑), Chinese as bytes of
Cyrillic (дЅ еҐЅ), Shift-JIS or EUC as Western text, with the control characters that such bytes are, and what is left
where bytes were lost (锟斤拷, more than a few �, 烫烫烫烫, ????，???). It wants the text before `clean`, which takes
the control characters away. One � leaves a question readable; an answer is not taught with it (`is_damaged`).
Shift-JIS as Windows-1252 is known by its kana, so a few words of kanji alone pass.

What stands in quotes or code is not looked at: developers talk about it. A lone sign that some language does write
(É”, Spaß“, café ») is no evidence.
"""

from __future__ import annotations

import re

LOST = "\ufffd"  # stands for bytes that could not be read
MOST_LOST = 1  # replacement characters that a text may hold; and
LOST_SHARE = 0.02  # of its characters
MOST_BYTES = 0.55  # of a run that must make sense as UTF-8; decoders leave out what they cannot read

# Signs that such a reading leaves too („, «, ‚) open a quotation only where no letter with an accent is before them.
_QUOTED = re.compile(
    r"```.*?```|`[^`\n]*`|\"[^\"\n]{1,80}\"|'[^'\n\w]{1,80}'|“[^”\n]{1,80}”|「[^」\n]{1,80}」|‘[^’\n]{1,80}’|"
    r"『[^』\n]{1,80}』|＂[^＂\n]{1,80}＂|(?<![\x80-\u04ffƒ†‡ˆ‰–˜™€])(?:„[^“”\n]{1,80}[“”]|«[^»\n]{1,80}»|»[^«\n]{1,80}«|"
    r"‚[^‘’\n]{1,80}[‘’]|‹[^›\n]{1,80}›)(?![\x80-\u04ffƒ†‡ˆ‰˜™€])",
    re.DOTALL,
)
# Windows-1252's characters for the bytes 80 to 9F, beside those that it has none for.
_C1 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_BYTE_OF = {char: char.encode("cp1252")[0] for char in _C1} | {chr(byte): byte for byte in range(0x80, 0x100)}
_NEXT = rf"[\x80-\xbf{_C1}]"
# What punctuation of clean text puts behind a letter with an accent.
_TYPOGRAPHIC = "‘’“”‚„…–—‹›«»\xa0\xad•™®©°ºª!·"
_TRIPLE = re.compile(rf"[\xe0-\xef]{_NEXT}{{2}}|[\xf0-\xf4]{_NEXT}{{3}}")
_PAIR = re.compile(rf"[ÂÃ]{_NEXT}")
_TRIPLES = re.compile(rf"(?:[\xe0-\xef]{_NEXT}{{2}}){{2,}}")  # one alone may be an accent before punctuation
_PAIRS = re.compile(rf"(?:[\xc4-\xdf]{_NEXT}){{3,}}")
_PLAIN_PAIR = "©®°ºª\xa0"  # behind Ã these are é, î, °…: no language ends a word with Ã before them
_CYRILLIC = re.compile(r"(?:[РС][ЂЃѓЉЊЌЋЏђљњќћџЎўЈҐЄЇІіґєјЅѕї‚„…†‡€‰‹‘’“”•–—™›\xa0¤¦§©«¬®°±µ¶·№»Ёё\x80-\x9f]\s?){3,}")
_LOST = re.compile("锟.{0,3}拷")  # two � read as GBK, and what came between
_RUN = re.compile(r"[^\x00-\x7f]{3,}(?:\?[^\x00-\x7f]+)*")
_UNSET = re.compile(r"烫{4,}|屯{4,}|[烫屯]{5,}|葺{4,}")  # memory that was never written, as GBK
_ASKED = re.compile(r"[?？]{2,}")
LEAST_ASKED, MOST_ASKED = 4, 0.6  # question marks in place of letters, and their share of what is no blank or digit
_HAN = re.compile(r"[\u3100-\u312f\u4e00-\u9fff\uf900-\ufaff]{3,}")
_KANA = re.compile(r"[\u3041-\u30ff]")
MOST_KANA = 0.2
_BIG5_RUN = re.compile(r"(?:[\xa1-\xc6\xc9-\xf9][\x40-\x7e\xa1-\xfe]){3,}")
_SINGLE = ("cp1251", "koi8_r", "cp866", "cp1253", "cp1250", "mac_roman", "cp437")  # encodings of one byte a character
_SHOWN = re.compile(r"[^\x00-\x7f]{6,}")
# Control characters (but the line end, and what begins a colour): beside signs of Latin-1 twice, or one within a word,
# where Windows-1252 has the apostrophe.
_CONTROL = r"(?:[\x80-\x84\x86-\x9a\x9c-\x9f]|\x9b(?![\d;]*[A-Za-z]))"
_BESIDE = rf"(?:{_CONTROL}[\xa0-\xff]|[\xa0-\xff]{_CONTROL})"
_CONTROLS = re.compile(rf"{_BESIDE}.*{_BESIDE}", re.DOTALL)
_IN_A_WORD = re.compile(rf"[A-Za-z]{_CONTROL}[A-Za-z]")
_KANA_AS_JAPANESE = re.compile("[縺繧繝].*[縺繧繝]", re.DOTALL)  # UTF-8 as Shift-JIS: its kana begin with these
_KANA_AS_WESTERN = re.compile(r"(?:[‚ƒ][^\x00-\x3f\s]){3,}")  # Shift-JIS as Windows-1252: the kana's first byte
MOST_SINGLE = 0.7  # of a run's bytes that must make sense as UTF-8
_MANY_HAN = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff\uff00-\uff60\u3001-\u3011]")
_LATIN_RUN = re.compile(r"[\xa1-\xff]{4,}")


def is_mojibake(text: str) -> bool:
    """Whether `text`, as it came, was read in a wrong encoding."""
    text = _QUOTED.sub(" ", text)
    if _only_asked(text):
        return True
    if text.isascii():
        return False
    lost = text.count(LOST)
    if _LOST.search(text) or _UNSET.search(text) or (lost > MOST_LOST and lost > LOST_SHARE * len(text)):
        return True
    return (
        _CONTROLS.search(text) is not None
        or _KANA_AS_WESTERN.search(text) is not None
        or _KANA_AS_JAPANESE.search(text) is not None
        or _utf8_as_western(text)
        or _CYRILLIC.search(text) is not None
        or _utf8_as_gbk(text)
        or _gbk_as_western(text)
        or _gbk_as_big5(text)
        or _big5_as_western(text)
        or any(_utf8_as_single(text, encoding) for encoding in _SINGLE)
    )


def is_damaged(text: str) -> bool:
    """Whether `text`, as it came, is no answer to teach: read in a wrong encoding, or with any character lost."""
    bare = _QUOTED.sub(" ", text)
    return LOST in bare or _IN_A_WORD.search(bare) is not None or is_mojibake(text)


def _only_asked(text: str) -> bool:
    """Whether question marks stand where letters were, in several places or beside digits: an encoding lacked them."""
    seen = "".join(text.split())
    runs = _ASKED.findall(seen)
    letters = sum(map(str.isalpha, seen))
    asked = sum(map(len, runs))
    many = asked >= LEAST_ASKED and asked >= MOST_ASKED * sum(not char.isdigit() for char in seen)
    if not many or any(char.isalpha() and not char.isascii() for char in seen):
        return False
    beside = any(map(str.isdigit, seen)) or seen.isupper()  # ATM??????
    return (len(runs) >= 2 and letters <= len(seen) // 4) or (beside and letters <= len(seen) // 3)


def _gbk_as_big5(text: str) -> bool:
    """Whether a run of rare traditional Chinese is, as Big5's bytes, common Chinese in GBK."""
    if len(_KANA.findall(text)) > MOST_KANA * len(text):  # Japanese, whose characters are rarer in both
        return False
    for run in _HAN.finditer(text):
        shown = run.group().encode("big5", "ignore")
        made = shown.decode("gbk", "ignore")
        han = [char for char in made if "\u4e00" <= char <= "\u9fff"]
        rare = sum(lead >= 0xC9 for lead in shown[::2]) / max(1, len(shown) // 2)
        sure = 0.2 if len(han) < 5 else 0.1
        whole = len(shown) >= 1.8 * len(run.group())
        if len(han) >= 3 and whole and _common(made) >= 0.85 and rare >= sure and _common(run.group()) < 0.6:
            return True
    return False


def _big5_as_western(text: str) -> bool:
    """Whether a run of Western signs is, as bytes, common Chinese in Big5."""
    for run in _BIG5_RUN.finditer(text):
        shown = run.group().encode("latin-1")
        made = shown.decode("big5", "ignore")
        leads = [lead for lead in shown[::2] if lead >= 0xA4]
        common = sum(lead <= 0xC6 for lead in leads)
        if sum(lead < 0xC0 for lead in leads) < len(leads) / 2:  # else a list of letters with accents
            continue
        if len(made) >= 0.9 * len(shown) / 2 and len(leads) >= 3 and common >= 0.8 * len(leads):
            return True
    return False


def _utf8_as_single(text: str, encoding: str) -> bool:
    """Whether what is not ASCII in `text` is, as bytes of `encoding`, UTF-8 of Chinese or Japanese."""
    raw = b"".join(run.encode(encoding, "ignore") for run in _SHOWN.findall(text))
    han = _MANY_HAN.findall(raw.decode("utf-8", "ignore"))
    return len(han) >= 3 and len("".join(han).encode()) >= MOST_SINGLE * len(raw) and _common("".join(han)) > 0.5


def _utf8_as_western(text: str) -> bool:
    for found in _TRIPLE.finditer(text):
        if any(char not in _TYPOGRAPHIC for char in found.group()[1:]) and _as_utf8(found.group()):
            return True
    for found in _PAIR.finditer(text):
        lead, follows = found.group()[0], found.group()[1]
        if follows not in _TYPOGRAPHIC or (lead == "Ã" and follows in "©®ºª") or (lead == "Â" and follows in "©®°"):
            return True
    return any(_as_utf8(found.group()) for several in (_TRIPLES, _PAIRS) for found in several.finditer(text))


def _as_utf8(text: str) -> str | None:
    """What the bytes that `text` shows are in UTF-8; None where they are none, or of no character."""
    try:
        made = bytes(_BYTE_OF[char] for char in text).decode("utf-8")
    except UnicodeDecodeError:
        return None
    return made if made.isprintable() else None


def _utf8_as_gbk(text: str) -> bool:
    """Whether a run of Chinese is, as GBK's bytes, UTF-8 of common Chinese, while it is itself none that anyone writes.

    A character of an odd number of bytes takes the next one with it, so bytes at the ends of a run may be lost.
    """
    for run in _RUN.finditer(text):
        shown = run.group()
        # gb18030 has the private characters that bytes of no other were shown as. A � is a byte that fits nowhere.
        raw = b"\xff".join(part.encode("gb18030", "replace") for part in shown.split(LOST))
        lost = shown.count(LOST)
        made = raw.decode("utf-8", "ignore")
        letters = [char for char in made if "\u3040" <= char <= "\u9fff"]
        covered = sum(len(char.encode()) for char in made if not char.isascii())
        # Each lost byte takes the two others of its character with it.
        whole = covered >= MOST_BYTES * (len(raw) - 3 * lost)
        if len(letters) >= 2 and whole and _common(made) > 0.7 and _common(shown) < 0.75:
            return True
    return False


def _common(text: str) -> float:
    """The share of Chinese characters that are kana or among the 3,755 most used ones (GB 2312, level 1)."""
    han = [char for char in text if "\u3040" <= char <= "\u9fff" or "\ue000" <= char <= "\uf8ff"]
    return sum(_is_common(char) for char in han) / len(han) if han else 0.0


def _is_common(char: str) -> bool:
    if char <= "\u30ff":
        return True
    try:
        return 0xB0 <= char.encode("gb2312")[0] <= 0xD7
    except UnicodeEncodeError:
        return False


def _gbk_as_western(text: str) -> bool:
    for run in _LATIN_RUN.finditer(text):
        shown = run.group()
        # Lists of letters with accents are read as Chinese too; GBK's bytes nearly always include signs.
        if any("\xa1" <= char <= "\xbf" for char in shown) and any(char >= "\xc0" for char in shown):
            made = shown.encode("latin-1").decode("gbk", "ignore")
            han = [char for char in made if "\u4e00" <= char <= "\u9fff"]
            if len(han) >= 2 and len(han) >= 0.8 * len(shown) / 2 and _common(made) > 0.7:
                return True
    return False
