"""Postal addresses by rules: where they stand.

A Chinese one is a road, a lane or an estate with a number (号, 弄, 栋, 室), with the places before it and the rooms
behind it. An English one is a number, a street's name and a word such as Street, with flat, town and postcode behind
it; or any street's name, where a town with its postcode follows. A town or a street without a number is nobody's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from thumbwheel.private.view import ADDRESS, Span, View, numeral, span

_HAN = r"[\u4e00-\u9fff]"
_NUMBER = r"(?:[A-Za-z]?\d{1,5}|[一二三四五六七八九十百零〇]{1,6})(?:[-之][A-Za-z]?\d{1,4}|-[A-Za-z])?[A-Za-z甲乙丙丁]?"
_UNIT = (
    r"(?:号楼|号院|号(?!线|口|出|机|台|令|文|站|店|仓|公路)|弄|幢|栋|座|楼|层|单元|室|房|户|组|队|门|铺|支弄|"
    r"號|樓|層|棟|單元)"
)
_ROAD = r"(?:大道|大街|路|街|道|巷|弄|胡同|里弄|公路|村|屯|庄|新村|寨|街道|社区)"
_ESTATE = r"(?:小区|花园|花苑|家园|公寓|大厦|广场|嘉园|名苑|雅苑|苑|新城|山庄|别墅|宿舍|中心|城|府|湾|庭|坊|园)"
_LANES = rf"(?:{_NUMBER} ?[巷弄衖胡][同]?[ ,]{{0,2}}){{0,3}}"  # 170巷6弄22號
# A part of an estate: 三区, A区, 南区, 二期, 东里.
_ZONE = r"(?:[东南西北中上下前后一二三四五六七八九十\dA-Za-z]{1,3} ?(?:区|區|里|期|组团|苑|坊|院))"
_LIVED_IN = (
    r"(?:小区|花园|花苑|家园|公寓|嘉园|名苑|雅苑|苑|山庄|别墅|宿舍|新村|"
    r"[东南西北前后]里|雅居|名都|豪庭|公馆|府|湾|庭|社区)"
)
# House, door and flat: 17-3-402; no date and no telephone.
_BARE = r"\d{1,3} ?[-—] ?(?:\d{1,2} ?[-—] ?)?(?!(?:19|20)\d\d(?!\d))\d{3,4}(?![-\d年月日号元分])"
_NO_GATE = r"(?!(?:大?门|口|出口|入口)(?! ?\d))"  # where to go in, which is nobody's address
_TAIL = (
    rf"(?:[ ,-]{{0,2}}(?:{_HAN}{{1,8}}{_ESTATE}|{_HAN}{{0,5}}{_NUMBER} ?{_UNIT}{_NO_GATE}|[A-Za-z] ?[座栋幢]|"
    rf"\d{{3,5}}(?![\d年月日天元块])))*"
)
_COUNTED = re.compile(rf"[一二三四五六七八九十百零〇]{{1,6}}(?= ?{_UNIT})")  # 一百号 is 100号
_POSTCODE = r"(?:[ ,]{0,2}\d{6}(?!\d))?"
# The part that makes an address of a place's name; what stands before it is looked at apart, from here backwards.
_CHINESE = re.compile(
    rf"{_ROAD}(?:[东南西北中一二三四五六]段)?[ ,]{{0,2}}{_LANES}"
    rf"(?:{_NUMBER} ?{_UNIT}|[A-Za-z] ?[座栋幢]){_TAIL}{_POSTCODE}|"
    rf"(?:{_ESTATE}|(?:{_LIVED_IN}|[园坊里]){_ZONE})[ ,]{{0,2}}{_NUMBER} ?"
    rf"(?:号楼|號樓|号院|幢|栋|棟|座|单元|單元){_TAIL}{_POSTCODE}|"
    rf"[一二三四五六七八九十]区[ ,]{{0,2}}{_NUMBER} ?(?:号楼|楼|栋|幢)[ ,]{{0,2}}{_NUMBER} ?(?:单元|门){_TAIL}|"
    rf"{_LIVED_IN}{_ZONE}?[ ,]{{0,2}}{_BARE}{_TAIL}|"
    rf"(?<=[村庄屯寨区])(?:{_HAN}{{1,6}})(?:(?<!作)(?<!小)组|队|社|湾|岭|坪|冲|坡|沟|营|塘)[ ,]{{0,2}}"
    rf"{_NUMBER} ?[号號]{_TAIL}{_POSTCODE}|"
    rf"(?:大厦|公寓|花园|小区|宿舍|写字楼)[A-Za-z]?[座栋]?[ ,]{{0,2}}(?:{_NUMBER} ?[层楼] ?)?\d{{3,5}} ?[室房号]"
)
_BEFORE = re.compile(rf"(?:{_HAN}|[ ,])*$")
_DISTRICT = re.compile(r"特别行政区|自治区|自治州|开发区|高新区|新区|街道|[省市区县州旗镇乡盟區縣鎮鄉]")
MOST_BEFORE, MOST_NAME = 40, 10  # characters of all places before the road, and of one name
# Roads that nobody lives on, and what is put before a place's name in a sentence; a name must be left (丰收村).
_NO_ROAD = re.compile(
    r"(?:线路|电路|思路|套路|网路|链路|回路|铁路|[渠频通管赛轨味报知车隧跑水行]道|走路|问路|带路|道路|条路|[这那]路|马路|半路|通路|光路|地铁|高铁|航班|农村|全村)"
)
_LEAD = re.compile(
    r".*(?:[在到至是为址寄送往给:：，,。；;、]|(?<![丰秋])收|[改换更登写填]成|登记|记录|提供的|更新|核实|确认|[您你]的|家住|附近|联系|[您你我他她]家|"
    r"[请已按您你我他她们了吗呢这把就也还没帮让被要说问嫌您催住将]|使用|采用|位于|属于|请用|改用)(?=.)"
)
# Where one of these stands, the address begins: with the province, or the city that is one.
_PROVINCE = re.compile(
    r"(?:北京|上海|天津|重庆)市?|(?:河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|"
    r"陕西|甘肃|青海|台湾|臺灣)省|(?:内蒙古|广西|西藏|宁夏|新疆)(?:壮族|回族|维吾尔)?(?:自治区)?|(?:台|臺)[北中南]市|新北市|桃園市|高雄市"
)
_PLACE = re.compile(rf"{_HAN}{{2,}}(?:省|市|区|县|镇|乡|路|街|道|巷|弄|村|园|苑|城|區|縣|鎮|鄉|園)")

_NAME = (
    r"(?!(?:in|on|the|of|at|a|an|and|to|from|my|your|our|for|with|is|are|was|or|by|than|more|times|days|down|across|"
    r"this|that|these|those|same|per)\b)[A-Za-z][A-Za-z'.\-]{0,20}"
)
_SURE = r"(?:street|str|avenue|ave|road|rd|boulevard|blvd|lane|ln|terrace|parkway|pkwy|highway|hwy|crescent|mews|st)"
_MAYBE = (
    r"(?:drive|dr|court|ct|way|place|pl|square|sq|close|circle|cir|row|walk|hill|loop|trail|alley|grove|gardens|"
    r"park|plaza)"
)
_SIDE = r"(?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\.? )?"
_FLAT = (
    r"(?:,? (?:(?:apt|apartment|suite|ste|unit|flat|floor|fl|room|rm)\.? ?#?[A-Za-z0-9\-]{1,6}|# ?[A-Za-z0-9\-]{1,6}))?"
)
_ZIP = r"(?:\d{5}(?:-\d{4})?|[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d)"
_TOWN = (
    rf"(?:,?[ \n][A-Z][A-Za-z'.\-]{{1,20}}(?: [A-Z][A-Za-z'.\-]{{1,20}}){{0,2}}(?:,? [A-Z]{{2,3}}(?![A-Za-z]))?,? "
    rf"{_ZIP}(?![A-Za-z0-9]))?"
)
_STREET = re.compile(
    rf"(?<![\dA-Za-z.,#/:\-])(?i:(?:flat|apt|apartment|unit|"
    rf"suite)\.? \w{{1,5}},? )?(\d{{1,5}}[A-Za-z]?(?:-\d{{1,4}})?),? "
    rf"(?i:{_SIDE})((?:(?i:{_NAME})|\d{{1,3}}(?:st|nd|rd|th))(?: (?i:{_NAME})){{0,3}}) ((?i:{_SURE})|"
    rf"(?i:{_MAYBE}))(?![A-Za-z])\.?"
    rf"(?i:{_FLAT})({_TOWN})"
)
_LINE = r"[A-Z][A-Za-z'.]{1,20}(?:[ \-][A-Za-z][A-Za-z'.]{1,20}){0,3}"
_END = r"(?:,? [A-Z]{2},? \d{5}(?:-\d{4})?|[,\n ]{1,2}[A-Z]{1,2}\d{1,2}[A-Z]? ?\d[A-Z]{2})(?![A-Za-z0-9])"
# Any street with a number or a flat before it, and a town with its code behind it, on one line or several.
_LETTER = re.compile(
    rf"(?<![\dA-Za-z.,#/:\-])(?:(?i:flat|studio|apt|apartment|unit|"
    rf"suite)\.? ?\w{{1,5}}[, \n]{{1,2}}(?:\d{{1,5}}[A-Za-z]?[, \n]{{1,2}})?"
    rf"|\d{{1,5}}[A-Za-z]?[, \n]{{1,2}}){_LINE}(?i:{_FLAT})(?:[,\n] ?{_LINE}){{1,3}}{_END}"
)
_FORCES = re.compile(r"(?:US[A-Z]{1,4}|PSC|Unit) [^\n]{1,30}[\n,] ?(?:FPO|APO|DPO),? A[AEP] \d{5}")
_BOX = re.compile(rf"(?i:P\.? ?O\.? ?Box) \d{{1,7}}{_TOWN}")
_LIVES = re.compile(
    r"(?i:live|lives|living|moved|address|ship|shipped|deliver|delivered|delivery|send|sent|mail|post|"
    r"home) ?(?:\w+ ){0,3}$"
)
_MAYBE_WORD = re.compile(_MAYBE, re.IGNORECASE)


def addresses(seen: View) -> Iterator[Span]:
    """The postal addresses in a view."""
    done = 0
    for found in _CHINESE.finditer(seen.text):
        start = _begin(seen.text, max(done, found.start() - MOST_BEFORE), found.start())
        text, done = seen.text[start : found.end()], found.end()
        if start < found.start() and not _NO_ROAD.search(text) and _PLACE.search(text):
            yield _address(seen, start, found.end())
    for found in _STREET.finditer(seen.text):
        number, name, word, town = found.groups()
        if not _MAYBE_WORD.fullmatch(word) or _is_street(seen, found.start(), number, name, word, town):
            yield _address(seen, *found.span())
    for pattern in (_LETTER, _BOX, _FORCES):
        for found in pattern.finditer(seen.text):
            yield _address(seen, *found.span())


def _begin(text: str, low: int, road: int) -> int:
    """Where an address begins of which text[road:] is the road's ending: behind 寄到, 住在, 是 and the like, at the
    first district's name, else at most a name's length before.
    """
    names = _BEFORE.search(text, low, road)
    start = names.start() if names else road
    lead = _LEAD.match(text, start, road)
    start = lead.end() if lead else start
    province = _PROVINCE.search(text, start, road)
    if province is not None and road - province.start() <= MOST_BEFORE:
        return province.start()
    district = _DISTRICT.search(text, start, road)
    start = max(start, (district.start() if district else road) - MOST_NAME)
    return start + len(text[start:road]) - len(text[start:road].lstrip(" ,"))


def _is_street(seen: View, start: int, number: str, name: str, word: str, town: str) -> bool:
    """Whether words that name more than streets (Drive, Way, Court) name one here."""
    capital = word[0].isupper() and all(part[0].isupper() or part[0].isdigit() for part in name.split())
    lives = _LIVES.search(seen.text[max(0, start - 40) : start]) is not None
    return bool(town) or (capital and (lives or len(number) > 1)) or (lives and len(number) > 1)


def _address(seen: View, start: int, end: int) -> Span:
    text = seen.text[start:end].rstrip(" ,.-")
    plain = _COUNTED.sub(lambda found: numeral(found.group()), text.lower())
    return span(seen, start, start + len(text), ADDRESS, "".join(char for char in plain if char.isalnum()))
