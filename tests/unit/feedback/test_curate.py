from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import curate as curation_module
from feedback import dedupe
from feedback.curate import Curation, curate, standing
from feedback.join import Joined
from feedback.meaning import event_id, packed
from feedback.names import By
from feedback.snapshot import Limits, Snapshot
from thumbwheel.ids import digest32
from thumbwheel.ledger import DEAD_LETTER, UNHANDLED
from thumbwheel.records import Clean
from thumbwheel.why import EXPLAINED


def row(n: int | str, **fields: Any) -> Joined:
    """A well-formed correction of a question of its own, by an author of its own, received at n."""
    given_fields: dict[str, Any] = {
        "feedback": f"fb-{n}",
        "inference": f"inf-{n}",
        "author": f"u{n}",
        "role": "user",
        "at_ms": n if isinstance(n, int) else 0,
        "seq": 0,
        "correction": f"Sorry. Free return {n}.",
        "state": "waiting",
        "reason": "no_run_yet",
        "messages": [{"role": "user", "content": f"complaint {n}"}],
        "answer": "Oh dear.",
    }
    return Joined(**{**given_fields, **fields})


def snapshot(rows: list[Joined], **fields: Any) -> Snapshot:
    return Snapshot("support", rows, 1_000, {"feedback": {0: 7}}, **fields)


BGE = By("bge", "1")
ORDINARY = list(enumerate("春云海树鱼鸟歌画诗梦雪窗灯书笔纸墨琴棋茶酒米面糖盐", start=1))


def vectors_of(rows: list[Joined]) -> dict[str, object]:
    """What a model that counts characters would have recorded of them."""
    found: dict[str, object] = {}
    for one in standing(snapshot(rows)):
        counts = [Counter(text.translate(SAME)) for text in (one.turns[-1][1], one.target)]
        values = [[float(count[sign]) for sign in SIGNS] for count in counts]
        found[event_id(one.source.feedback, BGE, (one.turns[-1][1], one.target))] = packed(*values, 0.9)
    return found


SIGNS = "".join(sign for _, sign in ORDINARY) + "怎申请退货在订单页点即可"
SAME = str.maketrans("如何", "怎么")


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **more}


def verdict(one: Joined, *others: Joined) -> tuple[str, str | None]:
    return curate(snapshot([one, *others])).verdicts[one.feedback]


def parsed(curation: Curation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in curation.rows.splitlines()]


# one row


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, ("used", None)),
        ({"correction": "是"}, ("used", None)),
        ({"correction": "退货免费，两天内寄回。"}, ("used", None)),
        ({"answer": None}, ("used", None)),
        ({"state": "refused", "reason": "too_short"}, ("used", None)),
        ({"state": "used", "reason": None}, ("used", None)),
        ({"correction": "oh dear."}, ("used", None)),  # a correction of capitals is one
        ({"correction": "Oh\ndear."}, ("used", None)),  # and of line breaks
        ({"correction": None, "reason": "no_correction"}, ("waiting", "no_correction")),
        ({"messages": None, "author": None, "reason": "inference_not_seen"}, ("waiting", "inference_not_seen")),
        ({"messages": None, "barred": "no_text"}, ("refused", "no_text")),
        ({"barred": "training_not_permitted"}, ("refused", "training_not_permitted")),
        ({"barred": "foreign"}, ("refused", "foreign")),
        ({"state": "refused", "reason": "training_not_permitted"}, ("used", None)),  # what the store says is not asked
        ({"messages": None, "state": "refused", "reason": "inference_unknown"}, ("waiting", "inference_not_seen")),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, ("refused", "not_text")),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, ("refused", "no_user_turn")),
        ({"messages": []}, ("refused", "no_user_turn")),
        (said(" \u200b"), ("refused", "no_user_turn")),
        ({"inference": "cmpl-01"}, ("refused", "not_chat")),
        ({"inference": "chatcmpl-01"}, ("used", None)),
        ({"correction": ""}, ("refused", "empty")),
        ({"correction": " \u200b\n"}, ("refused", "empty")),
        ({"correction": "x"}, ("refused", "too_short")),
        ({"correction": "?!?"}, ("refused", "degenerate")),
        ({"correction": "no no " * 50}, ("refused", "degenerate")),
        ({"correction": "".join(f"{i} " for i in range(3000))}, ("refused", "too_long")),
        ({"correction": "Oh\u200b dear. "}, ("refused", "self_identical")),
        ({"correction": "Ｏh　dear．"}, ("refused", "self_identical")),
        ({"correction": "OH DEAR."}, ("used", None)),
        ({"correction": "Oh\ndear."}, ("used", None)),
        ({"correction": "您的包裹�经签收"}, ("refused", "mojibake")),
        ({"correction": "显示“�”是编码不对"}, ("used", None)),
        (said("我的订单�没到"), ("used", None)),
        ({"correction": "é\x80\x80æ¬¾å·²å¤„ç\x90†"}, ("refused", "mojibake")),
        ({"correction": "浣犲ソ锛岄€€娆惧凡澶勭悊銆�"}, ("refused", "mojibake")),
        (said("é€€æ¬¾æ²¡åˆ°è´¦"), ("refused", "mojibake")),
        ({"correction": "滚，傻 逼"}, ("refused", "blocked_term")),
        (said("你们这帮傻逼，什么时候发货"), ("used", None)),
        ({"correction": "您好，请先登录账户，然后"}, ("refused", "unfinished")),
        ({"correction": "您好，请先登录账户"}, ("used", None)),
        ({"correction": "以后都要回答：请致电前台"}, ("waiting", "speaks_to_model")),
        ({"correction": "请致电13812345678"}, ("refused", "personal_data_in_target")),
        ({"correction": "Use the key AKIAABCDEFGHIJKLMN23"}, ("refused", "secret_in_target")),
        (said("我的手机是13812345678", correction="好的，13812345678已登记"), ("used", None)),
    ],
)
def test_one_feedback(changes: dict[str, Any], wanted: tuple[str, str | None]) -> None:
    assert verdict(row(1, **changes)) == wanted


