from __future__ import annotations

import math
import random
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from feedback import meaning
from feedback.clean import compared
from feedback.dedupe import Proposal, group_key
from feedback.embedding import AT_ONCE
from feedback.function_words import content
from feedback.hard_negatives import PAIRS, TEXTS
from feedback.join import Joined
from feedback.meaning import Near, cosines, event_id, merged, packed, texts_of, wanted
from feedback.names import By

BY = By("bge", "1")
NEAR = Near(0.8, 0.8)
DIMENSIONS = 64
# What the model of these tests takes for the same.
SAME = (
    ("如何", "怎么"),
    ("怎样", "怎么"),
    ("邮费", "运费"),
    ("快递费", "运费"),
    ("送达", "送到"),
    ("money back", "refund"),
)


def vector(text: str) -> list[float]:
    """Where a text lies: a sum of its characters or words, each in a direction of its own."""
    folded = compared(text).lower().rstrip("。？?.！")
    for word, same in SAME:
        folded = folded.replace(word, same)
    parts = folded.split() if folded.isascii() else list(folded)
    found = np.zeros(DIMENSIONS)
    for part in parts:
        found += np.random.default_rng(zlib.crc32(part.encode())).standard_normal(DIMENSIONS)
    return [float(number) for number in found]


def proposal(n: int, question: str, target: str, **fields: Any) -> Proposal:
    given: dict[str, Any] = {
        "feedback": f"fb-{n}", "inference": f"inf-{n}", "author": f"u{n}", "role": "user", "at_ms": n, "seq": 0,
        "correction": target, "state": "waiting", "reason": None, "messages": [], "answer": None,
    }  # fmt: skip
    turns = fields.pop("turns", ())
    decided = fields.pop("decided", None)
    source = Joined(**{**given, **fields})
    return Proposal(source, (*turns, ("user", question)), target, decided=decided)


def others(count: int = 40) -> list[Proposal]:
    """Questions of all kinds, no two near each other."""
    draw = random.Random(7)
    signs = "春云海树鱼鸟歌画诗梦雪窗灯书笔纸墨琴棋茶酒米面糖盐油酱醋瓜豆花草木石沙泥雨露霜雾雷电"

    def some() -> str:
        return "".join(draw.choices(signs, k=12))

    return [proposal(1_000 + n, some(), some()) for n in range(count)]


APART = 0.9


def recorded(rows: Sequence[Proposal], by: By = BY, said: Any = vector, near: float = APART) -> dict[str, object]:
    """As a model would have it that lays hard negatives as `near` as that."""
    found: dict[str, object] = {}
    for one in rows:
        texts = texts_of(one)
        assert texts is not None
        found[event_id(one.source.feedback, by, texts)] = packed(*(said(text) for text in texts), near)
    return found


def come_of(*rows: Proposal, known: Mapping[str, object] | None = None, near: Near = NEAR) -> dict[str, str]:
    """Which of `rows`, among others, are merged, and into which."""
    every = [*rows, *others()]
    kept, refused, compared = merged(every, recorded(every) if known is None else known, BY, None, near)
    assert compared.off is None and compared.merged == len(refused) and set(refused.values()) <= {"semantic_duplicate"}
    ours = {one.source.feedback for one in rows}
    assert set(refused) <= ours and len(kept) == len(every) - len(refused)
    stands = {feedback: one.source.feedback for one in kept for feedback in one.merged}
    assert set(stands) == set(refused)
    return stands


RETURN = ("怎么申请退货", "请在订单页点退货，七天内都行")
AGAIN = ("退货如何申请呢", "在订单页请点退货，七天内都行")


