from __future__ import annotations

from dataclasses import replace

import pytest

from feedback.curate import curate
from feedback.dedupe import Proposal
from feedback.join import Joined
from feedback.snapshot import Snapshot
from feedback.trust import admit
from tests.unit.feedback.planted import row
from thumbwheel.events import NOBODY

ANN, BEN, TEACHER, CHECKED, EXPERT = (
    ("ann", "user"),
    ("ben", "user"),
    ("model", "teacher"),
    ("resample", "verifier"),
    ("eve", "expert"),
)


@pytest.mark.parametrize(
    ("voices", "reasons"),
    [
        ((ANN,), (None, "second_source", "needs_review")),
        ((ANN, BEN), (None, None, "needs_review")),
        ((("ann", "expert"), ANN), (None, "second_source", None)),  # one person
        ((ANN, TEACHER), (None, "second_source", "needs_review")),
        ((TEACHER, CHECKED), (None, "second_source", "needs_review")),
        ((EXPERT,), (None, "second_source", None)),
        ((ANN, EXPERT), (None, None, None)),
        (((f"{NOBODY}1", "user"), (f"{NOBODY}2", "user")), (None, "second_source", "needs_review")),
        (((f"{NOBODY}1", "user"), ANN), (None, None, "needs_review")),
    ],
)
def test_whose_word_is_enough(voices: tuple[tuple[str, str], ...], reasons: tuple[str | None, ...]) -> None:
    proposal = Proposal(row(1, "退货", "可以退。"), (("user", "退货"),), "可以退。", voices=voices)
    for trust, reason in zip(("single-user", "two-sources", "reviewed"), reasons, strict=True):
        admitted, waiting = admit([proposal], trust)
        assert (admitted, waiting) == (([proposal], {}) if reason is None else ([], {"fb-00001": reason}))


def reasons(trust: str, *rows: Joined) -> list[str | None]:
    verdicts = curate(Snapshot("support", rows, 1, {}, trust=trust)).verdicts
    return [verdicts[one.feedback][1] for one in rows]


def test_sources_are_counted_before_duplicates_go() -> None:
    same = [row(1, "衣服褪色了怎么退货", "您好，可以免费退货。"), row(2, "衣服褪色了怎么退货", "您好，可以免费退货。")]
    near = replace(row(3, "请问衣服褪色了怎么退货呢", "您好，可以免费退货！"), author="u3")
    other = row(4, "帽子褪色了怎么退货", "您好，可以免费退货。")
    assert reasons("two-sources", *same, near, other) == [None, "duplicate", "near_duplicate", "second_source"]
    assert reasons("two-sources", same[0], near) == [None, "near_duplicate"]
    assert reasons("two-sources", same[0], replace(same[1], author="u1")) == ["second_source"] * 2
    assert reasons("single-user", same[0], other) == [None, None]


def test_a_teachers_word_is_no_second_persons() -> None:
    one = row(1, "衣服褪色了", "可以免费退货。")
    assert reasons("two-sources", one, replace(one, feedback="fb-2", author="m", role="teacher"))[0] == "second_source"


def test_an_expert_reviews() -> None:
    one = row(1, "衣服褪色了", "可以免费退货。")
    expert = replace(one, feedback="fb-9", inference="inf-9", author="eve", role="expert", at_ms=9)
    assert reasons("reviewed", one) == ["needs_review"]
    assert reasons("reviewed", one, expert) == [None, "duplicate"]
    assert reasons("reviewed", one, replace(expert, correction="请冷水洗。")) == ["superseded", None]
