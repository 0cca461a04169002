"""Which rows say nearly the same: pure functions of their texts.

Two texts are near where they differ in politeness, particles, articles, punctuation and spelling, and in nothing that
carries meaning. So a question is compared by its core, what is left without those, and an answer by its gist, which
keeps every word but of courtesy (gist.py); and two rows can only be near where
their marks are equal: the numbers, negations and codes in them, in order (要退货 / 不要退货, 5 and 6 days,
WH-1000 and WH-900). Traditional and simplified characters are one, and so are 8 and 八; a name is one however it is
written, and no slip of another. Who does it to whom is compared where both persons are there (I paid you). Equal
cores are near. Others are where their character n-grams agree (Jaccard, NEAR) and what they
differ in is a slip of the pen, or a little of a long text.

Candidates are found by MinHash, so the time grows with the rows and not with their square, and each is then compared
exactly: a chance hit of the hashes merges nothing. It knows no synonyms but a few, and no paraphrase.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from datasketch import MinHash, MinHashLSH

from feedback.clean import compared
from feedback.gist import gist, in_digits
from feedback.join import Turn
from feedback.simplified import simplified

NEAR = 0.7  # Jaccard of n-grams, of the turns and of the target each
GRAM_HAN, GRAM = 2, 3  # characters a gram: two Chinese ones are a word already; one slip in 16 leaves 0.77
PERMUTATIONS, BANDS, ROWS = 128, 25, 5  # finds a pair at 0.7 with probability 0.990, one at 0.3 with 0.06
SEED = 1
# Earlier rows that one row is compared with. Where a row has so many alike (one form with another word each time), it
# is not looked up for later ones, so that a flood costs no square of its size.
MOST_COMPARED = 64
MOST_TOKENS = 2_000  # a longer text has no near duplicate but one of equal core
LONG, SHARE = 24, 12  # tokens of a long text; one token in so many of it may be another

_TOKEN = re.compile(
    r"[a-z\u00c0-\u024f\u0370-\u052f]+(?:['’][a-z]+)?|\d+(?:[.,:/\-]\d+)*|[^\W\d]|\[[a-z_]+_\d+\]", re.IGNORECASE
)
_HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_IDLE_HAN = re.compile(
    "不好意思|打扰|劳驾|麻烦|请问|咨询|求助|求解|在线等|急急急|急死|问问|问下|看一?下|看看|帮看|有人|客服|您好|你好|谢谢|感谢|谢啦|thx|多谢|可以|能够|帮忙|一下子?|一点|这个|那个|就是|的话|亲亲?|辛苦了?|拜托|尽快|在吗|哈喽|嗨|"
    "[的了吗嘛么呢啊呀吖吧哦喔噢哈啦哟呐嘞咧诶欸哎喂呗咯咱请您你我们谢很真太那就都也还是想要]"
)
_IDLE = frozenset(
    [
        "please",
        "kindly",
        "hi",
        "hello",
        "hey",
        "thanks",
        "thank",
        "you",
        "the",
        "a",
        "an",
        "just",
        "very",
        "really",
        "so",
        "well",
        "also",
        "oh",
        "ok",
        "okay",
        "dear",
        "there",
        "could",
        "can",
        "would",
        "do",
        "does",
        "did",
        "i",
        "i'm",
        "im",
        "me",
        "my",
        "is",
        "it",
        "that",
        "um",
        "pls",
        "plz",
        "hallo",
        "bitte",
        "danke",
        "bonjour",
        "merci",
        "hola",
        "gracias",
    ]
)
# Courtesy of several words, as it is written small; `how to` and `how do I` ask the same.
_COURTESY = re.compile(
    r"(?<![a-z])(?:"
    r"(?:could|can|would|will) you(?: please| kindly)?(?: (?:tell|show|explain to|advise) me| let me know)?"
    r"|please (?:tell|show) me|(?:do|would) you (?:happen to )?know|may i (?:please )?(?:ask|know)"
    r"|i(?: was|'m| am)? wonder(?:ing)?(?: if)?|i(?: would|'d)? (?:like|want|need) to (?:know|ask)"
    r"|thank you|thanks to you|excuse me|good (?:morning|afternoon|evening)"
    r"|por favor|s'il vous pla[iî]t|guten tag|(?<=how )to)(?![a-z'])"
    r"|すみません|すいません|こんにちは|お[願愿]い(?:します|致します|いたします)"
    r"|(?:頂|顶|いただ)けま(?:す|せん)(?:でしょう)?か|もらえま(?:す|せん)か|くれま(?:す|せん)か"
    r"|ください(?:ませ)?|下さい(?:ませ)?|でしょうか|ですか"
    r"|ค่ะ|คะ(?!แนน)|ครับ|นะ(?=คะ|ครับ|ค่ะ)|หน่อย|ขอบคุณ|สวัสดี|กรุณา|รบกวน"
    r"|请问|请[您你]|麻烦[您你]|劳驾[您你]|谢谢[您你]|[您你]好|帮我|告诉我|给我|让我|我想问?|我要|[您你]能(?:不能)?"
    r"|[哇呀](?=$|[\s，。！？!?,.~])"
)
# The persons of a sentence, where courtesy is gone: they are said only where there are two.
_PERSON = re.compile(r"(?<![a-z])(?:i|i'm|me|my|mine|we|us|our|you|your|yours)(?![a-z])|[我咱您你]")
_SECOND = re.compile(r"you|[您你]")
# Words of no meaning of their own that stand for each other; the longer first.
_SAME = (
    ("怎么样", "怎样"),
    ("如何", "怎样"),
    ("怎么", "怎样"),
    ("咋", "怎样"),
    ("为什么", "为何"),
    ("为啥", "为何"),
    ("啥", "什么"),
    ("什么时候", "何时"),
    ("没有", "没"),
    ("陆", "录"),
    ("再", "在"),
    ("作", "做"),
    ("帐", "账"),
    ("那", "哪"),
    ("象", "像"),
    ("订", "定"),
    ("座", "坐"),
)
_NOT = re.compile(
    r"[不没無无非未别勿莫否]|(?<![a-z])(?:not|no|never|none|nothing|neither|nor|without|cannot|nobody|hardly|except)(?![a-z])|n['’]t(?![a-z])|"
    r"(?<![a-z])(?:dont|doesnt|didnt|cant|wont|isnt|nicht|kein|keine|pas|jamais|ne|sin|нет|не)(?![a-z])|ません|ない|ไม่",
    re.IGNORECASE,
)
_IDLE_NOT = re.compile(
    "不好意思|差不多|对不起|不错|すみません|すいません|(?:頂|顶|いただ)けません(?:でしょう)?か|もらえませんか|くれませんか|"
    "申し訳(?:ございません|ありません)"
)
_NUMERAL = re.compile(r"\d+(?:[.,:/\-]\d+)*|[零〇一二两三四五六七八九十百千万亿半]+")
_IDLE_NUMERAL = re.compile("一下子?|一点|一直|一样|一般|一些|一起|一定|统一|万一|十分|一共|第一时间|一旦|进一步")
_CODE = re.compile(
    r"(?<![A-Za-z0-9\-_.])(?=[A-Za-z0-9\-_.]{0,40}[A-Za-z])"
    r"(?:[A-Za-z\-_.]{0,40}\d[A-Za-z0-9\-_.]{0,80}|[A-Z]{2,40}[A-Za-z\-]{0,40})"
)
_NAME = re.compile(r"(?<![A-Za-z])[A-Z][a-z\u00e0-\u024f]+")
_WIDE = {at: at - 0xFEE0 for first, last in ("０９", "ＡＺ", "ａｚ") for at in range(ord(first), ord(last) + 1)}
_APART = dict.fromkeys(map(ord, "，、："), " ")  # between two numbers, and no part of either
_SENTENCE = re.compile(r"(?:^|[.!?。！？:：\n\"“(])\s*$")
_PLACEHOLDER = re.compile(r"\[[A-Z_]+_\d+\]")
# Single characters that make another case: colours, sizes, places, directions, opposites, units of time, surnames.
_BEARING = frozenset(
    "红橙黄绿青蓝紫黑白灰粉金银大中小长短高低上下左右前后东南西北内外里开关买卖进出来去多少快慢冷热男女早晚新旧好坏真假有收发借还增减升"
    "降取存入退换送寄父母爸妈哥姐弟妹儿女夫妻甲乙丙丁年月日周时分秒天点号元块件个张王李刘陈杨赵周吴徐孙朱马胡郭林何高梁郑罗宋谢唐韩"
    "曹许邓萧冯曾程蔡彭潘袁于董余苏叶吕魏蒋田杜沈姜范江傅钟卢汪戴崔任陆廖姚方邱夏谭韦贾邹石熊孟秦阎薛侯雷龙段郝孔邵史毛常万顾赖武康贺严尹钱"
)


@dataclass(frozen=True)
class Said:
    """A row as it is compared: cores of its turns without the system prompt, and the gist of its target, in tokens."""

    roles: tuple[str, ...]
    turns: tuple[tuple[str, ...], ...]
    target: tuple[str, ...]
    marks: tuple[str, ...]
    names: frozenset[str] = frozenset()

    @property
    def asked(self) -> tuple[str, ...]:
        """All turns' tokens, with the roles between them."""
        return tuple(token for role, turn in zip(self.roles, self.turns, strict=True) for token in (f"\0{role}", *turn))


