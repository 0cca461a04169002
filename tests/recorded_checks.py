"""What vLLM 0.32 refuses before a model is asked, in the shape that it was seen to: the recorded engine's doorman.

A body of the wrong shape is a `Bad Request` whose `param` is a path into the body; a value out of range is a
`BadRequestError` whose `param` is the field, or null. It knows the checks that tests/vllm/test_recorded_engine.py
compares with the real engine, not all of vLLM's, and gives their texts only where somebody reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

MAX_LOGPROBS = 20  # as serving.engine starts it


class Refused(Exception):
    """An answer that is an error, in the engine's own shape: its `code` is a number."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def malformed(path: str, what: str) -> Refused:
    """The body, or a field of it, is of the wrong shape."""
    return Refused(400, "Bad Request", f"1 validation error:\n  {{'loc': '{path}', 'msg': '{what}'}}", path)


def out_of_range(message: str, param: str | None) -> Refused:
    """A value that the engine will not take."""
    return Refused(400, "BadRequestError", message, param)


def read_body(raw: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises Refused."""
    if not raw:
        raise malformed("body", "Field required")
    try:
        body = json.loads(raw)
    except json.JSONDecodeError as error:
        raise malformed(f"body.{error.pos}", "JSON decode error") from error
    if not isinstance(body, dict):
        raise malformed("body", "Input should be a valid dictionary or object to extract fields from")
    return body


def check_fields(chat: bool, body: Mapping[str, Any]) -> None:
    """What is refused whatever the model. Raises Refused."""
    if body.get("stream_options") and not body.get("stream"):
        raise out_of_range("Stream options can only be defined when `stream=True`.", "stream_options")
    scored = body.get("prompt_logprobs")
    if body.get("stream") and isinstance(scored, int) and scored > 0:
        raise out_of_range("`prompt_logprobs` are not available when `stream=True`.", "prompt_logprobs")
    if chat and body.get("top_logprobs") and not body.get("logprobs"):
        raise out_of_range("when using `top_logprobs`, `logprobs` must be set to true.", "top_logprobs")
    if not chat and not body.get("prompt"):
        raise out_of_range("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")
    if chat:
        _check_messages(body)
    for name, (parse, what) in TYPES.items():
        value = body.get(name)
        if value is not None and not _parses(parse, value):
            raise malformed(f"body.{name}", f"Input should be a valid {what}, unable to parse string as {what}")


def _check_messages(body: Mapping[str, Any]) -> None:
    if "messages" not in body:
        raise malformed("body.messages", "Field required")
    if not isinstance(body["messages"], list):
        raise malformed("body.messages", "Input should be a valid list")
    for place, message in enumerate(body["messages"]):
        if not isinstance(message, dict) or "role" not in message:
            raise malformed(f"body.messages.{place}.ChatCompletionDeveloperMessageParam.role", "Field required")


TYPES: Mapping[str, tuple[Callable[[Any], object], str]] = {
    "temperature": (float, "number"),
    "top_p": (float, "number"),
    "n": (int, "integer"),
    "max_tokens": (int, "integer"),
    "max_completion_tokens": (int, "integer"),
}


def _parses(parse: Callable[[Any], object], value: object) -> bool:
    try:
        parse(value)
    except (ValueError, TypeError):
        return False
    return True


def check_values(chat: bool, body: Mapping[str, Any]) -> None:
    """What is refused of sampling's parameters, once the model is known. Raises Refused."""
    choices = body.get("n")
    if choices is not None and choices < 1:
        raise out_of_range(f"n must be at least 1, got {choices}.", None)
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if choices is not None and choices > 1 and temperature == 0:
        raise out_of_range(f"n must be 1 when using greedy sampling, got {choices}.", None)
    if temperature is not None and temperature < 0:
        raise out_of_range(f"temperature must be non-negative, got {temperature}.", "temperature")
    if temperature is not None and temperature > 2:
        raise out_of_range(f"temperature must be in [0, 2], got {temperature}.", "temperature")
    if top_p is not None and not 0 < top_p <= 1:
        raise out_of_range(f"top_p must be in (0, 1], got {top_p}.", "top_p")
    limit = body.get("max_tokens")
    if limit is not None and limit < 1 and (chat or not body.get("echo")):
        raise out_of_range(f"max_tokens must be at least 1, got {limit}.", "max_tokens")
    asked = body.get("top_logprobs") if chat else body.get("logprobs")
    for value, param, what in (
        (asked, "logprobs", "sample"),
        (body.get("prompt_logprobs"), "prompt_logprobs", "prompt"),
    ):
        if value is not None and value > MAX_LOGPROBS:
            message = f"Requested {what} logprobs of {value}, which is greater than max allowed: {MAX_LOGPROBS}"
            raise out_of_range(message, param)
    choice = body.get("tool_choice", "auto")
    if body.get("tools") and choice == "auto":
        raise out_of_range(
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', None
        )
    if body.get("tools") and choice != "none":
        raise out_of_range(f'tool_choice="{choice}" requires --tool-call-parser to be set', None)