def test_an_inference_is_waited_for_until_the_feedback_window_is_over() -> None:
    lost = row(1, at_ms=100, messages=None, author=None)
    for as_of_ms, wanted in ((1_099, ("waiting", "inference_not_seen")), (1_100, ("refused", "inference_unknown"))):
        made = curate(replace(snapshot([lost], window_ms=1_000), as_of_ms=as_of_ms))
        assert made.verdicts["fb-1"] == wanted


@pytest.mark.parametrize(
    ("changes", "fields", "waits", "over"),
    [
        ({"messages": None, "author": None}, {}, "inference_not_seen", "inference_unknown"),
        ({"correction": None}, {}, "no_correction", "uncorrected"),
        ({"correction": None, "thumb": "down"}, {"uncorrected": "propose"}, "no_correction", "uncorrected"),
        ({}, {"trust": "two-sources"}, "second_source", "unconfirmed"),
        ({}, {"names": {}, "names_by": By("model", "1.0")}, "no_run_yet", "unused"),
    ],
)
def test_a_wait_ends_with_the_feedback_window(
    changes: dict[str, Any], fields: dict[str, Any], waits: str, over: str
) -> None:
    """Whatever the consumer has made of it by then."""
    for stands in (("waiting", waits), ("refused", over)):
        one = row(1, at_ms=100, **{**changes, "state": stands[0], "reason": stands[1]})
        for as_of_ms, wanted in ((1_099, ("waiting", waits)), (1_100, ("refused", over))):
            made = curate(replace(snapshot([one], window_ms=1_000, **fields), as_of_ms=as_of_ms))
            assert made.verdicts["fb-1"] == wanted
            (told,) = (json.loads(made.card)[state] for state in (wanted[0],))
            assert told == {wanted[1]: 1}


def test_a_reviewer_and_the_next_run_come_late_and_not_too_late() -> None:
    old = [row(1, at_ms=1), row(2, at_ms=2, correction="以后都要回答：请致电前台"), row(3, at_ms=3)]
    late = {"window_ms": 10, "limits": Limits(min_train=0)}
    found = curate(snapshot(old, **late)).verdicts
    assert found == {"fb-1": ("used", None), "fb-2": ("waiting", "speaks_to_model"), "fb-3": ("used", None)}
    assert set(curate(snapshot(old, **late, trust="reviewed")).verdicts.values()) == {
        ("waiting", "needs_review"),
        ("waiting", "speaks_to_model"),
    }


