"""The request fields that are taken, with their limits: pure checks, one table for chat and one for completions.

A field is one of: OpenAI's and honoured by the engine (passed on), OpenAI's and ours to honour (kept here), OpenAI's
and honoured by neither (taken only with the value that asks for nothing), the engine's own extension (for keys with the
right `extensions`), a later version's, or unknown. The last two are refused by name; in the others null is as good as
absent. Deeper meaning (a JSON schema, a tool's parameters) is the engine's to check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from serving.auth import need_right
from thumbwheel.errors import InvalidRequest
from thumbwheel.events import MAX_NAME_CHARS
from thumbwheel.records import Key

Check = Callable[[str, Any], None]

MAX_MESSAGES = 2_048
MAX_CHOICES = 16
MAX_TOKENS = 1_000_000
INT64 = 2**63


def invalid_value(name: str, right: str) -> InvalidRequest:
    """The error for a field of the name `name`; `right` says what it is, as in "`name` is a string"."""
    return InvalidRequest(f"`{name}` is {right}.", param=name, code="invalid_value")


def _number(low: float, high: float) -> Check:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise invalid_value(name, f"a number from {low:g} to {high:g}")

    return check


def _whole(low: int, high: int) -> Check:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise invalid_value(name, f"a whole number from {low} to {high}")

    return check


def _boolean(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise invalid_value(name, "true or false")


def _text(limit: int) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, str) or len(value) > limit:
            raise invalid_value(name, f"a string of at most {limit} characters")

    return check


def _one_of(*choices: str) -> Check:
    def check(name: str, value: Any) -> None:
        if value not in choices:
            raise invalid_value(name, "one of " + ", ".join(choices))

    return check


def _object(keys: int) -> Check:
    def check(name: str, value: Any) -> None:
        if not isinstance(value, dict) or len(value) > keys:
            raise invalid_value(name, f"an object of at most {keys} keys")

    return check


def _list(limit: int, kind: type = object) -> Check:
    def check(name: str, value: Any) -> None:
        right = isinstance(value, list) and len(value) <= limit
        if not right or not all(isinstance(item, kind) and not isinstance(item, bool) for item in value):
            raise invalid_value(
                name, f"a list of at most {limit} {'items' if kind is object else kind.__name__ + ' values'}"
            )

    return check


def _stop(name: str, value: Any) -> None:
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or len(items) > 16 or not all(isinstance(i, str) and len(i) <= 256 for i in items):
        raise invalid_value(name, "a string, or a list of at most 16, of up to 256 characters each")


def _logit_bias(name: str, value: Any) -> None:
    _object(1024)(name, value)
    for token, bias in value.items():
        if not token.isdigit():
            raise invalid_value(name, "an object from token ids to numbers")
        _number(-100, 100)(f"{name}.{token}", bias)


def _stream_options(name: str, value: Any) -> None:
    _object(4)(name, value)
    for key, setting in value.items():
        if key not in ("include_usage", "include_obfuscation"):
            raise InvalidRequest(
                f"`{name}.{key}` is no field of this request.", param=f"{name}.{key}", code="unknown_field"
            )
        _boolean(f"{name}.{key}", setting)


def _tool_choice(name: str, value: Any) -> None:
    if not isinstance(value, dict) and value not in ("none", "auto", "required"):
        raise invalid_value(name, "none, auto, required, or an object that names a function")


def _modalities(name: str, value: Any) -> None:
    if value != ["text"]:
        raise invalid_value(name, 'at most ["text"]: answers are text')


def _prompt(name: str, value: Any) -> None:
    def tokens(item: Any) -> bool:
        return isinstance(item, list) and all(type(token) is int and 0 <= token < INT64 for token in item)

    single = isinstance(value, str) or tokens(value)
    several = isinstance(value, list) and 0 < len(value) <= 64
    if not (single or (several and all(isinstance(item, str) or tokens(item) for item in value))) or value == []:
        raise invalid_value(name, "a string, a list of token ids, or a list of at most 64 of these")


COMMON: Mapping[str, Check] = {
    "model": _text(MAX_NAME_CHARS),
    "frequency_penalty": _number(-2, 2),
    "logit_bias": _logit_bias,
    "max_tokens": _whole(0, MAX_TOKENS),
    "n": _whole(1, MAX_CHOICES),
    "presence_penalty": _number(-2, 2),
    "seed": _whole(-INT64, INT64 - 1),
    "stop": _stop,
    "stream": _boolean,
    "stream_options": _stream_options,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "response_format": _object(8),
}
CHAT: Mapping[str, Check] = {
    **COMMON,
    "messages": _list(MAX_MESSAGES, dict),
    "max_tokens": _whole(1, MAX_TOKENS),
    "max_completion_tokens": _whole(1, MAX_TOKENS),
    "logprobs": _boolean,
    "top_logprobs": _whole(0, 20),
    "tools": _list(128, dict),
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _boolean,
    "reasoning_effort": _one_of("none", "minimal", "low", "medium", "high", "xhigh"),
}
COMPLETIONS: Mapping[str, Check] = {
    **COMMON,
    "prompt": _prompt,
    "echo": _boolean,
    "logprobs": _whole(0, 20),
    "suffix": _text(1 << 20),
}

KEPT: Mapping[str, Check] = {  # honoured here, or a hint that promises nothing; an engine never sees them
    "user": _text(MAX_NAME_CHARS),
    "safety_identifier": _text(MAX_NAME_CHARS),
    "store": _boolean,
    "metadata": _object(16),
    "service_tier": _one_of("auto", "default"),
    "prompt_cache_key": _text(MAX_NAME_CHARS),
    "prompt_cache_retention": _one_of("in-memory", "in_memory", "24h"),
    "modalities": _modalities,
}

EXTENSIONS: Mapping[str, Check] = {
    "top_k": _whole(-1, 1_000_000),
    "min_p": _number(0, 1),
    "repetition_penalty": _number(0.01, 10),
    "length_penalty": _number(-10, 10),
    "stop_token_ids": _list(256, int),
    "include_stop_str_in_output": _boolean,
    "ignore_eos": _boolean,
    "min_tokens": _whole(0, MAX_TOKENS),
    "skip_special_tokens": _boolean,
    "spaces_between_special_tokens": _boolean,
    "truncate_prompt_tokens": _whole(-1, MAX_TOKENS),
    "prompt_logprobs": _whole(0, 20),
    "allowed_token_ids": _list(4096, int),
    "bad_words": _list(256, str),
    "structured_outputs": _object(16),
    "return_token_ids": _boolean,
    "return_tokens_as_token_ids": _boolean,
    "add_special_tokens": _boolean,
    "cache_salt": _text(1024),
}
CHAT_EXTENSIONS: Mapping[str, Check] = {
    **EXTENSIONS,
    "echo": _boolean,
    "add_generation_prompt": _boolean,
    "continue_final_message": _boolean,
    "chat_template_kwargs": _object(32),
    "include_reasoning": _boolean,
}
LATER = ("thumbwheel",)
# OpenAI's, but no engine's: the value that asks for nothing.
CHAT_UNHONOURED: Mapping[str, object] = {
    "audio": None,
    "function_call": None,
    "functions": None,
    "prediction": None,
    "verbosity": "medium",
    "web_search_options": None,
}
COMPLETIONS_UNHONOURED: Mapping[str, object] = {"best_of": 1}

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MESSAGE_KEYS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id"})
# SDKs send an assistant message back as they got it, with these; empty ones mean nothing to an engine.
ECHOED_KEYS = frozenset({"refusal", "annotations", "audio", "function_call", "reasoning", "reasoning_content"})


def accept(body: Mapping[str, Any], chat: bool, key: Key) -> dict[str, Any]:
    """The fields to pass on, without `model`. Raises InvalidRequest or Forbidden, naming the field."""
    honoured = CHAT if chat else COMPLETIONS
    extensions = CHAT_EXTENSIONS if chat else EXTENSIONS
    unhonoured = CHAT_UNHONOURED if chat else COMPLETIONS_UNHONOURED
    passed: dict[str, Any] = {}
    for name, value in body.items():
        if name in unhonoured:
            _ask_for_nothing(name, value, unhonoured[name])
            continue
        check = honoured.get(name) or KEPT.get(name) or extensions.get(name)
        if check is None:
            raise _unknown(name)
        if value is None:
            continue
        if name not in honoured and name not in KEPT:
            need_right(key, "extensions", name)
        check(name, value)
        if name not in KEPT and name != "model":
            passed[name] = value
    if chat:
        passed["messages"] = _messages(passed.get("messages"))
    elif "prompt" not in passed:
        raise InvalidRequest("`prompt` is missing.", param="prompt", code="missing_field")
    return passed


def _ask_for_nothing(name: str, value: object, nothing: object) -> None:
    if value is not None and value != nothing:
        raise InvalidRequest(
            f"`{name}` is not supported by the engines here; leave it out.", param=name, code="unsupported_field"
        )


def _unknown(name: str) -> InvalidRequest:
    if name in LATER:
        return InvalidRequest(f"`{name}` is not available in this version.", param=name, code="not_available_yet")
    shown = name[:64]
    return InvalidRequest(f"`{shown}` is no field of this request.", param=shown, code="unknown_field")


def _messages(messages: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    if not messages:
        raise InvalidRequest("`messages` is a list of at least one message.", param="messages", code="missing_field")
    return [_message(f"messages[{index}]", message) for index, message in enumerate(messages)]


def _message(where: str, message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") not in ROLES:
        raise invalid_value(f"{where}.role", "one of " + ", ".join(ROLES))
    kept = {}
    for name, value in message.items():
        if name in ECHOED_KEYS:
            if value in (None, [], "", {}) or name in ("annotations", "refusal"):
                continue
            if name in ("audio", "function_call"):
                raise invalid_value(f"{where}.{name}", "not supported; leave it out, or null")
        elif name not in MESSAGE_KEYS:
            shown = f"{where}.{name[:64]}"
            raise InvalidRequest(f"`{shown}` is no field of a message.", param=shown, code="unknown_field")
        # Engines send an empty list of calls; sent back, some templates and servers take it for a call.
        if value is not None and (name, value) != ("tool_calls", []):
            kept[name] = value
    _content(where, message)
    return kept


def _content(where: str, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    if content is None:
        if message["role"] != "assistant":
            raise invalid_value(f"{where}.content", "a string or a list of parts")
        return
    if isinstance(content, str):
        return
    if not isinstance(content, list) or not content:
        raise invalid_value(f"{where}.content", "a string or a list of parts")
    for index, part in enumerate(content):
        name = f"{where}.content[{index}]"
        if not isinstance(part, dict) or part.get("type") not in ("text", "image_url", "input_audio"):
            raise invalid_value(name, "a part of type text, image_url or input_audio")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise invalid_value(f"{name}.text", "a string")
        if part["type"] == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else None
            # An engine would fetch any other address, from inside the network.
            if not isinstance(url, str) or not url.startswith("data:"):
                raise invalid_value(f"{name}.image_url.url", "a data: URL")
