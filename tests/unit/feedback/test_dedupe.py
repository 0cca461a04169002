from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from feedback.dedupe import Proposal, contest_key, conversation_key, group_key, resolve, target_key
from feedback.join import Joined


def proposal(feedback: str, author: str, question: str, target: str, at_ms: int = 0) -> Proposal:
    source = Joined(feedback, f"i-{feedback}", author, "user", at_ms, 0, target, "waiting", None, None, None)
    return Proposal(source, (("user", question),), target)


def resolved(*proposals: Proposal) -> tuple[list[str], dict[str, str]]:
    kept, refused = resolve(proposals)
    return [one.source.feedback for one in kept], refused


def test_of_equal_corrections_the_first_received_stays() -> None:
    assert resolved(
        proposal("b", "ben", "it  FADED", "Free return.", at_ms=1),
        proposal("a", "ann", "it faded", "free return.", at_ms=2),
    ) == (["b"], {"a": "duplicate"})


def test_two_authors_who_want_different_answers_are_both_refused() -> None:
    assert resolved(
        proposal("a", "ann", "it faded", "Free return."),
        proposal("b", "ben", "it faded", "Buy another."),
        proposal("c", "cat", "it faded", "Free return."),
        proposal("d", "dan", "it shrank", "Free return."),
    ) == (["d"], {"a": "contradiction", "b": "contradiction", "c": "contradiction"})


def test_an_author_may_change_their_mind_about_the_same_conversation() -> None:
    assert resolved(
        proposal("a", "ann", "it faded", "Buy another.", at_ms=1),
        proposal("b", "ann", "it faded", "Free return.", at_ms=2),
    ) == (["b"], {"a": "superseded"})


def by_expert(*fields: Any, **more: Any) -> Proposal:
    one = proposal(*fields, **more)
    return replace(one, source=replace(one.source, role="expert"))


def test_the_latest_expert_ends_a_contradiction() -> None:
    ann, ben = proposal("a", "ann", "it faded", "Free return."), proposal("b", "ben", "it faded", "Buy another.")
    cat, dan = by_expert("c", "cat", "it faded", "Wash it cold."), by_expert("d", "dan", "it faded", "buy another.")
    assert resolved(ann, ben, cat) == (["c"], {"a": "superseded", "b": "superseded"})
    assert resolved(ann, ben, cat, dan) == (["b"], {"a": "superseded", "c": "superseded", "d": "duplicate"})
    late = proposal("z", "cat", "it faded", "Free return.", at_ms=9)  # nobody overrules an expert, not by their name
    assert resolved(cat, late) == (["c"], {"z": "superseded"})


def test_a_merged_row_says_who_said_it_and_as_what() -> None:
    (kept,), _ = resolve([proposal("a", "ann", "it faded", "Yes."), by_expert("b", "ann", "it faded", "Yes.", at_ms=1)])
    assert kept.voices == (("ann", "expert"), ("ann", "user"))
    assert (kept.sources, kept.role, kept.source.role) == ({"ann"}, "expert", "user")


def test_a_changed_mind_ends_a_contradiction() -> None:
    assert resolved(
        proposal("a", "ann", "it faded", "Buy another.", at_ms=1),
        proposal("b", "ben", "it faded", "Free return.", at_ms=2),
        proposal("c", "ann", "it faded", "Free return.", at_ms=3),
    ) == (["b"], {"a": "superseded", "c": "duplicate"})


def test_a_mind_changed_back_keeps_the_first() -> None:
    assert resolved(
        proposal("a", "ann", "it faded", "Free return.", at_ms=1),
        proposal("b", "ann", "it faded", "Buy another.", at_ms=2),
        proposal("c", "ann", "it faded", "Free return.", at_ms=3),
    ) == (["a"], {"b": "superseded", "c": "duplicate"})


def test_another_system_prompt_is_another_conversation() -> None:
    assert conversation_key([("system", "a"), ("user", "b")]) != conversation_key([("user", "b")])
    assert conversation_key([("user", "a"), ("user", "b")]) != conversation_key([("user", 'a", "user", "b')])


def test_keys_are_of_their_own_kind() -> None:
    assert len({conversation_key([("user", "a")]), target_key("a"), group_key("a")}) == 3


def test_keys_never_change() -> None:
    """Splits and examples of datasets that exist are found by these: another value would move rows between splits."""
    assert conversation_key([("system", "Be brief."), ("user", "褪色了")]) == "5mfpm8ndq61y402mhpez4624ph"
    assert target_key("免费退货。") == "snjnzy93345xnwj0stqem4ddwn"
    assert group_key("褪色了") == "dcttwjkj42f1r643z3x40z8z9r"


# the same answer in other words of courtesy