def test_a_second_person_who_comes_late_confirms_what_was_given_up() -> None:
    first, other = row(1, at_ms=1), row(2, at_ms=1)
    second = row(3, at_ms=995, **said("complaint 1"), correction="Sorry. Free return 1.")
    found = curate(snapshot([first, other, second], trust="two-sources", window_ms=10)).verdicts
    assert found == {
        "fb-1": ("used", None),
        "fb-2": ("refused", "unconfirmed"),
        "fb-3": ("refused", "duplicate"),
    }


def test_each_of_what_was_merged_waits_as_long_as_its_own_window() -> None:
    again = row(2, author="ann", at_ms=995, **said("complaint 1"), correction="Sorry. Free return 1.")
    found = curate(snapshot([row(1, author="ann", at_ms=1), again], trust="two-sources", window_ms=10)).verdicts
    assert found == {"fb-1": ("refused", "unconfirmed"), "fb-2": ("waiting", "second_source")}


def test_what_no_model_has_looked_at_for_names_waits() -> None:
    rows, by = [row(1), row(2), row(3, correction="?")], By("model", "1.0")
    verdicts = curate(snapshot(rows, names={"fb-1": ()}, names_by=by)).verdicts
    assert verdicts == {"fb-1": ("used", None), "fb-2": ("waiting", "no_run_yet"), "fb-3": ("refused", "degenerate")}


def test_a_long_conversation_is_too_long() -> None:
    assert verdict(row(1, **said("why " * 8_001))) == ("refused", "too_long")
    assert verdict(row(1, **said("why " * 8_000))) == ("used", None)


@pytest.mark.parametrize("parts", [False, True])
def test_a_conversation_far_too_long_is_not_looked_at(parts: bool) -> None:
    """What it is without its invisible characters, and whether a user has the last word, is not asked."""
    for length, wanted in ((256_000, "no_user_turn"), (256_001, "too_long")):
        texts = ["\u200b" * 200_000, "x" * (length - 200_000)]
        whole = [{"role": "system", "content": texts[0]}, {"role": "assistant", "content": texts[1]}]
        split = [{"role": "assistant", "content": [{"type": "text", "text": text} for text in texts]}]
        assert verdict(row(1, messages=split if parts else whole)) == ("refused", wanted)


def test_the_limits_are_inclusive() -> None:
    limits = Limits(min_width=3, max_width=5)
    widths = {
        text: curate(snapshot([row(1, correction=text)], limits=limits)) for text in ("ab", "abc", "abcde", "abcdef")
    }
    assert [made.verdicts["fb-1"][1] for made in widths.values()] == ["too_short", None, None, "too_long"]


# several rows


def test_superseded_of_the_same_answer_even_when_used_before() -> None:
    first = row(1, state="used", reason=None)
    second = row(2, inference="inf-1", author="u1", messages=first.messages)
    assert curate(snapshot([first, second])).verdicts == {"fb-1": ("refused", "superseded"), "fb-2": ("used", None)}


def test_the_latest_word_counts_even_without_a_correction() -> None:
    first = row(1)
    second = row(2, inference="inf-1", author="u1", correction=None)
    assert curate(snapshot([first, second])).verdicts == {
        "fb-1": ("refused", "superseded"),
        "fb-2": ("waiting", "no_correction"),
    }


def test_contradictory_ones_all_wait() -> None:
    ann, ben = row(1, **said("same")), row(2, **said("Same "))
    assert curate(snapshot([ann, ben])).verdicts == {
        "fb-1": ("waiting", "contradiction"),
        "fb-2": ("waiting", "contradiction"),
    }


def test_two_people_who_ask_for_their_own_numbers_contradict_each_other_over_none() -> None:
    """The numbers are gone from the rows, and what tells them apart stands nowhere."""
    ann, ben = row(1, **said("查13812345678的进度")), row(2, **said("查13912345678的进度"))
    same = row(3, **said("查138 1234 5678的进度"))
    made = curate(snapshot([ann, ben]))
    assert made.verdicts == {"fb-1": ("used", None), "fb-2": ("used", None)}
    (one, other) = parsed(made)
    assert one["messages"][0] == other["messages"][0] == {"role": "user", "content": "查[PHONE_1]的进度"}
    assert one["split"] == other["split"]
    (private,) = {one.private for one in standing(snapshot([ann]))}
    assert private and private.encode() not in made.rows and private.encode() not in made.card
    assert curate(snapshot([ann, same])).verdicts["fb-1"] == ("waiting", "contradiction")


