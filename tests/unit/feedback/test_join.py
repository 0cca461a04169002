from __future__ import annotations

from typing import Any

import pytest

from feedback.join import Joined, superseded, turns


def row(feedback: str, inference: str, author: str, at_ms: int, seq: int = 0) -> Joined:
    return Joined(feedback, inference, author, "user", at_ms, seq, "x", "waiting", None, None, None)


def test_an_authors_last_word_of_an_answer_stands() -> None:
    rows = [row("fb-1", "i1", "ann", 1), row("fb-2", "i1", "ann", 3), row("fb-3", "i1", "ann", 2)]
    assert superseded(rows) == {"fb-1", "fb-3"}


def test_other_authors_and_other_answers_stand_beside_it() -> None:
    assert superseded([row("fb-1", "i1", "ann", 1), row("fb-2", "i1", "ben", 2), row("fb-3", "i2", "ann", 3)]) == set()


def test_ties_go_by_offset() -> None:
    assert superseded([row("fb-1", "i1", "ann", 1, seq=9), row("fb-2", "i1", "ann", 1, seq=8)]) == {"fb-2"}


def test_turns_are_clean_text_with_the_roles_that_a_template_knows() -> None:
    messages: list[dict[str, object]] = [
        {"role": "developer", "content": "Be kind.\r\n"},
        {"role": "assistant", "content": "Hello.", "refusal": None, "tool_calls": None},
        {"role": "user", "content": [{"type": "text", "text": "it\u200b faded"}, {"type": "text", "text": "again"}]},
    ]
    assert turns(messages) == (("system", "Be kind.\n"), ("assistant", "Hello."), ("user", "it faded\nagain"))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": "text", "text": 5}]},
        {"role": "user", "content": ["text"]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "5"},
        {"role": "user"},
        {"content": "hi"},
    ],
)
def test_what_is_not_text_alone_makes_no_turns(message: dict[str, Any]) -> None:
    assert turns([{"role": "user", "content": "hi"}, message]) is None