def said(turns: Sequence[Turn], target: str) -> Said:
    """How a row is compared."""
    asked = [(role, text) for role, text in turns if role != "system"]
    texts = [*(text for _, text in asked), target]
    return Said(
        roles=tuple(role for role, _ in asked),
        turns=tuple(core(text) for _, text in asked),
        target=gist(target),
        marks=tuple(mark for text in texts for mark in ("\0", *(mark for _, mark in sorted(_marked(text))))),
        names=frozenset(name for text in texts for _, name in _called(text)),
    )


def core(text: str) -> tuple[str, ...]:
    """The tokens of `text` that say something; all of its tokens where none does."""
    folded = _plain(compared(text.translate(_APART)))
    plain = _COURTESY.sub(lambda found: f" {' ' * len(found.group())}", folded)
    persons = ["2nd" if _SECOND.match(one) else "1st" for one in _PERSON.findall(plain)]
    if len(set(persons)) > 1:
        plain = _PERSON.sub(lambda found: " [you_2] " if _SECOND.match(found.group()) else " [me_1] ", plain)
    for word, same in _SAME:
        plain = plain.replace(word, same)
    plain = _IDLE_HAN.sub(" ", plain)
    tokens = tuple(token for token in _TOKEN.findall(plain) if token not in _IDLE)
    return tokens or tuple(_TOKEN.findall(folded)) or (folded,)