def test_who_asks_and_answers_the_same_in_other_words_is_merged() -> None:
    assert come_of(proposal(1, *RETURN), proposal(2, *AGAIN)) == {"fb-2": "fb-1"}
    english = ("how do i get my refund", "You get it on your card within 5 days")
    other = ("my money back how do i get", "Within 5 days you get it on your card")
    assert come_of(proposal(1, *english), proposal(2, *other)) == {"fb-2": "fb-1"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("要退货", "好的，为您退货"), ("不要退货", "好的，不退货")),
        (RETURN, ("退货如何不申请", AGAIN[1])),
        (RETURN, (AGAIN[0], "在订单页请点退货，三天内都行")),
        (RETURN, (AGAIN[0], "在订单页请点退货，七小时内都行")),
        (("充值怎么申请", RETURN[1]), ("提现如何申请", AGAIN[1])),
        (RETURN, (AGAIN[0], "在订单页请点换货，七天内都行")),
        (("怎么申请退WH-900", RETURN[1]), ("退WH-1000如何申请", AGAIN[1])),
        (RETURN, ("如何申请贷款", AGAIN[1])),
        (RETURN, (AGAIN[0], "请致电客服热线详询")),
    ],
)
def test_what_means_something_else_stays(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert come_of(proposal(1, *one), proposal(2, *other)) == {}


def test_words_guard_where_vectors_see_no_difference() -> None:
    """Of a model for which these rows are equal, and others are not."""
    for one, other in (
        (RETURN, ("怎么不申请退货", RETURN[1])),
        (RETURN, (RETURN[0], "请在订单页点退货，三天内都行")),
        (RETURN, (RETURN[0], "请在订单页点退货，七小时内都行")),
        (("怎么开通", "好的"), ("怎么关闭", "好的")),
        (("3天能退吗", "好的"), ("3小时能退吗", "好的")),
        ((RETURN[0], "请在订单页点退货"), (RETURN[0], "致电热线问问掌柜")),  # no word in common
        (RETURN, ("how can it be returned", RETURN[1])),  # another script
    ):
        rows = [proposal(1, *one), proposal(2, *other)]
        known = recorded(others()) | recorded(rows, said=lambda _: vector("同"))
        assert come_of(*rows, known=known) == {}, (one, other)
        assert come_of(
            rows[0], proposal(2, *one), known=known | recorded([proposal(2, *one)], said=lambda _: vector("同"))
        )


def test_other_words_in_a_question_are_believed_only_beyond_any_hard_negative() -> None:
    """A lamp and a kettle are asked after in the same words, and answered so, too."""
    lamp = ("哪里可以买到台灯", "三楼有卖，现货")
    kettle = ("哪里可以买到水壶", "三楼有卖，现货")
    rows = [proposal(1, *lamp), proposal(2, *kettle)]
    turned = {n: [math.cos(math.radians(10 * n)), math.sin(math.radians(10 * n)), *[0.0] * 62] for n in range(2)}
    for near, expected in ((0.99, {}), (0.98, {"fb-2": "fb-1"})):  # ten degrees are a cosine of 0.985
        known = recorded(others(), near=near)
        for n, one in enumerate(rows):
            known |= recorded([one], said=lambda _, n=n: turned[n], near=near)
        assert come_of(*rows, known=known) == expected
    assert come_of(proposal(1, *lamp), proposal(2, "台灯在哪里可以买到", lamp[1])) == {"fb-2": "fb-1"}, "no other words"
    every = [*rows, *others()]
    mixed = recorded(every, near=0.5) | recorded([rows[0]], near=0.97)
    assert merged(every, mixed, BY, None, NEAR)[2].apart == 0.97, "the nearest of all answers"


def test_hard_negatives_are_as_near_as_their_nearest_pair() -> None:
    assert meaning.apart([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]]) == 0.7071
    assert len(TEXTS) == len(set(TEXTS)) == 2 * AT_ONCE, "what one request holds"
    assert all(content(one) != content(other) for one, other in PAIRS)


