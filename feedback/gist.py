"""What an answer says, without how politely or with which marks it is said: pure functions of texts.

Two answers to the same question are one where they differ in nothing but greetings, thanks, final particles, quotes,
commas and the like, traditional and simplified characters, digits and the same numerals (3, 三), and slips of the pen.
Any other word makes them two, were it a small one: 要预约 and 可以预约, "you can" and "you must". So do a sign of
money or measure, a question mark, and a comma behind a negation (不，能退 / 不能退).

A slip is told of Latin words alone: a letter doubled or not, or two exchanged, in a word of six letters and more; one
letter more, less or another in one of nine, but for its first and its last; never in a word written large, which may be
a name. A word that is one letter from another word (desert, dessert) is none, as far as they are listed. It knows no
synonyms and no paraphrase: these contradict each other, until somebody settles it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from feedback.clean import compared
from feedback.simplified import simplified

MOST_COMPARED = 64  # answers of one form; of more, none is looked through for slips
DOUBLED, OTHER = 6, 9  # letters of a word in which such a slip is told

# Marks that say nothing; all others do: money, percent, plus, slash, at, a question mark.
_SILENT = frozenset("，。、；：！…“”‘’「」『』《》〈〉（）()【】〖〗[]〔〕{}﹝﹞,.;:!\"'`´-・·~^_|*#\\")
_DASHES = re.compile("[\u2010-\u2015\u2212\u2500]|(?<=\\d)[~〜](?=\\d)")
_BELOW_ZERO = re.compile(r"(?<!\d)-(?=\d+(?:\.\d+)?\s*(?:°|度))|(?<![^\s，。；：,;:(])-(?=\d)")
_MINUS = "\ue001"
_APOSTROPHES = re.compile("[’‘ʼ`´]")
_THOUSANDS = re.compile(r"(?<![\d.,:])([1-9]\d{0,2}(?:,\d{3})+)(?![\d,:])")
# Faces and flowers that go with a greeting; thumbs, ticks and crosses say something.
_FACES = re.compile("[\U0001f600-\U0001f637\U0001f64f\U0001f338-\U0001f33c\U0001f490☺\ufe0f]")

_CLAUSE_ENDS = "，。、；：！？,.;:!?…~\n\\s"
_START, _END = rf"(?:(?<=[{_CLAUSE_ENDS}])|^)", rf"(?=[{_CLAUSE_ENDS}]|$)"
_DEAR = "亲|亲亲|亲爱的|尊敬的(?:客户|用户|顾客|业主|旅客|乘客|先生|女士|家长|会员|读者|学员|贵宾|朋友)"
_GREETING = re.compile(rf"{_START}(?:(?:{_DEAR}){_END}|(?:{_DEAR})?(?:您好|大家好|哈喽|早上好|下午好|晚上好)[呀啊哦]?)")
_COURTESY = re.compile(
    rf"{_START}(?:(?:非常|十分|真的|真|实在|很)?(?:谢谢|多谢|感谢|抱歉|对不起|不好意思)"
    r"(?:[了啦您的]|大家|理解|配合|支持|来电|咨询|反馈|提醒|告知|关注|耐心|等待)*"
    r"|辛苦您?了?|拜托您?了?|很高兴为您服务|祝您生活愉快|祝您愉快|祝您工作顺利|祝您?一切顺利|祝您旅途愉快|祝您购物愉快"
    rf"|ありがとうございます|ありがとうございました|こんにちは|すみません|申し訳ございません|お世話になっております){_END}"
)
_THANKS = re.compile(rf"(?:谢谢|感谢|多谢)(?:您|啦|了|配合|理解)*{_END}")
_PARTICLE = re.compile(
    rf"(?<![呢啊呀吖哦喔噢哈啦哟呦呐嘞咧诶欸嘛])(?:[呢啊呀吖哦喔噢哈啦哟呦呐嘞咧诶欸嘛]|(?<![网酒水贴书话茶])吧)+{_END}"
)
_SMALL = re.compile(
    "麻烦您|请您|(?<![申邀宴聘敬])请(?![假教客柬帖])|(?<!目)的(?![士确])|(?<!为)了(?![解结不却])|您的|ครับ|ค่ะ"
)
_JUST = re.compile("(?<![成迁])就(?![近诊医业餐读职坐])")
_ENGLISH_COURTESY = re.compile(
    rf"{_START}(?:(?:hello|hi|hey|greetings|good (?:morning|afternoon|evening|day))(?: there| everyone| all)?"
    r"|dear (?:customer|guest|user|sir|madam|sir or madam|member|client|reader|student|colleague)"
    r"|(?:many )?thanks(?: a lot| so much| very much)?|thank you(?: so much| very much)?"
    r"(?: for (?:asking|contacting us|reaching out))?"
    r"(?: for your (?:patience|question|understanding|message|inquiry|enquiry|help))?"
    r"|(?:we are |i am )?(?:very |so |really )?sorry(?: about that| for the (?:inconvenience|trouble|delay))?"
    r"|(?:we )?apologi[sz]e for the inconvenience|cheers|(?:best|kind|warm) regards"
    r"|have a (?:nice|great|good|lovely) day"
    rf"|(?:i )?hope (?:this|that) helps|you are welcome|please|kindly)(?: *{_END})"
)
_ENGLISH_SMALL = re.compile(r"(?<![\w])(?:please|kindly|the|an?(?= [a-z])(?! (?:few|little)\b))(?![\w])")
_SHORT = (
    (re.compile(r"(?<![a-z])won't(?![a-z])"), "will not"),
    (re.compile(r"(?<![a-z])(?:can't|cannot)(?![a-z])"), "can not"),
    (re.compile(r"(?<=[a-z])n't(?![a-z])"), " not"),
    (re.compile(r"(?<=[a-z])'re(?![a-z])"), " are"),
    (re.compile(r"(?<=[a-z])'ll(?![a-z])"), " will"),
    (re.compile(r"(?<=[a-z])'ve(?![a-z])"), " have"),
    (re.compile(r"(?<![a-z])i'm(?![a-z])"), "i am"),
    (re.compile(r"(?<![a-z])(it|that|there|here|what|where|he|she)'s(?![a-z])"), r"\1 is"),
)
_SPELT = (("登陆", "登录"), ("帐", "账"), ("座", "坐"), ("象", "像"), ("你", "您"), ("没有", "没"), ("妳", "您"))
_ONES = "零一二三四五六七八九"
_NUMERALS = f"{_ONES}十百千万亿半几"
_TENS = re.compile(
    rf"(?<![{_NUMERALS}\d])(?:([一二三四五六七八九])?(十)([一二三四五六七八九])?|([{_ONES}]))(?![{_NUMERALS}\d])"
)
_ALONE = re.compile(
    rf"{_START}(不是|不行|不|没有|没|否|别|no|not|nope|nein|non)\s*(?=[，。；！：,.;:!、])", re.IGNORECASE
)
_STANDS = "\ue000"  # behind a negation that is a clause of its own
_WORD = re.compile(r"\d+(?:[.:,/\-]\d+)*|[a-z\u00df-\u024f\u0370-\u052f]+(?:'[a-z]+)?|\S")

# Each is one slip from another word, which is here too.
_OWN = """
dessert desert dinner diner supper super latter later hopping hoping planning planing filling filing tapping taping
casual causal united untied scared sacred marital martial complaint compliant complement compliment principle
principal stationary stationery country county cannon canon carrot carat barred bared starring staring pinned pined
scrapped scraped stripped striped robbed robed winning wining matted mated furry fury tinny tiny polled poled slopping
sloping butting buting bitter biter holly holy bellow below expansive expensive inventor inventory perspective
prospective proscribe prescribe procedure personal personnel moral morale conformation confirmation adaption adoption
ingenious ingenuous eligible illegible elicit illicit interstate intrastate discrete discreet dairy diary signed
singed angles angels sliver silver broad board trail trial accepted excepted imported imparted approved improved
inclusive exclusive reserved reversed conserved conversed deduction reduction production seventeen seventh seventieth
departments apartments transaction translation installation instillation collection correction connection deposited
disposed permission remission proposition preposition withdrawn withdraws immigrant emigrant perfection precedent
president residence residents assistance assistants attendance attendants correspondence correspondents intentional
"""
_OWN_WORDS = frozenset(_OWN.split())


def gist(text: str) -> tuple[str, ...]:
    """The words and signs of `text` that say something; where none does, what it is without marks."""
    folded = simplified(_APOSTROPHES.sub("'", unicodedata.normalize("NFKC", compared(text))))
    folded = _THOUSANDS.sub(lambda found: found.group().replace(",", ""), _DASHES.sub("-", folded))
    folded = _BELOW_ZERO.sub(_MINUS, folded)
    for written, meant in _SPELT:
        folded = folded.replace(written, meant)
    for pattern, long in _SHORT:
        folded = pattern.sub(long, folded)
    plain = _ALONE.sub(rf"\1{_STANDS}", _FACES.sub(" ", folded))
    for pattern in (_GREETING, _COURTESY, _ENGLISH_COURTESY, _THANKS, _PARTICLE):
        plain = pattern.sub(" ", plain)
    plain = _ENGLISH_SMALL.sub(" ", _JUST.sub("", _SMALL.sub("", plain)))
    said = _words(plain)
    return said or ("\0", *(_words(folded) or (folded,)))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in _WORD.findall(in_digits(text.replace("个小时", "小时"))) if word not in _SILENT)


def in_digits(text: str) -> str:
    """`text` with its Chinese numerals up to ninety-nine in digits, where they are a whole number."""
    return _TENS.sub(_digits, text.replace("两", "二").replace("〇", "零"))


def _digits(found: re.Match[str]) -> str:
    tens, ten, ones, alone = found.groups()
    if alone:
        return str(_ONES.index(alone))
    return str((_ONES.index(tens) if tens else 1) * bool(ten) * 10 + (_ONES.index(ones) if ones else 0))


def sayings(texts: Iterable[str]) -> dict[str, str]:
    """For each text one that says the same, the same one for all that do, in whatever order they come."""
    found: dict[tuple[str, ...], list[str]] = {}
    for text in sorted(set(texts)):
        found.setdefault(gist(text), []).append(text)
    forms: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for words in sorted(found):
        forms.setdefault(tuple(word[:1] for word in words), []).append(words)
    first = {words: words for words in found}
    for alike in forms.values():
        if len(alike) > MOST_COMPARED:
            continue
        for at, words in enumerate(alike):
            for other in alike[:at]:
                if _slipped(words, other, " ".join(found[words]), " ".join(found[other])):
                    _join(first, words, other)
    return {text: found[_root(first, words)][0] for words, some in found.items() for text in some}


def _root(first: dict[tuple[str, ...], tuple[str, ...]], words: tuple[str, ...]) -> tuple[str, ...]:
    while first[words] != words:
        words = first[words]
    return words


def _join(first: dict[tuple[str, ...], tuple[str, ...]], one: tuple[str, ...], other: tuple[str, ...]) -> None:
    low, high = sorted((_root(first, one), _root(first, other)))
    first[high] = low


def _slipped(one: tuple[str, ...], other: tuple[str, ...], text: str, beside: str) -> bool:
    """Whether they differ in slips alone; a word that is written large may be a name, and has none."""
    return all(a == b or (a in text and b in beside and _is_slip(a, b)) for a, b in zip(one, other, strict=True))


def _is_slip(one: str, other: str) -> bool:
    """Whether two words are one, misspelt: see above."""
    short, long = sorted((one, other), key=lambda word: (len(word), word))
    if len(short) < DOUBLED - 1 or len(long) < DOUBLED or not (one.isalpha() and other.isalpha()):
        return False
    if _OWN_WORDS & {one, other} or one[0] != other[0] or one[-1] != other[-1]:
        return False
    if len(long) - len(short) == 1:
        at = next((at for at, letter in enumerate(short) if letter != long[at]), len(short))
        return long[at + 1 :] == short[at:] and (long[at] == long[at - 1] or len(long) >= OTHER)
    apart = [at for at, letter in enumerate(short) if letter != long[at]]
    if len(short) != len(long) or not apart:
        return False
    swapped = len(apart) == 2 and apart[1] == apart[0] + 1 and sorted(short) == sorted(long)
    return swapped or (len(apart) == 1 and len(long) >= OTHER)