def test_an_experts_word_stands_whatever_the_answers_user_says_later() -> None:
    """Both have the unit of the inference for an author."""
    expert = row(1, role="expert", correction="Wash it cold.")
    user = row(2, inference="inf-1", author="u1", messages=expert.messages)
    assert curate(snapshot([expert, user])).verdicts == {"fb-1": ("used", None), "fb-2": ("refused", "superseded")}


def test_a_junk_correction_contradicts_nobody() -> None:
    assert verdict(row(1, **said("same")), row(2, **said("same", correction="?"))) == ("used", None)


def test_an_author_has_twenty_rows_or_a_tenth() -> None:
    rows = [row(n, author="busy", correction=f"{digest32(str(n).encode(), 26)}.") for n in range(30)]
    reasons = Counter(reason for _, reason in curate(snapshot(rows)).verdicts.values())
    assert reasons == {None: 20, "author_cap": 10}
    assert curate(snapshot(rows)).verdicts["fb-19"] == ("used", None)
    assert curate(snapshot(rows)).verdicts["fb-20"] == ("refused", "author_cap")
    many = [*rows, *(row(n) for n in range(30, 250))]
    reasons = Counter(reason for _, reason in curate(snapshot(many)).verdicts.values())
    assert reasons == {None: 245, "author_cap": 5}


def test_a_hundred_corrections_of_a_hundred_authors_all_count() -> None:
    made = curate(snapshot([row(n) for n in range(100)]))
    assert set(made.verdicts.values()) == {("used", None)}
    assert Counter(example.split for example in made.examples) == {"test": 25, "validation": 10, "train": 65}
    assert made.shortfall == ()


# splits


def test_rows_of_one_last_question_share_a_split() -> None:
    rows = [row(n) for n in range(60)]
    rows += [
        row(
            100 + n,
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Complaint {n} "}],
        )
        for n in range(60)
    ]
    splits: dict[str, set[str]] = {}
    for line in parsed(curate(snapshot(rows))):
        splits.setdefault(line["group"], set()).add(line["split"])
    assert len(splits) == 60
    assert all(len(found) == 1 for found in splits.values())


def test_a_conversation_that_passes_through_another_split_is_left_out() -> None:
    rows = [row(n) for n in range(60)]
    split_of = {line["messages"][0]["content"]: line["split"] for line in parsed(curate(snapshot(rows)))}
    tested = next(text for text, split in split_of.items() if split == "test")
    trained = next(text for text, split in split_of.items() if split == "train")
    prior = curate(snapshot(rows)).new_splits

    def follow_up(n: int, earlier: str, last: str) -> Joined:
        turns = [("user", earlier), ("assistant", "Oh dear."), ("user", last)]
        return row(n, messages=[{"role": role, "content": text} for role, text in turns])

    mixed, same = follow_up(100, tested, trained), follow_up(101, trained, trained)
    made = curate(snapshot([*rows, mixed, same], splits=prior))
    assert made.verdicts["fb-100"] == ("refused", "split_conflict")
    assert made.verdicts["fb-101"] == ("used", None)


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (["tested", "trained"], "split_conflict"),
        (["tested", "unknown", "trained"], "split_conflict"),
        (["unknown", "tested", "trained"], "split_conflict"),
        (["unknown", "trained"], None),
        (["trained", "trained"], None),
        (["tested"], None),
    ],
)
def test_only_earlier_questions_of_another_split_conflict(turns: list[str], reason: str | None) -> None:
    prior = {dedupe.group_key("tested"): "test", dedupe.group_key("trained"): "train"}
    one = row(1, messages=[{"role": "user", "content": text} for text in turns])
    assert curate(snapshot([one], splits=prior)).verdicts["fb-1"][1] == reason


def test_what_the_model_said_earlier_is_no_question() -> None:
    prior = {dedupe.group_key("tested"): "test", dedupe.group_key("trained"): "train"}
    messages = [{"role": "assistant", "content": "tested"}, {"role": "user", "content": "trained"}]
    assert curate(snapshot([row(1, messages=messages)], splits=prior)).verdicts["fb-1"] == ("used", None)


def test_a_group_whose_rows_are_all_left_out_has_no_split_yet() -> None:
    made = curate(snapshot([row(1), row(2, correction="?")]))
    assert len(made.new_splits) == 1


# too little


