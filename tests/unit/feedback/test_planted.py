"""Each planted defect gets its reason, and clean rows stay: Chinese, English and a few other languages together."""

from __future__ import annotations

import random
from collections import Counter

from feedback.curate import curate
from feedback.snapshot import Snapshot
from tests.unit.feedback.planted import clean, defective

MERGED = {"duplicate", "near_duplicate"}  # these count as kept
CLEAN = 1_500


def test_clean_rows_stay_and_defects_get_their_reasons() -> None:
    good = list(clean(1, CLEAN))
    bad = list(defective(2, good))
    rows = [*good, *(one for _, one in bad)]
    random.Random(3).shuffle(rows)
    verdicts = curate(Snapshot("support", rows, 1, {})).verdicts
    lost = Counter(verdicts[one.feedback][1] for one in good if verdicts[one.feedback][0] != "used")
    assert sum(n for reason, n in lost.items() if reason not in MERGED) <= 0.02 * CLEAN, lost
    wrong = [(reason, verdicts[one.feedback][1], one.messages, one.correction) for reason, one in bad
             if verdicts[one.feedback] != ("refused", reason)]  # fmt: skip
    assert wrong == []


def test_near_questions_with_another_meaning_all_stay() -> None:
    from tests.unit.feedback.planted import row

    pairs = [
        ("要退货", "可以退货。", "不要退货", "好的，不退了。"),
        ("我要退货", "您好，已登记。", "我不要退货", "您好，已登记。"),
        ("五天能到吗", "您好，可以的。", "六天能到吗", "您好，可以的。"),
        ("WH-1000XM4怎么连接", "长按电源键。", "WH-1000XM5怎么连接", "长按电源键。"),
        ("帮我查一下张伟的订单", "您好，正在派送。", "帮我查一下李娜的订单", "您好，正在派送。"),
        ("红色的还有货吗", "您好，有货。", "蓝色的还有货吗", "您好，有货。"),
        ("How long does it take to Paris?", "Three days.", "How long does it take to Lyon?", "Three days."),
        ("Can I return it opened?", "Yes, free.", "Can I not return it opened?", "Yes, free."),
        ("怎么退货", "三天内申请。", "请问怎么退货", "五天内申请。"),
    ]
    rows = [row(2 * n + half, pair[2 * half], pair[2 * half + 1]) for n, pair in enumerate(pairs) for half in (0, 1)]
    assert set(curate(Snapshot("support", rows, 1, {})).verdicts.values()) == {("used", None)}