def marks(text: str) -> tuple[str, ...]:
    """The numbers, negations, codes, placeholders and names of `text`, in order."""
    return tuple(mark for _, mark in sorted([*_marked(text), *_called(text)]))


def _marked(text: str) -> list[tuple[int, str]]:
    """Where the marks of `text` stand that are no names."""
    text = text.translate(_WIDE)
    shouts = not any(map(str.islower, text))
    numbers, said = _blank(_IDLE_NUMERAL, text), _blank(_IDLE_NOT, text)
    found = [(one.start(), "not") for one in _NOT.finditer(said)]
    found += [(one.start(), in_digits(simplified(one.group()))) for one in _NUMERAL.finditer(numbers)]
    found += [
        (one.start(), one.group().lower().strip(".-_"))
        for one in _CODE.finditer(text)
        if any(map(str.isdigit, one.group())) or (not shouts and one.group().lower() in _IDLE)  # IT is no it
    ]
    return [*found, *((one.start(), one.group()) for one in _PLACEHOLDER.finditer(text))]


def _called(text: str) -> list[tuple[int, str]]:
    """Where a word is written large within a sentence, or all in capitals; each in small letters."""
    found = [
        (one.start(), one.group().lower())
        for one in _NAME.finditer(text)
        if not _SENTENCE.search(text[max(0, one.start() - 4) : one.start()])
    ]
    found += [
        (one.start(), one.group().lower().strip(".-_"))
        for one in _CODE.finditer(text)
        if not any(map(str.isdigit, one.group()))
    ]
    return [(at, name) for at, name in found if name not in _IDLE]


def _plain(text: str) -> str:
    """`text` in simplified characters, and numerals up to ninety-nine that stand for a number in digits."""
    text = simplified(text)
    parts, at = [], 0
    for idle in _IDLE_NUMERAL.finditer(text):
        parts += [in_digits(text[at : idle.start()]), idle.group()]
        at = idle.end()
    return "".join([*parts, in_digits(text[at:])])