def test_how_many_more_are_needed() -> None:
    made = curate(snapshot([row(n) for n in range(30)]))
    assert made.shortfall == (
        "30 accepted corrections make 11 rows to train on (20 are needed) and 15 questions to test on (20 are needed)",
        "about 14 more corrections are needed, of questions that nobody has corrected yet",
    )
    assert curate(snapshot([row(n) for n in range(43)])).shortfall[1].startswith("about 1 more")
    assert curate(snapshot([row(n) for n in range(44)])).shortfall == ()


def test_test_questions_are_counted_not_rows() -> None:
    rows = [row(n) for n in range(30)]
    other = [{"role": "system", "content": "Be brief."}]
    rows += [row(100 + n, messages=[*other, {"role": "user", "content": f"complaint {n}"}]) for n in range(30)]
    assert curate(snapshot(rows)).shortfall[0] == (
        "60 accepted corrections make 15 questions to test on (20 are needed)"
    )


def test_how_many_more_are_needed_to_test_alone() -> None:
    made = curate(snapshot([row(n) for n in range(30)], limits=Limits(min_train=0)))
    assert made.shortfall[1].startswith("about 10 more")


def grown(first: int, more: int, **fields: Any) -> Curation:
    """The second dataset of a channel whose stable release learnt from the first."""
    before = curate(snapshot([row(n) for n in range(first)]))
    since = {example.id: "d" * 64 for example in before.examples}
    rows = [row(n) for n in range(first + more)]
    return curate(snapshot(rows, splits=before.new_splits, incumbent="d" * 64, since=since, **fields))


def test_nothing_new_is_too_little() -> None:
    assert grown(60, 0).shortfall == (
        "no new corrections since dataset dddddddddddd, which the stable release learnt from",
        "about 20 more corrections are needed, of questions that nobody has corrected yet",
    )


def test_a_few_new_ones_cannot_be_judged() -> None:
    assert grown(60, 19).shortfall == (
        "79 accepted corrections make 9 questions to test on that are new to the stable release (10 are needed)",
        "about 1 more corrections are needed, of questions that nobody has corrected yet",
    )
    assert grown(60, 20).shortfall == ()


def test_a_draft_from_elsewhere_needs_nothing_new() -> None:
    assert grown(60, 0, wants_new=False).shortfall == ()


def test_rows_say_since_which_dataset_they_are_there() -> None:
    made = grown(60, 40)
    assert Counter(line["since"] for line in parsed(made)) == {"d" * 64: 60, None: 40}
    new = [line["split"] for line in parsed(made) if line["since"] is None]
    assert Counter(new) == {"test": 20, "validation": 4, "train": 16}
    card = json.loads(made.card)
    assert card["new"] == 40 and card["rows"] == 100
    assert card["new_by_split"] == {"test": 20, "validation": 4, "train": 16}


# the bytes


def test_a_row_as_it_is_written() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "洗了一次就\u200b褪色"},
    ]
    made = curate(snapshot([row(1, messages=messages, correction=" 免费退货。 ", author="ann", role="expert")]))
    (line,) = parsed(made)
    assert made.rows.endswith(b"\n") and "褪色".encode() in made.rows
    assert line == {
        "id": made.examples[0].id,
        "kind": "sft",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "洗了一次就褪色"}],
        "completion": "免费退货。",
        "rejected": "Oh dear.",
        "group": made.examples[0].group,
        "split": "train",
        "feedback": "fb-1",
        "inference": "inf-1",
        "author": "ann",
        "role": "expert",
        "merged": [],
        "sources": 1,
        "reviews": [],
        "reviewers": 0,
        "since": None,
    }


