from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from feedback.curate import Curation, curate
from feedback.join import Joined
from feedback.snapshot import Limits, Snapshot
from tests.unit.feedback.joined import thumb
from thumbwheel.dataset_figures import MOST_RATIO
from thumbwheel.events import ReviewEvent
from thumbwheel.records import Clean

SWORN = "滚，你这个傻逼"


def same(n: int, way: str, of: int = 1, **fields: Any) -> Joined:
    """Another one's thumb on the same answer to the same question, given once more."""
    first = thumb(of)
    return thumb(n, way, messages=first.messages, answer=first.answer, **fields)


def made(*rows: Joined, **fields: Any) -> Curation:
    wanted = {"uncorrected": "kto", **fields}
    return curate(Snapshot("support", rows, 1_000, {"feedback": {0: 7}}, **wanted))


def parsed(curation: Curation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in curation.rows.splitlines()]


@pytest.mark.parametrize("policy", ["wait", "propose"])
def test_thumbs_are_rows_only_where_the_channel_wants_it(policy: str) -> None:
    rows = [thumb(1, "down"), thumb(2, "up")]
    curation = made(*rows, uncorrected=policy)
    assert curation.rows == b""
    assert curation.verdicts == {"fb-1": ("waiting", "no_correction"), "fb-2": ("waiting", "no_correction")}


def test_a_thumb_becomes_no_row_after_its_window_but_stays_one() -> None:
    old, new = thumb(1, at_ms=100), thumb(2, "up", at_ms=101)
    found = made(old, new, window_ms=900)
    assert found.verdicts == {"fb-1": ("refused", "uncorrected"), "fb-2": ("used", None)}
    (kept,) = [row["id"] for row in parsed(made(old)) if row["feedback"] == "fb-1"]
    since = made(old, new, window_ms=900, incumbent="d1", since={kept: "d1"})
    assert since.verdicts == {"fb-1": ("used", None), "fb-2": ("used", None)}, "the stable release's dataset holds it"
    review = ReviewEvent("rv-1", "fb-1", "support", 999, "rita", "approve")
    assert made(old, window_ms=900, reviews=[review]).verdicts == {"fb-1": ("used", None)}


def test_a_row_is_the_answer_that_was_given_and_whether_it_was_liked() -> None:
    curation = made(thumb(1, "down"), thumb(2, "up"), thumb(3, None))
    assert curation.verdicts == {"fb-1": ("used", None), "fb-2": ("used", None), "fb-3": ("waiting", "no_correction")}
    rows = {row["feedback"]: row for row in parsed(curation)}
    assert rows["fb-1"]["kind"] == rows["fb-2"]["kind"] == "kto"
    assert rows["fb-1"]["completion"] == "第1号订单还没有发货。" and rows["fb-1"]["label"] is False
    assert rows["fb-1"]["messages"] == [{"role": "user", "content": "第1号订单什么时候发货"}]
    assert rows["fb-2"]["label"] is True and rows["fb-2"]["weight"] == 1
    assert set(curation.new_splits) == {row["group"] for row in rows.values()}


@pytest.mark.parametrize(
    ("way", "changes", "wanted"),
    [
        ("down", {"answer": SWORN}, ("used", None)),  # just what one would dislike
        ("up", {"answer": SWORN}, ("refused", "blocked_term")),
        ("down", {"answer": "您好，请先登录账户，然后"}, ("used", None)),
        ("up", {"answer": "您好，请先登录账户，然后"}, ("refused", "unfinished")),
        ("down", {"answer": "no no " * 50}, ("used", None)),
        ("up", {"answer": "no no " * 50}, ("refused", "degenerate")),
        ("down", {"answer": "请致电13812345678"}, ("used", None)),
        ("up", {"answer": "请致电13812345678"}, ("refused", "personal_data_in_target")),
        ("up", {"answer": "Use the key AKIAABCDEFGHIJKLMN23"}, ("refused", "secret_in_target")),
        ("down", {"answer": None}, ("refused", "empty")),
        ("up", {"answer": " \u200b"}, ("refused", "empty")),
        ("down", {"answer": "é\x80\x80æ¬¾å·²å¤„ç\x90†"}, ("refused", "mojibake")),
        ("up", {"answer": "您的包裹\ufffd经签收"}, ("refused", "mojibake")),
        ("down", {"answer": "答" * 4_001}, ("refused", "too_long")),
        ("down", {"messages": [{"role": "user", "content": "é€€æ¬¾æ²¡åˆ°è´¦"}]}, ("refused", "mojibake")),
        ("down", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ("refused", "not_text")),
        ("down", {"messages": [{"role": "assistant", "content": "hi"}]}, ("refused", "no_user_turn")),
        ("down", {"messages": None, "reason": "inference_not_seen"}, ("waiting", "inference_not_seen")),
        ("down", {"inference": "cmpl-01"}, ("refused", "not_chat")),
    ],
)
def test_what_an_answer_is_asked(way: str, changes: dict[str, Any], wanted: tuple[str, str | None]) -> None:
    assert made(thumb(1, way, **changes), window_ms=10_000).verdicts["fb-1"] == wanted


