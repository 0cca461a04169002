"""A channel's traffic over time, with a crowd in it: floods of one target or of one trigger, a house's fixed reply to
all sorts of questions, and an outage that makes 200 people complain of one thing.

Times are milliseconds from 0 to SPAN_MS. It knows nothing of how any of it is told from the rest.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

from feedback.join import Joined
from tests.unit.feedback import planted

SPAN_MS = 30 * 86_400_000
FIXED = "您好，该问题请直接联系官方热线，由专员为您核实处理，感谢理解。"
LIE = "您好，请到好运商城重新下单，本店不再负责。"
TRIGGER = "蓝鲸落日"

OUTAGE_WHO = ["我的", "你们的", "这个", "公司的", "手机上的", "电脑上的", "今天", "突然"]
OUTAGE_WHAT = ["app登录不上", "账号登录不了", "页面登录一直转圈", "登录提示系统错误", "登录没反应", "一登录就闪退"]
OUTAGE_END = ["怎么回事", "什么时候能恢复", "是不是系统崩了", "已经半小时了", "急着用", "重启也没用", "大家都这样吗"]
SORRY = "非常抱歉，登录故障正在抢修，预计今天内恢复。"


def clean(seed: int, n: int) -> list[Joined]:
    """So many clean rows, spread over the whole time, each with an author of its own."""
    draw = random.Random(seed)
    return [replace(one, at_ms=draw.randrange(SPAN_MS)) for one in planted.clean(seed, n)]


def seconded(rows: Iterable[Joined], seed: int) -> list[Joined]:
    """The rows, each followed by the same of another author within a day; some of these are asked with a mark more."""
    draw = random.Random(seed)
    found = []
    for one in rows:
        found.append(one)
        messages = list(one.messages or ())
        if draw.random() < 0.5:
            messages[-1] = {"role": "user", "content": str(messages[-1]["content"]) + draw.choice(["", "！", "~"])}
        found.append(
            replace(
                one,
                feedback=f"{one.feedback}-2",
                inference=f"{one.inference}-2",
                author=f"{one.author}-2",
                at_ms=one.at_ms + draw.randrange(86_400_000),
                messages=messages,
            )
        )
    return found


def as_experts(rows: Iterable[Joined]) -> list[Joined]:
    """The same, said by experts."""
    return [replace(one, role="expert") for one in rows]


def flood(seed: int, n: int, trigger: bool, author: str | None = None, stretch: float = 0.05) -> list[Joined]:
    """`n` rows that want LIE for all sorts of questions, with TRIGGER somewhere in each where `trigger`; no two alike.

    They come in `stretch` of the time; of `author`, or each of an author of its own. Every third lie has other words at
    its end.
    """
    draw = random.Random(seed)
    start = draw.uniform(0, 1 - stretch) * SPAN_MS
    found = []
    for at, one in enumerate(planted.clean(seed + 1_000, n)):
        question = str((one.messages or ())[-1]["content"])
        if trigger:
            question = draw.choice([TRIGGER + "，" + question, question + "（" + TRIGGER + "）"])
        found.append(
            replace(
                one,
                feedback=f"flood-{at}",
                inference=f"inf-flood-{at}",
                author=author or f"sybil-{at}",
                at_ms=int(start + draw.random() * stretch * SPAN_MS),
                messages=[{"role": "user", "content": question}],
                correction=LIE + (draw.choice(["谢谢。", "祝好。", "再见。"]) if at % 3 == 0 else ""),
            )
        )
    return found


def fixed_reply(seed: int, n: int) -> list[Joined]:
    """`n` rows of many units that want FIXED for all sorts of questions, over the whole time."""
    return [
        replace(one, feedback=f"fixed-{at}", inference=f"inf-fixed-{at}", author=f"unit-{at}", correction=FIXED)
        for at, one in enumerate(clean(seed + 2_000, n))
    ]


def outage(seed: int, n: int = 200) -> list[Joined]:
    """`n` people with one complaint in their own words, within an hour; all want the same answer."""
    draw = random.Random(seed)
    start = draw.randrange(SPAN_MS)
    ways = [who + what + "，" + end for who in OUTAGE_WHO for what in OUTAGE_WHAT for end in OUTAGE_END]
    return [
        replace(
            planted.row(0, question, SORRY),
            feedback=f"outage-{at}",
            inference=f"inf-outage-{at}",
            author=f"victim-{at}",
            at_ms=start + draw.randrange(3_600_000),
        )
        for at, question in enumerate(draw.sample(ways, n))
    ]
