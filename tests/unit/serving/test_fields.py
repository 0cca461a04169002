"""Which request fields pass, which stay here, and which are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.fields import CHAT, CHAT_EXTENSIONS, CHAT_UNHONOURED, COMPLETIONS, COMPLETIONS_UNHONOURED, KEPT, accept
from thumbwheel.errors import Forbidden, InvalidRequest, RequestError
from thumbwheel.records import Key

PLAIN = Key("k", "h", "app", "t")
RICH = Key("k", "h", "app", "t", frozenset({"extensions"}))
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}


def refused(body: dict[str, Any], chat: bool = True, key: Key = PLAIN) -> RequestError:
    with pytest.raises((InvalidRequest, Forbidden)) as caught:
        accept(body, chat, key)
    return caught.value


def test_what_the_engine_honours_passes_and_what_is_ours_stays() -> None:
    body = {**HELLO, "model": "c", "temperature": 0, "stop": ["x"], "user": "u", "store": False, "metadata": {}}
    assert accept(body, True, PLAIN) == {**HELLO, "temperature": 0, "stop": ["x"]}


def test_null_means_absent() -> None:
    assert accept({**HELLO, "temperature": None, "tools": None}, True, PLAIN) == HELLO
    assert accept({**HELLO, **dict.fromkeys(CHAT_UNHONOURED)}, True, PLAIN) == HELLO
    assert accept({**HELLO, "top_k": None}, True, PLAIN) == HELLO, "nothing is asked for that would need a right"


def test_what_no_engine_honours_is_taken_only_where_it_asks_for_nothing() -> None:
    assert accept({**HELLO, "verbosity": "medium"}, True, PLAIN) == HELLO
    assert accept({"prompt": "x", "best_of": 1}, False, PLAIN) == {"prompt": "x"}
    for chat, body in ((True, {**HELLO, "verbosity": "low"}), (False, {"prompt": "x", "best_of": 2})):
        error = refused(body, chat)
        assert error.param in body and error.code == "unsupported_field"
    assert refused({**HELLO, "functions": []}).param == "functions"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", "warm"),
        ("temperature", True),
        ("top_p", 1.5),
        ("n", 0),
        ("n", 17),
        ("max_tokens", 0),
        ("max_completion_tokens", 1_000_001),
        ("presence_penalty", 3),
        ("frequency_penalty", -3),
        ("seed", 2**63),
        ("stop", ["x"] * 17),
        ("stop", [1]),
        ("logit_bias", {"a": 1}),
        ("logprobs", 1),
        ("top_logprobs", 21),
        ("stream_options", {"include_usage": 1}),
        ("tools", "all"),
        ("tool_choice", "maybe"),
        ("response_format", "json"),
        ("reasoning_effort", "extreme"),
        ("user", "x" * 513),
        ("service_tier", "priority"),
        ("modalities", ["audio"]),
    ],
)
def test_caps_name_the_field(name: str, value: object) -> None:
    error = refused({**HELLO, name: value})
    assert error.status == 400 and (error.param or "").startswith(name)


def test_unknown_fields_are_named_and_cut() -> None:
    assert refused({**HELLO, "colour": 1}).param == "colour"
    assert len(refused({**HELLO, "x" * 5000: 1}).message) < 200
    assert "not available" in refused({**HELLO, "thumbwheel": {}}).message
    assert refused({**HELLO, "request_id": "x"}, key=RICH).param == "request_id"
    assert refused({**HELLO, "chat_template": "{{ 7 }}"}, key=RICH).param == "chat_template"


def test_extensions_need_their_right() -> None:
    error = refused({**HELLO, "top_k": 3})
    assert (error.status, error.param) == (403, "top_k")
    assert accept({**HELLO, "top_k": 3}, True, RICH)["top_k"] == 3
    assert refused({**HELLO, "top_k": "x"}, key=RICH).status == 400
    assert refused({"prompt": "x", "add_generation_prompt": False}, chat=False, key=RICH).param


def test_chat_and_completions_have_their_own() -> None:
    assert refused({**HELLO, "prompt": "x"}).param == "prompt"
    assert refused({"prompt": "x", "tools": []}, chat=False).param == "tools"
    assert refused({}, chat=False).param == "prompt"
    assert refused({}).param == "messages"


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2]]])
def test_prompts(prompt: object) -> None:
    assert accept({"prompt": prompt}, False, PLAIN) == {"prompt": prompt}


@pytest.mark.parametrize("prompt", [1, [], [[], "x", None], [-1], [True], ["x"] * 65, {}])
def test_prompts_that_are_none(prompt: object) -> None:
    assert refused({"prompt": prompt}, chat=False).param == "prompt"


def test_an_assistants_message_as_an_sdk_sends_it_back() -> None:
    said = {
        "role": "assistant",
        "content": "Hi.",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning": None,
        "tool_calls": None,
    }
    for calls in (None, []):
        passed = accept({"messages": [{**said, "tool_calls": calls}, {"role": "user", "content": "and?"}]}, True, PLAIN)
        assert passed["messages"][0] == {"role": "assistant", "content": "Hi."}


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "king", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": 3}, "messages[0].content"),
        ({"role": "user", "content": []}, "messages[0].content"),
        ({"role": "user", "content": "x", "mood": "y"}, "messages[0].mood"),
        ({"role": "assistant", "content": "x", "audio": {"id": "a"}}, "messages[0].audio"),
        ({"role": "user", "content": [{"type": "video"}]}, "messages[0].content[0]"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]},
            "messages[0].content[0].image_url.url",
        ),
    ],
)
def test_messages_that_are_wrong(message: dict[str, object], param: str) -> None:
    assert refused({"messages": [message]}).param == param


def test_no_field_is_in_two_tables() -> None:
    assert not set(CHAT) & set(KEPT) and not set(COMPLETIONS) & set(KEPT)
    assert not set(CHAT) & set(CHAT_EXTENSIONS) and not set(KEPT) & set(CHAT_EXTENSIONS)
    assert not set(CHAT_UNHONOURED) & {*CHAT, *KEPT, *CHAT_EXTENSIONS}
    assert not set(COMPLETIONS_UNHONOURED) & {*COMPLETIONS, *KEPT, *CHAT_EXTENSIONS}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*CHAT, *KEPT, *CHAT_EXTENSIONS, "odd"]), JSON, max_size=4), st.booleans())
def test_any_json_is_taken_or_refused_and_never_breaks(fields: dict[str, Any], rich: bool) -> None:
    try:
        passed = accept({**HELLO, **fields}, True, RICH if rich else PLAIN)
    except RequestError as error:
        assert error.param
    else:
        assert not set(passed) & set(KEPT) and "model" not in passed