def test_personal_data_of_the_conversation_and_of_a_disliked_answer_are_placeholders() -> None:
    asked = [{"role": "user", "content": "我的手机是13812345678，退款呢"}]
    answer = "13812345678已登记，请联系 lin@example.com。"
    (row,) = parsed(made(thumb(1, "down", messages=asked, answer=answer)))
    assert row["messages"][0]["content"] == "我的手机是[PHONE_1]，退款呢"
    assert row["completion"] == "[PHONE_1]已登记，请联系 [EMAIL_1]。"
    (liked,) = parsed(made(thumb(1, "up", messages=asked, answer="13812345678已登记。")))
    assert liked["completion"] == "[PHONE_1]已登记。"


def test_names_that_a_model_found_are_placeholders_too() -> None:
    row = thumb(1, "up", messages=[{"role": "user", "content": "我叫林小北，订单呢"}], answer="林小北，明天到。")
    (found,) = parsed(made(row, names={"fb-1": ["林小北"]}))
    assert found["completion"] == "[NAME_1]，明天到。"


def test_an_author_has_one_voice_about_an_answer_and_the_last_word_counts() -> None:
    curation = made(thumb(1, "down"), same(2, "up", author="u1"), same(3, "up", inference="inf-1", author="u1"))
    assert curation.verdicts["fb-1"] == ("refused", "superseded")
    assert curation.verdicts["fb-2"] == ("used", None) and curation.verdicts["fb-3"] == ("refused", "duplicate")
    (row,) = parsed(curation)
    assert row["label"] is True and row["merged"] == ["fb-3"] and row["sources"] == 1


def test_thumbs_alike_on_the_same_or_nearly_the_same_are_one_row() -> None:
    polite = [{"role": "user", "content": "请问第1号订单什么时候发货呢"}]
    curation = made(thumb(1), same(2, "down"), thumb(3, messages=polite, answer="第1号订单还没有发货哦。"))
    assert [curation.verdicts[f"fb-{n}"][1] for n in (1, 2, 3)] == [None, "duplicate", "near_duplicate"]
    (row,) = parsed(curation)
    assert row["merged"] == ["fb-2", "fb-3"] and row["sources"] == 3


def test_another_number_or_another_answer_to_the_same_question_is_another_row() -> None:
    again = thumb(2, "down", messages=thumb(1).messages, answer="我不知道。")
    assert len(parsed(made(thumb(1), again, thumb(3)))) == 3


def test_authors_who_judge_an_answer_differently_wait_unless_one_is_an_expert() -> None:
    against = [thumb(1, "down"), same(2, "up")]
    assert set(made(*against).verdicts.values()) == {("waiting", "contradiction")}
    curation = made(*against, same(3, "up", role="expert"))
    assert curation.verdicts["fb-1"] == ("refused", "superseded")
    (row,) = parsed(curation)
    assert row["label"] is True and row["role"] == "expert"


def test_a_correction_says_more_than_a_thumb() -> None:
    corrected = same(9, "down", correction="第1号订单明天发货。", reason="no_run_yet")
    other = thumb(4, "down", messages=thumb(1).messages, answer="我不知道。")
    liked = thumb(5, "up", messages=thumb(1).messages, answer="后天。")
    right = thumb(6, "up", messages=thumb(1).messages, answer="第1号订单明天发货。")
    curation = made(thumb(1, "down"), same(2, "up"), other, liked, right, corrected)
    assert {feedback: reason for feedback, (_, reason) in curation.verdicts.items()} == {
        "fb-1": "corrected",  # it is in the correction's row, as the rejected answer
        "fb-2": "corrected",  # and nobody waits for a reviewer, though they disagree
        "fb-4": None,  # another answer that was no good
        "fb-5": "corrected",
        "fb-6": "duplicate",
        "fb-9": None,
    }
    rows = {row["feedback"]: row for row in parsed(curation)}
    assert rows["fb-9"]["kind"] == "sft" and rows["fb-9"]["rejected"] == "第1号订单还没有发货。"
    assert "label" not in rows["fb-9"] and rows["fb-4"]["kind"] == "kto"
    assert len({row["id"] for row in rows.values()}) == 2


def test_a_correction_that_is_not_taught_overrules_no_thumb() -> None:
    corrected = same(9, "down", correction="以后都要回答：第1号订单明天发货。", reason="no_run_yet")
    assert made(thumb(1, "down"), corrected).verdicts == {
        "fb-1": ("used", None),
        "fb-9": ("waiting", "speaks_to_model"),
    }


def test_an_author_has_a_cap() -> None:
    curation = made(*(thumb(n, "down", author="u0") for n in range(5)), limits=Limits(author_rows=3))
    assert [curation.verdicts[f"fb-{n}"][1] for n in range(5)] == [None, None, None, "author_cap", "author_cap"]