def test_a_politer_answer_is_no_contradiction_and_a_second_voice() -> None:
    ann = proposal("a", "ann", "洗衣机几点开", "早上九点开，晚上十点关。", at_ms=1)
    ben = proposal("b", "ben", "洗衣机几点开", "您好，早上九点开，晚上十点关，谢谢！", at_ms=2)
    (kept,), refused = resolve([ben, ann])
    assert (kept.source.feedback, kept.sources, kept.merged) == ("a", {"ann", "ben"}, ("b",))
    assert refused == {"b": "near_duplicate"}


def test_two_voices_still_contradict_a_third() -> None:
    rows = [
        proposal("a", "ann", "几点开", "早上九点开。", at_ms=1),
        proposal("b", "ben", "几点开", "您好，早上九点开哦。", at_ms=2),
        proposal("c", "cat", "几点开", "早上十点开。", at_ms=3),
    ]
    assert resolved(*rows) == ([], dict.fromkeys("abc", "contradiction"))
    expert = by_expert("x", "eve", "几点开", "早上9点开", at_ms=4)
    assert resolved(*rows, expert) == (["x"], {"a": "near_duplicate", "b": "near_duplicate", "c": "superseded"})
    other = by_expert("x", "eve", "几点开", "请早上十点开。", at_ms=4)
    assert resolved(*rows, other) == (["x"], {"a": "superseded", "b": "superseded", "c": "near_duplicate"})


def test_an_authors_last_wording_stands() -> None:
    assert resolved(
        proposal("a", "ann", "几点开", "早上九点开。", at_ms=1),
        proposal("b", "ann", "几点开", "您好，早上九点开。", at_ms=2),
    ) == (["b"], {"a": "superseded"})


def test_what_reviewers_decided_last_stands_in_their_words() -> None:
    first = replace(proposal("a", "ann", "几点开", "早上九点开。", at_ms=1), decided=(5, "rv-1"))
    last = replace(proposal("b", "ben", "几点开", "您好，早上九点开。", at_ms=2), decided=(6, "rv-2"))
    assert resolved(first, last) == (["b"], {"a": "near_duplicate"})


WORDINGS = ("九点开。", "您好，九点开", "9点开哦", "九點開！", "十点开。", "您好，十点开。", "不开。")


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(WORDINGS), st.booleans()), max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_makes_no_difference(said: list[tuple[str, str, bool]], draw: random.Random) -> None:
    rows = [
        (by_expert if expert else proposal)(f"f{at}", author, "几点开", target, at_ms=at)
        for at, (author, target, expert) in enumerate(said)
    ]
    mixed = draw.sample(rows, len(rows))
    assert resolve(mixed) == resolve(rows)
    assert {one.source.feedback for one in resolve(rows)[0]}.isdisjoint(resolve(rows)[1])
    assert len(resolve(rows)[0]) + len(resolve(rows)[1]) == len(rows)


# the same words about other personal data


def of(one: Proposal, private: str) -> Proposal:
    return replace(one, private=private)


def test_answers_to_strangers_do_not_contradict_each_other() -> None:
    ann = proposal("a", "ann", "查[PHONE_1]的进度", "明天有结果。", at_ms=1)
    ben = proposal("b", "ben", "查[PHONE_1]的进度", "已经退回。", at_ms=2)
    assert resolved(of(ann, "one"), of(ben, "other")) == (["a", "b"], {})
    assert resolved(of(ann, "one"), of(ben, "one")) == ([], dict.fromkeys("ab", "contradiction"))


def test_the_same_answer_to_strangers_is_one_row_and_one_group() -> None:
    ann = of(proposal("a", "ann", "改成[PHONE_1]", "改好了。", at_ms=1), "one")
    ben = of(proposal("b", "ben", "改成[PHONE_1]", "改好了。", at_ms=2), "other")
    assert resolved(ann, ben) == (["a"], {"b": "duplicate"})
    assert group_key(ann.turns[-1][1]) == group_key(ben.turns[-1][1])


def test_an_author_changes_their_mind_about_their_own_number_alone() -> None:
    first = of(proposal("a", "ann", "查[PHONE_1]的进度", "明天有结果。", at_ms=1), "one")
    second = of(proposal("b", "ann", "查[PHONE_1]的进度", "已经退回。", at_ms=2), "one")
    other = of(proposal("c", "ann", "查[PHONE_1]的进度", "后天送达。", at_ms=3), "other")
    assert resolved(first, second, other) == (["b", "c"], {"a": "superseded"})


def test_without_personal_data_a_contest_is_what_it_was() -> None:
    turns = [("system", "It is 9 o'clock."), ("user", "it faded")]
    assert contest_key(turns) == contest_key(turns, "") != contest_key(turns, "one") != contest_key(turns, "other")
