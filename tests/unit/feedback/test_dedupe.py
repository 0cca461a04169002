from __future__ import annotations

from dataclasses import replace
from typing import Any

from feedback.dedupe import Proposal, conversation_key, group_key, resolve, target_key
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
