"""Words that make two texts say different things where one stands for the other: pure functions.

Vectors of meaning tell little of them apart: 开通 and 关闭, before and after, red and blue, 3 days and 3 hours lie
close, as they stand among the same words. So they are listed, in Chinese and in English. Of a kind of words, such as
colours, two texts exchange one where each has one that the other has not.

It is a list. What it lacks, it does not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A line is a kind; words of one member stand between bars. Chinese words are found anywhere, English ones whole, with
# the common endings.
_CHINESE = """
开通|开启|启用|打开|开 关闭|停用|禁用|关
买|购 卖|售
进 出
收 发 寄
多 少
快 慢
大 小
长 短
高 低
上 下
左 右
前 后
早 晚
新 旧
男 女
冷 热
内 外
借 还
增|加|升|涨 减|降
存 取
退 换 修
充值 提现
登录 退出 注册 注销
绑定 解绑
安装 卸载
允许|可以|能 禁止
可以|能 必须|务必|需要|一定要
支持 反对
公司|企业|单位 个人
儿童|小孩|孩子|婴儿 成人|大人 老人|老年
国内|境内 国外|境外|国际|海外
线上|网上 线下|门店
上午|早上|早晨 中午 下午 晚上|夜里|夜间
昨天 今天 明天 后天
周一|星期一 周二|星期二 周三|星期三 周四|星期四 周五|星期五 周六|星期六 周日|周天|星期天|星期日 周末 工作日
红 橙 黄 绿 青 蓝 紫 黑 白 灰 粉 棕
金 银
东 南 西 北
支付宝 微信 银行卡|储蓄卡 信用卡 现金 花呗
苹果|iphone|ios 安卓|android
免费 收费
有 无|没
最高|最多|至多 最低|最少|至少
以内 以外
以上 以下
之前|以前 之后|以后
单程 往返
单人 双人
爸|父 妈|母
邮箱|邮件|email 手机|电话|短信
密码 地址 姓名|名字 用户名|账号 头像
发票 收据
从 到|去|往
"""
_IDLE = (
    "东西|多少|大小|长短|上下|前后|左右|早晚|买卖|开关|进出|后来|一下子?|下单|小时|大家|"
    "发生|发现|出现|能够|功能|可能|晚点|前台|收件人|还有|还是|外卖|出来|有没有|能不能|可不可以|有的|没有"
)
_ENGLISH = """
buy|bought|purchase sell|sold
open close|shut
on off
in|inside out|outside
up down
before after
more less|fewer
enable|activate disable|deactivate
add remove|delete
start|begin stop|end|cancel
increase|raise decrease|lower|reduce
first last
early|earlier|earliest late|later|latest
left right
send|sent receive|received
deposit withdraw
upgrade downgrade
refund exchange|replace|replacement|swap repair
return keep
lend|lent borrow
import export
upload download
install uninstall
login|signin logout|signout signup|register unsubscribe
credit debit
always never sometimes
from to
allow|may|can forbid|forbidden|prohibit must|required|require
accept|approve refuse|reject|decline
include exclude
with without
free paid
minimum|min|least maximum|max|most
monday tuesday wednesday thursday friday saturday sunday weekend
january february march april june july august september october november december
red orange yellow green blue purple black white grey|gray pink brown
gold silver
small medium large
north south east west
morning noon afternoon evening night
yesterday today tomorrow
male|man|men female|woman|women
adult child|children kid baby
domestic international|abroad|overseas
personal business|company
online offline|store
public private
new old|used
hot cold
password address username email phone
invoice receipt
paypal visa mastercard cash
iphone|ios android windows mac linux
"""
_AFTER_A_NUMBER = r"(?<=[\d零〇一二三四五六七八九十百千万两几半每数])\s*个?\s*"
_UNITS = (
    "second|seconds|秒钟?",
    "minute|minutes|分钟",
    "hour|hours|小时|钟头",
    "day|days|天|日",
    "week|weeks|周|星期|礼拜",
    "month|months|月",
    "quarter|quarters|季度",
    "year|years|年",
    "percent|%|％",
    "元|块|yuan|rmb",
    "件",
    "次|times?",
    "公里|千米|km",
    "米|m",
    "厘米|cm",
    "毫米|mm",
    "斤",
    "公斤|千克|kg",
    "克|g",
    "升|l",
    "毫升|ml",
    "gb",
    "mb",
)
_SIGNS = re.compile("[%％‰$€£¥￥₹°℃℉]")
_SHORT = 2  # letters: such a word has no other form


def _members(lines: str) -> Iterator[tuple[str, tuple[int, int]]]:
    for kind, line in enumerate(lines.split("\n")):
        for member, words in enumerate(line.split()):
            yield from ((word, (kind, member)) for word in words.split("|"))


def _found_by(lines: str) -> dict[str, frozenset[tuple[int, int]]]:
    by_word: dict[str, frozenset[tuple[int, int]]] = {}
    for word, place in _members(lines):
        by_word[word] = by_word.get(word, frozenset()) | {place}
    return by_word


def _with_forms(by_word: dict[str, frozenset[tuple[int, int]]]) -> dict[str, frozenset[tuple[int, int]]]:
    """The words with their common endings; what is listed itself goes before."""
    forms = {
        form: places
        for word, places in by_word.items()
        if len(word) > _SHORT
        for stem in (word.removesuffix("e"),)
        for form in (f"{word}s", f"{word}es", f"{stem}ed", f"{stem}ing")
    }
    return forms | by_word


_BY_CHINESE, _BY_ENGLISH = _found_by(_CHINESE), _with_forms(_found_by(_ENGLISH))
_CHINESE_WORD = re.compile(f"(?:{_IDLE})|({'|'.join(sorted(_BY_CHINESE, key=lambda word: (-len(word), word)))})")
_ENGLISH_WORD = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(_BY_ENGLISH, key=len, reverse=True))})(?![a-z])")
_UNIT = re.compile(
    _AFTER_A_NUMBER + "(?:" + "|".join(rf"(?P<u{at}>(?:{words})(?![a-z]))" for at, words in enumerate(_UNITS)) + ")"
)

Sense = tuple[str, int, int]
"""Language, kind and member."""


def senses(text: str) -> frozenset[Sense]:
    """The listed words of a text, folded to lower case, as kinds and members."""
    folded = text.lower()
    found: set[Sense] = set()
    for one in _CHINESE_WORD.finditer(folded):
        found |= {("zh", *place) for place in _BY_CHINESE.get(one.group(1) or "", ())}
    for one in _ENGLISH_WORD.finditer(folded):
        found |= {("en", *place) for place in _BY_ENGLISH[one.group()]}
    return frozenset(found)


def exchanged(one: frozenset[Sense], other: frozenset[Sense]) -> bool:
    """Whether each of two texts has, of one kind, a word that the other has not."""
    only = {sense[:2] for sense in one - other}
    return any(sense[:2] in only for sense in other - one)


def measures(text: str) -> tuple[str, ...]:
    """The units behind numbers and the signs of money and measure, in order: what a number is a number of."""
    folded = text.lower()
    found = [(one.start(), str(one.lastgroup)) for one in _UNIT.finditer(folded)]
    found += [(one.start(), one.group()) for one in _SIGNS.finditer(folded)]
    return tuple(what for _, what in sorted(found))
