"""Who a unit is, and what goes to the engine."""

from __future__ import annotations

from typing import Any

import pytest

from serving.asking import Asking, understand
from thumbwheel.errors import InvalidRequest
from thumbwheel.records import Key

KEY = Key("key-1", "h", "app", "tenant")


def ask(conversation: str | None = None, key: Key = KEY, chat: bool = True, **body: Any) -> Asking:
    fields: dict[str, Any] = {"model": "support", **body}
    if chat:
        fields.setdefault("messages", [{"role": "user", "content": "hi"}])
    return understand(fields, chat, key, conversation, None)


def turns(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    head = [{"role": "system", "content": system}] if system else []
    return head + [
        {"role": "user" if number % 2 == 0 else "assistant", "content": text} for number, text in enumerate(texts)
    ]


def test_the_order_of_units() -> None:
    assert ask("conv", user="u", safety_identifier="s").unit == "s"
    assert ask("conv", user="u").unit == "u"
    assert ask("conv", user="").unit == "conv"
    assert ask("conv", user="  ").unit == "conv"
    assert ask().unit.startswith("first-")


def test_a_conversation_keeps_its_unit_as_it_grows() -> None:
    first = ask(messages=turns("hello", system="Be kind.")).unit
    assert ask(messages=turns("hello", "Hi.", "and?", system="Be kind.")).unit == first
    assert ask(messages=turns("hello", system="Be curt.")).unit != first
    assert ask(messages=turns("good day", system="Be kind.")).unit != first


def test_the_key_is_never_the_unit() -> None:
    other = Key("key-2", "g", "app", "elsewhere")
    assert ask().unit == ask(key=other).unit
    assert ask(messages=turns("a")).unit != ask(messages=turns("b")).unit


def test_a_stream_always_counts_its_tokens() -> None:
    asked = ask(stream=True)
    assert asked.stream and not asked.wants_usage
    assert asked.body["stream_options"] == {"include_usage": True}
    assert ask(stream=True, stream_options={"include_usage": True}).wants_usage
    assert "stream_options" not in ask().body
    with pytest.raises(InvalidRequest):
        ask(stream_options={"include_usage": True})


def test_store_false_alone_forbids_storing() -> None:
    assert not ask(store=False).may_store
    assert ask(store=True).may_store and ask(store=None).may_store and ask().may_store


def test_completions() -> None:
    asked = ask(chat=False, prompt="once")
    assert (asked.kind, asked.path) == ("cmpl", "/v1/completions")
    assert asked.messages == [{"role": "user", "content": "once"}]
    assert ask(chat=False, prompt=[1, 2]).messages is None
    assert ask(chat=False, prompt=[1, 2]).unit != ask(chat=False, prompt=[1, 3]).unit


def test_a_model_is_needed_and_a_pin_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        understand({"messages": [{"role": "user", "content": "x"}]}, True, KEY, None, None)
    assert caught.value.param == "model"
    with pytest.raises(InvalidRequest, match="not available"):
        understand({"model": "m", "messages": [{"role": "user", "content": "x"}]}, True, KEY, None, "rel-1")


FLAGS = {"empty", "truncated", "degenerate"}


@pytest.mark.parametrize(
    ("fields", "excused"),
    [
        ({}, set()),
        ({"max_tokens": 16}, set()),
        ({"max_completion_tokens": 400, "temperature": 1, "frequency_penalty": 0.5, "logit_bias": None}, set()),
        ({"max_tokens": 15}, {"empty", "truncated"}),
        ({"max_completion_tokens": 1}, {"empty", "truncated"}),
        ({"stop": "a"}, {"empty"}),
        ({"stop_token_ids": [2]}, {"empty"}),
        ({"logit_bias": {"2": 100}}, FLAGS),
        ({"allowed_token_ids": [2]}, FLAGS),
        ({"ignore_eos": True}, FLAGS),
        ({"temperature": 1.9}, {"degenerate"}),
        ({"presence_penalty": -2}, {"degenerate"}),
    ],
)
def test_what_a_request_can_bring_about_with_any_release_is_excused(fields: dict[str, Any], excused: set[str]) -> None:
    key = Key("key-1", "h", "app", "tenant", frozenset({"extensions"}))
    assert ask(key=key, **fields).excused == excused