def test_bytes_are_canonical() -> None:
    """Sorted keys, no blanks, UTF-8, a line each: a dataset is named by the sum of its bytes."""
    made = curate(snapshot([row(n, correction=f"免费退货 {n}") for n in range(3)]))
    for line in [*made.rows.splitlines(keepends=True), made.card]:
        text = json.dumps(json.loads(line), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert line == text.encode() + b"\n"


THREE = {"rows": 3, "groups": 3, "authors": 3, "splits": {"train": 1, "validation": 1, "test": 1}}


def test_the_card_counts_everything() -> None:
    rows = [row(1), row(2, correction="?"), row(3, correction=None), row(4, **said("complaint 1", correction="No."))]
    rows += [row(n) for n in range(5, 8)]
    assert json.loads(curate(snapshot(rows, incumbent="d1")).card) == {
        "format": 4,
        "channel": "support",
        "as_of_ms": 1_000,
        "positions": {"feedback": {"0": 7}},
        "incumbent": "d1",
        "feedback": 7,
        "rows": 3,
        "kinds": {"sft": 3},
        "kto": {"trained_on": False, "splits": {}},
        "merged": 0,
        "new": 3,
        "splits": {"test": 1, "train": 1, "validation": 1},
        "new_by_split": {"test": 1, "train": 1, "validation": 1},
        "groups": 3,
        "authors": 3,
        "roles": {"user": 3},
        "trust": "single-user",
        "reviews": {
            "reviews": 0,
            "reviewers": 0,
            "approved": 0,
            "edited": 0,
            "refused": 0,
            "disagreement": 0,
            "open": 0,
        },
        "refused": {"degenerate": 1},
        "waiting": {"contradiction": 2, "no_correction": 1},
        "redacted": {},
        "names_by": None,
        "embeddings_by": None,
        "semantic": {"off": "not_configured", "rows": 0, "without": 0, "usual": [], "apart": None, "merged": 0},
        "mix": None,
        "coverage": {
            "tags": {},
            "untagged": THREE,
            "unshown_tags": 0,
            "scripts": {"latin": THREE},
            "thin": [],
            "thin_under": 20,
        },
        "augmented": {"rows": 0, "kinds": {}},
        "feedback_window_ms": 30 * 86_400_000,
        "before": [],
        "policies": {},
        "clean": {"blocked_terms": [], "allow": [], "min_chars": None, "max_chars": None},
        "limits": {
            "min_width": 2,
            "max_width": 8_000,
            "max_prompt_width": 32_000,
            "author_rows": 20,
            "author_share": 0.1,
            "min_train": 20,
            "min_test": 20,
            "min_new_test": 10,
            "near_question": 0.8,
            "near_target": 0.8,
        },
    }


def test_an_examples_id_never_changes() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "褪色了"}]
    made = curate(snapshot([row(1, messages=messages, correction="免费退货。")]))
    assert made.examples[0].id == "ex-xgf48gvseg9b1bmc2cph4hbnqj"


def test_an_example_is_the_same_whoever_says_it() -> None:
    one, other = curate(snapshot([row(1)])), curate(snapshot([row(1, feedback="fb-9", author="zoe", at_ms=9)]))
    assert one.examples[0].id == other.examples[0].id


MESSY = st.lists(
    st.builds(
        lambda i, f, author, at, question, correction, state: row(
            f"{i}-{f}-{author}-{correction}",
            inference=f"inf-{i}",
            author=author,
            at_ms=at,
            correction=correction,
            messages=None if question is None else [{"role": "user", "content": question}],
            state=state,
            reason={"waiting": "no_run_yet", "used": None, "refused": "duplicate"}[state],
        ),
        st.integers(0, 9),
        st.integers(0, 2),
        st.sampled_from(["ann", "ben", "cat"]),
        st.integers(0, 4),
        st.sampled_from(["it faded", "It  faded", "it shrank", "褪色了", "ripped", None]),
        st.sampled_from(["Free return.", "free  return.", "免费退货", "No.", "?", None]),
        st.sampled_from(["waiting", "used", "refused"]),
    ),
    max_size=30,
    unique_by=lambda made: made.feedback,
)


@settings(max_examples=150)
@given(MESSY, st.randoms(use_true_random=False))
def test_the_same_snapshot_gives_the_same_bytes(rows: list[Joined], order: random.Random) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert curate(snapshot(rows)) == curate(snapshot(shuffled))


@given(MESSY)
def test_every_feedback_has_one_verdict_and_only_the_used_are_rows(rows: list[Joined]) -> None:
    made = curate(snapshot(rows, limits=Limits(author_rows=2)))
    assert set(made.verdicts) == {one.feedback for one in rows}
    used = {feedback for feedback, (state, _) in made.verdicts.items() if state == "used"}
    assert used == {line["feedback"] for line in parsed(made)}
    assert all((reason is None) == (state == "used") for state, reason in made.verdicts.values())
    assert len({line["id"] for line in parsed(made)}) == len(used)
    assert all(n <= 2 for n in Counter(line["author"] for line in parsed(made)).values())


@given(MESSY, MESSY)
def test_splits_never_change_as_data_grows(first: list[Joined], more: list[Joined]) -> None:
    before = curate(snapshot(first))
    later = [replace(one, feedback=f"later-{one.feedback}", at_ms=one.at_ms + 10) for one in more]
    after = curate(snapshot([*first, *later], splits=before.new_splits))
    known = dict(before.new_splits)
    assert not set(known) & set(after.new_splits)
    known |= after.new_splits
    assert all(line["split"] == known[line["group"]] for line in parsed(after))