def test_what_was_said_before_has_to_be_the_same() -> None:
    hello, bye = (("user", "你好"), ("assistant", "您好")), (("user", "再会"), ("assistant", "慢走"))
    one = proposal(1, *RETURN, turns=hello)
    assert come_of(one, proposal(2, *AGAIN, turns=hello)) == {"fb-2": "fb-1"}
    assert come_of(one, proposal(2, *AGAIN, turns=bye)) == come_of(one, proposal(2, *AGAIN)) == {}
    prompt = (("system", "Be brief."),)
    assert come_of(proposal(1, *RETURN, turns=prompt), proposal(2, *AGAIN)) == {"fb-2": "fb-1"}, "as of near ones"


def test_the_first_stays_before_it_what_judges_an_experts_and_a_reviewed_one() -> None:
    first, second = proposal(1, *RETURN), proposal(2, *AGAIN)
    expert = proposal(3, "退货怎么申请", RETURN[1], role="expert")
    reviewed = proposal(4, "申请退货怎么", RETURN[1], decided=(9, "r"))
    assert come_of(first, second, expert) == {"fb-1": "fb-3", "fb-2": "fb-3"}
    assert come_of(first, second, expert, reviewed) == {"fb-1": "fb-4", "fb-2": "fb-4", "fb-3": "fb-4"}
    judges = {group_key(AGAIN[0])}
    every = [first, second, *others()]
    assert merged(every, recorded(every), BY, None, NEAR, judges)[1] == {"fb-1": "semantic_duplicate"}
    assert "fb-2" in merged([*every, expert], recorded([*every, expert]), BY, None, NEAR, judges)[1]
    kept, _, _ = merged([first, second, *others()], recorded([first, second, *others()]), BY, None, NEAR)
    stays = next(one for one in kept if one.source.feedback == "fb-1")
    assert stays.merged == ("fb-2",) and stays.sources == {"u1", "u2"}


def test_the_order_of_rows_and_the_size_of_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = "甲乙丙丁戊己庚辛"
    rows = others(60)
    for n in range(80):  # eight groups of ten, each in other words
        words = ["怎么", "申请", signs[n % 8] * 3, "手续", "办理"]
        random.Random(n).shuffle(words)
        rows.append(proposal(n, "".join(words), "".join(["去", *words])))
    found = merged(rows, recorded(rows), BY, None, NEAR)
    assert found[2].merged == len(found[1]) >= 60
    for size in (1, 7, 64):
        monkeypatch.setattr(meaning, "BLOCK", size)
        random.Random(size).shuffle(rows)
        assert merged(rows, recorded(rows), BY, None, NEAR) == found


def test_who_is_near_one_that_is_merged_and_not_near_its_leader_stays() -> None:
    """Nearness is not handed on: of three in a row, 25 degrees apart, the third is 50 from the first."""
    rows = [proposal(n, *RETURN) for n in range(3)]
    turned = {n: [math.cos(math.radians(25 * n)), math.sin(math.radians(25 * n)), *[0.0] * 62] for n in range(3)}
    known = recorded(others())
    for n, one in enumerate(rows):
        known |= recorded([one], said=lambda _, n=n: turned[n])
    assert come_of(*rows, known=known) == {"fb-1": "fb-0"}


def test_a_model_for_which_everything_is_alike_merges_nothing() -> None:
    rows = [proposal(1, *RETURN), proposal(2, *AGAIN), *others()]
    equal = recorded(rows, said=lambda _: vector("同"))
    kept, refused, come = merged(rows, equal, BY, None, NEAR)
    assert (len(kept), refused) == (len(rows), {}) and come.off == "all_alike" and come.usual == (1.0, 1.0)


def test_how_near_is_told_beside_what_is_usual() -> None:
    """A model that lays everything close is judged like one that does not."""
    rows = [proposal(1, *RETURN), proposal(2, *AGAIN), proposal(3, "如何办理贷款", "请到网点填表，五天内批"), *others()]

    def close(text: str) -> list[float]:
        beside = np.asarray(vector(text))
        return [float(number) for number in (*(beside / np.linalg.norm(beside) * 0.6), 0.8)]

    plain, shifted = (merged(rows, recorded(rows, said=said), BY, None, NEAR) for said in (vector, close))
    assert plain[1] == shifted[1] == {"fb-2": "semantic_duplicate"}
    assert plain[2].usual[0] < 0.2 < 0.6 < shifted[2].usual[0] < 0.9


