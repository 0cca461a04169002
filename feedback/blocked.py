"""Terms that no answer may hold: the built-in list and the channel's own. Answers only; a complaint may swear.

Terms are compared as `clean.compared` does. One that begins or ends with a letter of a script with blanks between words
matches whole words only; Chinese, Japanese and Thai terms match anywhere, blanks inside left out and traditional
characters as simplified ones. Gross abuse is also known by its forms, since Chinese puts it together freely, and told
from the words that hold the same characters (妈妈, 滚动, 电脑残留). What the channel allows stands, also where it holds
a term.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from feedback.clean import compared
from feedback.simplified import simplified

# Abuse that no house says to its customers. Words that only some readers mind are the channel's to name.
BUILT_IN = (
    "fuck", "fucking", "fucked", "fucker", "motherfucker", "bullshit", "shitty", "asshole", "arsehole",
    "cunt", "dickhead",
    "son of a bitch", "wanker", "twat", "faggot", "nigger", "retard", "kill yourself", "go to hell", "stfu",
    "piece of shit", "dumbass", "motherfucking", "fuckin", "eat shit", "f*ck", "f**k", "fck you", "you bitch",
    "stupid bitch", "dumb bitch",
    "傻屄", "煞笔", "草泥马", "狗娘养", "王八蛋", "王八羔子", "滚犊子", "婊子", "智障东西", "妈了个逼", "艹你", "贱人",
    "死全家", "全家死", "妈卖批", "马勒戈壁", "尼玛的", "狗杂种", "小杂种", "野杂种", "狗日的", "操蛋",
    "冚家", "扑街仔", "仆街", "屌你", "丢你老母", "傻狗", "蠢猪", "蠢驴", "骚货", "贱货", "贱逼", "死妈", "臭傻",
    "cnm", "nmsl", "mlgb", "wqnmlgb",
)  # fmt: skip
# What a term of these is part of by accident, as the words before and behind it.
_WITHIN = {
    "操蛋": ("体早广课", "糕"),
    "贱人": ("贫卑微低下", "家"),
    "死妈": ("急吓累笑想气打坏烦热愁冻", "妈祖"),
    "傻狗": ("", "狗"),
    "蠢猪": ("", "猪"),
    "狗日的": ("爱国际世界遛养", "活节主照"),
    "小杂种": ("", "犬狗猫鸡鸭牛羊马兔鱼鸟稻麦"),
    "野杂种": ("", "犬狗猫鸡鸭牛羊马兔鱼鸟稻麦"),
    "狗杂种": ("猫犬", "犬"),
    "骚货": ("离", "架柜"),
    "尼玛的": ("阿罗吉", ""),
    "王八蛋": ("", "糕"),
}
# Each with what makes other words of the same characters.
_FORMS = (
    r"傻(?:逼|比(?!较|例|重|赛)|叉|屌|吊(?!.)|缺(?!少|点|乏)|[bx](?![a-z]))",
    r"(?<![体情早])[操草艹干日肏](?:你|他|她|尼|泥)(?:妈|马|娘|大爷|祖宗|全家)(?!妈)(?<![生今昨明每节假整周往当能我]日你妈)",
    r"(?:滚|去|叼|干|问候)你(?:妈|娘|大爷)的?(?:蛋|逼|头|个|吧)?(?=蛋|头|的|逼|个|吧|[，。！!,.~\s]|$)(?!的(?:家|手机|电话|单位|医院|学校|房))",
    r"你妈的?(?:逼|比(?!你|他|我|较)|批(?!准)|蛋(?!糕)|个(?:逼|头|屁|鬼)|头(?!发|痛|疼|像|晕)|屁(?!股)|鬼|死了|b(?![a-z]))",
    r"(?:真|太|都|去|你|我|特)他妈(?!妈)|个他妈的|他妈的?(?:废物|混蛋|垃圾|骗子|白痴|蠢|傻|王八|神经|智障|畜生|杂种|狗|贱|滚|闭嘴|有病|烦死)",
    r"(?:^|[，。！？!?,.;；：:\s“\"])妈的(?!妈|手机|电话|身份|账|号|卡|名|生日|药|病|房|家|医保|社保|话|爱|味|菜|钱|微信|户口|证|车|东西|衣|年龄|单)",
    r"(?<![使让令致部经面肉])你?(?<=你)麻痹(?!大意|了|症|患)|你麻痹的",
    r"(?<!过)(?<!前)去死(?!海|亡|角|胡同|者|皮|机|锁|记|人)(?:吧|啦|啊|一死|你们)|(?:你们?|快|赶紧|早点|给我|都)去死(?!海|亡|角|者|皮|人)",
    r"(?<![翻打])滚(?:蛋(?![液黄糊卷白糕清饼炒挞塔皮奶粉酥壳浆挂])|犊|你妈|你大爷|你的蛋|粗)|(?:给我|给老子|快|赶紧|趁早|麻溜)滚(?!动|烫|开水|筒|轮|珠|热|存|边)|"
    r"(?:嫌|不爽|不服|不满|不愿|不想|爱)[^，。！]{0,6}就滚(?!动|筒)",
    r"(?:你个?|你是|个|是个|真是|妈的|大|群|这种|全是)智障(?!人|儿|者|碍|学|残|员|孩|患|服|康|家)",
    r"(?:你这?个?|一?群|一?帮|老|臭|大)废物(?![利回处料箱桶分再品的站])|(?:是个|真是)废物[，。！!]",
    r"(?:你个?|这?个|一?群|一?帮|老|小|大|是)(?:白痴|畜生|贱种|狗东西|王八|混账东西)",
    r"(?<=[慢看问催笑吵急烦滚废查退赔美])你妹(?=[，。！!,.~\s啊的]|$)",
    r"(?<![电大小头])脑残(?!留|疾|障|骸|余|存|联|片)",
    r"(?<!在)(?<!让)你去死(?!海|亡|角|者)",
)
# Scripts whose words no blank parts.
_UNPARTED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_JOINED = re.compile(rf"(?<=[{_UNPARTED}])[ \-_.·*](?=[{_UNPARTED}])")  # what a term is written apart with


def blocking(terms: Iterable[str]) -> re.Pattern[str]:
    """A pattern of the built-in terms and `terms`, for `holds_blocked`."""
    terms = tuple(terms)
    wanted = sorted({_folded(term) for term in (*BUILT_IN, *terms)} - {""}, key=lambda term: (-len(term), term))
    named = {_folded(term) for term in terms}
    return re.compile("|".join([*(_whole(term, free=term not in named) for term in wanted), *_FORMS]))


def _whole(term: str, *, free: bool) -> str:
    """`term` where it is a word; a built-in one that is `free` of the channel's also where it is no part of others."""
    if free and term in _WITHIN:
        before, behind = _WITHIN[term]
        return (f"(?<![{before}])" if before else "") + re.escape(term) + (f"(?![{behind}])" if behind else "")
    head = "" if re.match(rf"[{_UNPARTED}\W]", term[0]) else rf"(?<![^\W{_UNPARTED}])"
    tail = "" if re.match(rf"[{_UNPARTED}\W]", term[-1]) else rf"(?![^\W{_UNPARTED}])"
    return head + re.escape(term) + tail


def _folded(text: str) -> str:
    return _JOINED.sub("", simplified(compared(text)))


def holds_blocked(text: str, terms: re.Pattern[str], allowed: Iterable[str] = ()) -> bool:
    """Whether `text` holds one of `terms` outside of what is allowed."""
    folded = _folded(text)
    free = [
        (at, at + len(one))
        for one in map(_folded, allowed)
        if one
        for at in (found.start() for found in re.finditer(re.escape(one), folded))
    ]
    return any(
        not any(low <= found.start() and found.end() <= high for low, high in free) for found in terms.finditer(folded)
    )