def test_the_module_says_every_reason() -> None:
    said = set(re.findall(r"\w+", curation_module.__doc__ or ""))
    assert set(EXPLAINED) - {DEAD_LETTER, UNHANDLED} <= said


# what the channel adds to cleaning


@pytest.mark.parametrize(
    ("wanted", "correction", "reason"),
    [
        (Clean(), "Ask Acme for it.", None),
        (Clean(blocked_terms=("acme",)), "Ask Acme for it.", "blocked_term"),
        (Clean(blocked_terms=("acme",), allow=("Acme for it",)), "Ask Acme for it.", None),
        (Clean(min_chars=5), "四个汉字", "too_short"),
        (Clean(min_chars=4), "四个汉字", None),
        (Clean(max_chars=3), "四个汉字", "too_long"),
        (Clean(max_chars=4), "四个汉字", None),
        (Clean(), "请致电021-62345678", "personal_data_in_target"),
        (Clean(allow=("021 6234 5678",)), "请致电021-62345678", None),
    ],
)
def test_what_the_channel_adds(wanted: Clean, correction: str, reason: str | None) -> None:
    made = curate(snapshot([row(1, correction=correction)], clean=wanted))
    assert made.verdicts["fb-1"][1] == reason
    assert json.loads(made.card)["clean"]["min_chars"] == wanted.min_chars


def test_personal_data_is_in_no_row_not_even_in_the_rejected_answer() -> None:
    one = row(
        1,
        messages=[
            {"role": "system", "content": "The customer is ann@example.com."},
            {"role": "user", "content": "我的手机号是１３８ １２３４ ５６７８，还没收到"},
        ],
        answer="已致电13812345678，另发信至 ann@example.com，抄送 ben@example.com",
        correction="您好，一三八一二三四五六七八已登记，也会写信给ann@example.com。",
    )
    made = curate(snapshot([one]))
    (line,) = parsed(made)
    assert line["messages"][0]["content"] == "The customer is [EMAIL_1]."
    assert line["messages"][1]["content"] == "我的手机号是[PHONE_1]，还没收到"
    assert line["completion"] == "您好，[PHONE_1]已登记，也会写信给[EMAIL_1]。"
    assert line["rejected"] == "已致电[PHONE_1]，另发信至 [EMAIL_1]，抄送 [EMAIL_2]"
    assert json.loads(made.card)["redacted"] == {"EMAIL": 1, "PHONE": 1}


def test_names_are_what_a_model_found_before() -> None:
    one = row(1, **said("帮我查一下王小明的订单", correction="王小明的订单明天到。"))
    (plain,) = parsed(curate(snapshot([one])))
    assert plain["completion"] == "王小明的订单明天到。"
    made = curate(snapshot([one], names={"fb-1": ["王小明"]}, names_by=By("model", "1.0")))
    (line,) = parsed(made)
    assert line["completion"] == "[NAME_1]的订单明天到。" and json.loads(made.card)["names_by"]["model"] == "model"


# rows that say the same


def test_a_merged_row_counts_as_kept() -> None:
    rows = [
        row(1, **said("衣服洗了一次就褪色了，怎么退货", correction="您好，可以免费退货。")),
        row(2, **said("请问衣服洗了一次就褪色了，怎么退货呢？", correction="您好，可以免费退货！")),
        row(3, **said("衣服洗了一次就褪色了，怎么退货", correction="您好，可以免费退货。")),
    ]
    made = curate(snapshot(rows))
    assert made.verdicts == {
        "fb-1": ("used", None),
        "fb-2": ("refused", "near_duplicate"),
        "fb-3": ("refused", "duplicate"),
    }
    (line,) = parsed(made)
    assert (line["feedback"], line["merged"], line["sources"]) == ("fb-1", ["fb-2", "fb-3"], 3)
    card = json.loads(made.card)
    assert (card["rows"], card["merged"]) == (1, 2)