def _blank(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: " " * len(found.group()), text)


def is_near(one: Said, other: Said) -> bool:
    """Whether two rows say nearly the same, question and answer both."""
    if one.marks != other.marks or one.roles != other.roles:
        return False
    pairs = [*zip(one.turns, other.turns, strict=True), (one.target, other.target)]
    called = one.names | other.names
    return all(_near(a, b, called) for a, b in pairs)


def _near(one: tuple[str, ...], other: tuple[str, ...], called: frozenset[str]) -> bool:
    if one == other:
        return True
    if max(len(one), len(other)) > MOST_TOKENS or _strangers(one, other, called) or _strangers(other, one, called):
        return False
    if jaccard(grams(one), grams(other)) < NEAR:
        return False
    spare = min(len(one), len(other)) // SHARE if min(len(one), len(other)) >= LONG else 0
    for edit, low, high, first, last in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        gone, come = one[low:high], other[first:last]
        if edit == "equal" or (len(gone) == len(come) == 1 and _is_slip(gone[0], come[0], called)):
            continue
        spare -= max(len(gone), len(come))
        if spare < 0 or any(token in _BEARING or not _HAN.match(token) for token in (*gone, *come)):
            return False
    return True


def _strangers(one: tuple[str, ...], other: tuple[str, ...], called: frozenset[str]) -> bool:
    """Whether `one` has a word that `other` has not, misspelt either: told before the edits are, which takes longer."""
    strange = set(one) - set(other)
    return any(
        not _HAN.match(token) and not any(_is_slip(token, there, called) for there in other) for token in strange
    )


def _is_slip(one: str, other: str, called: frozenset[str]) -> bool:
    """Whether two words are one, misspelt: a letter more, less, other, or two exchanged, in a word of five or more.

    What is `called` so in either row, a name, is no slip of another.
    """
    if one in called or other in called:
        return False
    if min(len(one), len(other)) < 5 or one[0] != other[0] or not (one.isalpha() and other.isalpha()):
        return False
    if len(one) == len(other):
        apart = [at for at in range(len(one)) if one[at] != other[at]]
        swapped = len(apart) == 2 and one[apart[0]] == other[apart[1]] and one[apart[1]] == other[apart[0]]
        return len(apart) == 1 or (swapped and apart[1] == apart[0] + 1)
    short, long = sorted((one, other), key=len)
    return len(long) - len(short) == 1 and any(long[:at] + long[at + 1 :] == short for at in range(len(long)))


def grams(tokens: Sequence[str]) -> frozenset[str]:
    """The character n-grams of a text's core; the whole of it where it is shorter."""
    text = "".join(tokens) if _HAN.search("".join(tokens)) else " ".join(tokens)
    n = GRAM_HAN if _HAN.search(text) else GRAM
    return frozenset(text[at : at + n] for at in range(max(1, len(text) - n + 1)))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of grams that both have."""
    return len(one & other) / len(one | other)


def first_near(rows: Iterable[Said]) -> dict[int, int]:
    """For each row that is near an earlier one, the first such row that is near none itself, both by their place."""
    near: dict[int, int] = {}
    empty = MinHash(num_perm=PERMUTATIONS, seed=SEED, scheme="affine32", hashfunc=zlib.crc32)
    buckets: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[int, Said]]] = {}
    for at, row in enumerate(rows):
        buckets.setdefault((row.roles, row.marks), []).append((at, row))
    for bucket in buckets.values():
        if len(bucket) > 1:
            near |= _first_near(bucket, empty)
    return near


def _first_near(bucket: Sequence[tuple[int, Said]], empty: MinHash) -> dict[int, int]:
    near: dict[int, int] = {}
    known = dict(bucket)
    equal: dict[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]], int] = {}
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    for at, row in bucket:
        first = equal.setdefault((row.turns, row.target), at)
        if first != at:
            near[at] = near.get(first, first)
            continue
        hashed = empty.copy()
        hashed.update_batch(gram.encode() for gram in sorted(grams(row.asked)))
        earlier = sorted(index.query(hashed))[:MOST_COMPARED]
        same = next((other for other in earlier if is_near(known[other], row)), None)
        if same is not None:
            near[at] = same
        elif len(earlier) < MOST_COMPARED:
            index.insert(at, hashed)
    return near