def test_limits() -> None:
    one, other = proposal(1, *RETURN), proposal(2, "退货如何申请得着过", AGAIN[1])
    assert come_of(one, other, near=Near(0.4, 0.8)) == {"fb-2": "fb-1"}
    assert come_of(one, other, near=Near(0.97, 0.8)) == come_of(one, other, near=Near(0.4, 1.1)) == {}


def test_where_nothing_can_be_told_nothing_is_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [proposal(1, *RETURN), proposal(2, *AGAIN)]
    assert merged(rows, recorded(rows), BY, None, NEAR)[2].off == "too_few"
    assert merged(rows, {}, None, "unreachable", NEAR)[1:] == ({}, meaning.Compared("unreachable"))
    rows += others()
    monkeypatch.setattr(meaning, "MOST", len(rows) - 1)
    assert merged(rows, recorded(rows), BY, None, NEAR)[2].off == "too_many"


def test_rows_without_vectors_are_compared_with_none() -> None:
    rows = [proposal(1, *RETURN), proposal(2, *AGAIN), *others()]
    known = recorded(rows)
    lost = event_id("fb-2", BY, AGAIN)
    pairs = [("AAAA", "AAAA"), ("!", "!"), ("AQID", "AQI=")]
    broken = [{"question": question, "target": target, "apart": APART} for question, target in pairs]
    without = {"question": "AQID", "target": "AQID"}
    for value in (None, "x", [], {}, ["AQID", "AQID"], without, *broken, packed([1.0], [1.0], APART), 7):
        kept, refused, come = merged(rows, {**known, lost: value}, BY, None, NEAR)
        assert refused == {} and (come.rows, come.without) == (len(rows) - 1, 1) and len(kept) == len(rows), value
    assert merged(rows, known, By("bge", "2"), None, NEAR)[2].off == "too_few", "another version's are no use"


def test_vectors_are_kept_in_a_byte_a_number_and_lose_next_to_nothing() -> None:
    draw = np.random.default_rng(1)
    some = draw.standard_normal((30, 1_024))
    kept = [packed(one, one, APART) for one in some.tolist()]
    assert all(one is not None and len(str(one["question"])) == 1_368 for one in kept)
    back = np.stack([found.question for one in kept if (found := meaning._unpacked(one))])
    unit = some / np.linalg.norm(some, axis=1, keepdims=True)
    assert np.abs(cosines(back, back) - unit @ unit.T).max() < 0.002


@pytest.mark.parametrize("bad", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0], [1.0] * 8_193])
def test_what_is_no_direction_is_not_kept(bad: list[float]) -> None:
    assert packed([1.0, 2.0], bad, APART) is None and packed(bad, [1.0, 2.0], APART) is None
    assert meaning.apart([[1.0, 2.0], bad]) is None and meaning.apart([[1.0, 2.0], [1.0]]) is None


def test_products_are_exact() -> None:
    """At the edge of what a float of 32 bits holds, and beyond it."""
    for size in (1_040, 1_041, 4_096):
        some = np.full((2, size), 127, np.int8)
        some[1, 0] = 126
        exact = meaning._exact(some) @ meaning._exact(some).T
        assert [int(number) for number in exact[0]] == [127 * 127 * size, 127 * 127 * size - 127]


def test_what_has_to_be_asked_for() -> None:
    rows = [proposal(2, *AGAIN), proposal(1, *RETURN), proposal(3, "问" * 501, "答"), proposal(4, "问", "答" * 501)]
    assert [one.source.feedback for one, _ in wanted(rows, (), BY)] == ["fb-1", "fb-2"]
    assert [texts for _, texts in wanted(rows, {event_id("fb-1", BY, RETURN)}, BY)] == [AGAIN]
    assert len(wanted(rows, {event_id("fb-1", BY, RETURN)}, By("bge", "2"))) == 2