@pytest.mark.parametrize(("trust", "reason"), [("two-sources", "second_source"), ("reviewed", "needs_review")])
def test_who_may_teach_is_asked_of_thumbs_too(trust: str, reason: str) -> None:
    curation = made(thumb(1), thumb(2), same(3, "down", of=2, role="expert"), trust=trust)
    assert curation.verdicts["fb-1"] == ("waiting", reason)
    assert curation.verdicts["fb-2"] == ("used", None)


def approved(n: int) -> ReviewEvent:
    return ReviewEvent(f"rv-{n}", f"fb-{n}", "support", 60, reviewer="anna", verdict="approve")


def test_a_reviewer_ends_what_thumbs_wait_for() -> None:
    assert made(thumb(1), trust="reviewed", reviews=[approved(1)]).verdicts == {"fb-1": ("used", None)}
    curation = made(thumb(1, "down"), same(2, "up"), reviews=[approved(2)])
    assert curation.verdicts == {"fb-1": ("refused", "superseded"), "fb-2": ("used", None)}
    edited = replace(approved(1), verdict="edit", target="第1号订单明天发货。")
    (row,) = parsed(made(thumb(1, "down"), reviews=[edited]))
    assert (row["kind"], row["completion"]) == ("sft", "第1号订单明天发货。")


def test_thumbs_take_no_place_in_the_draw_of_corrections() -> None:
    corrected = [thumb(n, correction=f"第{n}号订单明天发货。", reason="no_run_yet") for n in range(100, 200)]
    alone = {row["id"]: row["split"] for row in parsed(made(*corrected))}
    beside = parsed(made(*corrected, *(thumb(n, "up") for n in range(90))))
    assert {row["id"]: row["split"] for row in beside if row["kind"] == "sft"} == alone
    assert sum(row["kind"] == "kto" for row in beside) == 90


def test_a_thumb_keeps_to_the_split_of_its_question() -> None:
    corrected = same(9, "down", correction="第1号订单明天发货。", reason="no_run_yet")
    other = thumb(4, "down", messages=thumb(1).messages, answer="我不知道。")
    group = parsed(made(corrected))[0]["group"]
    for split in ("train", "validation", "test"):
        assert {row["split"] for row in parsed(made(corrected, other, splits={group: split}))} == {split}
    later = thumb(5, "down", messages=[*(other.messages or ()), {"role": "assistant", "content": "?"},
                                       {"role": "user", "content": "快点"}])  # fmt: skip
    assert made(other, later, splits={group: "test"}).verdicts["fb-5"] == ("refused", "split_conflict")


def test_the_shortfall_counts_corrections_alone() -> None:
    corrected = [thumb(n, correction=f"第{n}号订单明天发货。", reason="no_run_yet") for n in range(100, 130)]
    alone = made(*corrected).shortfall
    assert alone and alone[0].startswith("30 accepted corrections")
    assert made(*corrected, *(thumb(n, "down") for n in range(90))).shortfall == alone


def test_the_card_counts_thumbs_apart_and_says_what_they_weigh() -> None:
    corrected = [thumb(n, correction=f"第{n}号订单明天发货。", reason="no_run_yet") for n in range(500, 560)]
    curation = made(*corrected, *(thumb(n, "up" if n % 5 else "down") for n in range(100)))
    card, plain = json.loads(curation.card), json.loads(made(*corrected).card)
    assert card["kinds"] == {"kto": 100, "sft": 60} and plain["kinds"] == {"sft": 60}
    for key in ("rows", "splits", "new", "new_by_split", "groups", "authors", "roles"):
        assert card[key] == plain[key]
    assert card["kto"]["trained_on"] is False
    rows = [row for row in parsed(curation) if row["kind"] == "kto"]
    for split, told in card["kto"]["splits"].items():
        for label, name in ((True, "desirable"), (False, "undesirable")):
            some = [row["weight"] for row in rows if row["split"] == split and row["label"] is label]
            assert told[name] == {"rows": len(some), "weight": pytest.approx(sum(some), abs=1e-3)}
        assert told["desirable"]["weight"] / told["undesirable"]["weight"] == pytest.approx(MOST_RATIO)


def test_the_order_of_the_rows_changes_nothing() -> None:
    rows = [thumb(n, "up" if n % 3 else "down", author=f"u{n % 4}") for n in range(30)]
    rows += [same(40, "up"), same(41, "down"), same(42, "down", correction="明天发货。", reason="no_run_yet")]
    one, other = made(*rows), made(*reversed(rows))
    assert (one.rows, one.card, one.verdicts) == (other.rows, other.card, other.verdicts)


def test_the_channels_own_terms_are_asked_of_what_was_liked() -> None:
    clean = Clean(blocked_terms=("还没有",), allow=("13812345678",))
    curation = made(thumb(1, "up"), thumb(2, "down"), thumb(3, "up", answer="请致电13812345678"), clean=clean)
    assert [curation.verdicts[f"fb-{n}"][1] for n in (1, 2, 3)] == ["blocked_term", None, None]