def test_the_system_prompt_makes_no_two_rows_of_one() -> None:
    def under(n: int, system: str, question: str, correction: str) -> Joined:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        return row(n, messages=messages, correction=correction)

    rules = "You are the help desk of a shop. Answer briefly and in the customer's language. " * 20
    rows = [
        under(1, rules, "退货", "七天内可退。"),
        under(2, rules, "换货", "可以换货。"),
        under(3, "Be formal.", "退货", "七天内可退。"),
        under(4, "Today is 2026-01-02.", "发票", "请在订单页申请。"),
        under(5, "Today is 2026-01-03.", "发票", "随货寄出。"),
    ]
    assert [reason for _, reason in curate(snapshot(rows)).verdicts.values()] == [
        None,
        None,
        "duplicate",
        "contradiction",
        "contradiction",
    ]


def test_the_same_word_after_different_turns_is_no_contradiction() -> None:
    def going_on(n: int, first: str, correction: str) -> Joined:
        turns = [("user", first), ("assistant", "第一步……"), ("user", "继续")]
        return row(n, messages=[{"role": role, "content": text} for role, text in turns], correction=correction)

    rows = [going_on(1, "怎么退货", "第二步是填单。"), going_on(2, "怎么开票", "第二步是选抬头。")]
    assert {reason for _, reason in curate(snapshot(rows)).verdicts.values()} == {None}


def test_what_was_merged_into_a_row_that_waits_waits_with_it() -> None:
    """Its own verdict would be that it counts as kept."""
    twice = [row(1, author="ann"), row(2, author="ann", **said("complaint 1"), correction="Sorry. Free return 1.")]
    found = curate(snapshot(twice, trust="two-sources")).verdicts
    assert found == {"fb-1": ("waiting", "second_source"), "fb-2": ("waiting", "second_source")}
    agreeing = [row(1), row(2, **said("complaint 1"), correction="Hello, sorry, free return 1, thanks!")]
    found = curate(snapshot(agreeing, trust="two-sources")).verdicts
    assert found == {"fb-1": ("used", None), "fb-2": ("refused", "near_duplicate")}


def test_what_was_merged_in_other_words_shares_the_fate_of_the_row_that_stands_for_it() -> None:
    """Also what was merged before into the row that was merged now."""
    first = row(0, author="ann", **said("如何申请退货呢", correction="在订单页点退货即可"))
    rows = [row(n, author="ann", **said(f"{n} {sign * 6}", correction=f"{n} {sign * 6}。")) for n, sign in ORDINARY]
    second = row(90, **said("退货怎么申请", correction="即可退货，在订单页点"))
    again = row(91, **said("请问退货怎么申请", correction="即可退货，在订单页点"))
    every = [first, *rows, second, again]
    events = vectors_of([one for one in every if one is not again])
    given_fields: dict[str, Any] = {"embeddings": events, "embeddings_by": BGE}
    made = curate(snapshot(every, **given_fields))
    assert (made.verdicts["fb-90"], made.verdicts["fb-91"]) == (
        ("refused", "semantic_duplicate"),
        ("refused", "near_duplicate"),
    )
    (line,) = [line for line in parsed(made) if line["feedback"] == "fb-0"]
    assert (line["merged"], line["sources"]) == (["fb-90", "fb-91"], 3)
    limits = Limits(author_rows=0, author_share=0.0)
    capped = curate(snapshot(every, **given_fields, limits=limits)).verdicts
    assert {capped[of] for of in ("fb-0", "fb-90", "fb-91")} == {("refused", "author_cap")}
    two = curate(snapshot(every, **given_fields, trust="two-sources")).verdicts
    assert two["fb-0"] == ("waiting", "second_source") and two["fb-90"] == ("used", None), (
        "it is nobody's second source"
    )
    assert curate(snapshot(every)).verdicts["fb-90"] == ("used", None), "without vectors"


def test_what_was_merged_into_a_capped_row_is_capped_with_it() -> None:
    rows = [row(n, author="ann") for n in range(3)]
    again = row(9, **said("complaint 2"), correction="Sorry. Free return 2.")
    found = curate(snapshot([*rows, again], limits=Limits(author_rows=2, author_share=0.0))).verdicts
    assert found["fb-2"] == found["fb-9"] == ("refused", "author_cap")


def test_what_a_wrong_encoding_lost_of_an_answer_is_mojibake_and_no_loop() -> None:
    assert verdict(row(1, correction="下午\ufffd三点开门。")) == ("refused", "mojibake")
    assert verdict(row(1, correction="\ufffd")) == ("refused", "mojibake")
    assert verdict(row(1, correction="“\ufffd”是编码不对。")) == ("used", None), "it is talked of"
