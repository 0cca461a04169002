"""A corpus of corrections, Chinese and English, most of them clean and some with one planted defect each, by reason.

Clean rows are made of parts that are drawn apart, so that no two say the same, and each has an author of its own. Among
them are all kinds that a rule could take for defective: short ones, some without a full stop, with smiles and
emoji, with product codes, prices and order numbers, in Japanese, Thai, Hindi and Persian.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from feedback.join import Joined

GOODS = [
    "衣服",
    "裤子",
    "耳机",
    "手机壳",
    "键盘",
    "水杯",
    "台灯",
    "书包",
    "帽子",
    "毛巾",
    "风扇",
    "雨伞",
    "充电器",
    "电饭煲",
    "行李箱",
    "运动鞋",
]
FAULTS = [
    "褪色了",
    "开不了机",
    "有异味",
    "少了配件",
    "和图片不一样",
    "用两次就坏了",
    "尺寸偏小",
    "包装破了",
    "一直没发货",
    "颜色发错了",
]
WISHES = ["能退吗", "怎么办", "可以换一个吗", "想要个说法", "能补发吗", "谁来处理", "请尽快解决", "你们管不管"]
ORDERS = ["订单{}", "单号 {}", "订单编号：{}"]
REPLIES = [
    "您好，{}的问题我们已经登记，客服会在两个工作日内联系您。",
    "非常抱歉，{}可以免费退换，运费由我们承担",
    "亲，{}这边给您安排补发哦~😊",
    "关于{}：1) 请先拍照；2) 在订单页提交申请；3) 等待审核。",
    "{}支持七天无理由退货，请保持吊牌完好…",
    "已为您的{}申请退款，金额{}元，原路退回。",
]
THINGS = [
    "shirt",
    "kettle",
    "headset",
    "lamp",
    "backpack",
    "keyboard",
    "charger",
    "umbrella",
    "suitcase",
    "blender",
    "mug",
    "jacket",
    "towel",
    "drone",
]
TROUBLES = [
    "faded after {} washes",
    "arrived {} days late",
    "has {} scratches",
    "lost {} screws",
    "stopped after {} uses",
]
ANSWERS = [
    "Sorry about the {}. Please send it back free of charge, order {} stays open until then.",
    "We will replace the {} (model WH-{}XM) within a week",
    "Your {} is covered: 1. open the app 2. choose 'returns' 3. enter code R{} :)",
    "Refunded ${}.50 for the {}.",
]
OTHERS = [
    ("返品したいです、{}番の商品です", "かしこまりました。{}番の返品を承ります"),
    ("ขอคืนสินค้าชิ้นที่ {}", "ได้ค่ะ กรุณาส่งสินค้าชิ้นที่ {} กลับมาค่ะ"),
    ("मुझे ऑर्डर {} वापस करना है", "जी हाँ, ऑर्डर {} वापस हो जाएगा।"),
    ("می\u200cخواهم کالای {} را پس بدهم", "کالای {} را پس می\u200cگیریم"),
    ("Je veux rendre l’article {} « cassé »", "C’est noté, l’article {} est repris : merci !"),
    ("Ich möchte Artikel {} zurückgeben, das macht keinen „Spaß“", "Gern, für Artikel {} ist die Rückgabe frei"),
    ("Верните деньги за товар {}", "Вернём деньги за товар {} в течение недели"),
]


def row(n: int, question: str, correction: str) -> Joined:
    """A correction of an author of its own."""
    messages = [{"role": "system", "content": "你是客服助手，请礼貌作答。"}, {"role": "user", "content": question}]
    return Joined(
        f"fb-{n:05d}", f"inf-{n:05d}", f"u{n}", "user", n, 0, correction, "waiting", "no_run_yet", messages, "好的。"
    )


def clean(seed: int, n: int) -> Iterator[Joined]:
    """So many clean rows."""
    draw = random.Random(seed)
    for at in range(n):
        number = 10_000 + at
        kind = draw.random()
        if kind < 0.6:
            goods, order = draw.choice(GOODS), draw.choice(ORDERS).format("".join(draw.choices("0123456789", k=16)))
            question = (
                f"{order}，{goods}{draw.choice(FAULTS)}，{draw.choice(WISHES)}{draw.choice(['', '？', '！', '~'])}"
            )
            answer = draw.choice(REPLIES).format(goods, number)
        elif kind < 0.9:
            thing = draw.choice(THINGS)
            question = f"My {thing} {draw.choice(TROUBLES).format(draw.randint(2, 99))}, order no. {number}"
            answer = draw.choice(ANSWERS).format(thing, number)
        else:
            asked, told = draw.choice(OTHERS)
            question, answer = asked.format(number), told.format(number)
        yield row(at, question, answer)


def defective(seed: int, of: list[Joined]) -> Iterator[tuple[str, Joined]]:
    """Rows made of clean ones `of`, each with one defect, and the reason that it must get."""
    draw = random.Random(seed)
    chinese = [one for one in of if "您" in (one.correction or "") or "亲" in (one.correction or "")]

    def spoilt(correction: str | None = None, question: str | None = None, whose: Joined | None = None) -> Joined:
        source = whose or draw.choice(chinese)
        messages = list(source.messages or ())
        if question is not None:
            messages[-1] = {"role": "user", "content": question}
        n = next(counter)
        return replace(
            source,
            feedback=f"fb-{n}",
            inference=f"inf-{n}",
            author=f"u{n}",
            at_ms=n,
            messages=messages,
            correction=source.correction if correction is None else correction,
        )

    counter = iter(range(100_000, 200_000))
    for n in range(20):
        text = draw.choice(chinese).correction or ""
        asked = f"第{n}个问题：{draw.choice(GOODS)}{draw.choice(FAULTS)}，{draw.choice(WISHES)}"
        yield "mojibake", spoilt(text.encode().decode("latin-1"), asked)
        yield "mojibake", spoilt(text.encode().decode("cp1252", "replace"), asked + "1")
        yield "mojibake", spoilt(text.encode().decode("gbk", "replace"), asked + "2")
        yield "mojibake", spoilt("您好，已登记。", asked.encode().decode("gb18030", "replace") + "3")
        yield "empty", spoilt(" \u200b\u2060\n", asked + "4")
        yield "degenerate", spoilt("。。。？？！", asked + "5")
        yield "degenerate", spoilt("好的好的" * 60, asked + "6")
        yield "too_long", spoilt("".join(f"第{line}步请操作。" for line in range(900)), asked + "7")
        yield "self_identical", spoilt("好\u200b的。", asked + "8")
        yield (
            "blocked_term",
            spoilt(draw.choice(["你这个傻 逼，自己看说明", "What a fucking question", "滚犊子，不退"]), asked + "9"),
        )
        yield (
            "unfinished",
            spoilt(
                draw.choice(
                    ["您好，请先登录账户，然后", "请按以下步骤操作：", "We will refund you and", "费用（含运费"]
                ),
                asked + "10",
            ),
        )
        yield "personal_data_in_target", spoilt(f"请加专员手机13{draw.randint(10**8, 10**9 - 1)}处理", asked + "11")
        yield (
            "personal_data_in_target",
            spoilt(f"已寄往浙江省杭州市西湖区文三路{n + 1}号3栋201室", asked + "12"),
        )
        yield (
            "secret_in_target",
            spoilt("请使用密钥 sk-" + "".join(draw.choices("abcdefXYZ0123456789", k=40)), asked + "13"),
        )
        yield "no_user_turn", spoilt("您好，已登记。", "\u200b ")
        original = of[draw.randrange(len(of))]
        yield "duplicate", spoilt(whose=original)
    for _ in range(20):
        one = draw.choice(chinese)
        question = str((one.messages or ())[-1]["content"])
        polite = draw.choice(["您好，{}", "请问{}呢", "{}，谢谢！", "麻烦帮忙看一下，{}。"]).format(
            question.rstrip("？！~")
        )
        yield "near_duplicate", spoilt((one.correction or "") + draw.choice(["", "哦", "！"]), polite, whose=one)
