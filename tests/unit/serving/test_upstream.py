"""What an engine's errors mean, and where its events begin and end."""

from __future__ import annotations

import json

import pytest

from serving.upstream import Target, sort_error
from thumbwheel.errors import ClientRejected, ReleaseFailed
from thumbwheel.records import Engine, Release

ENGINE = Engine("e", "main", "vllm", "/run/e.sock", "base", "i", "ready")
RELEASE = Release("rel-1", "support", "candidate", "main", "m", "a" * 64, None, None, None, None, 0, 1)
TARGET = Target(ENGINE, RELEASE)


def error(message: str, code: int = 400, param: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "BadRequestError", "param": param, "code": code}}).encode()


def test_names() -> None:
    assert TARGET.name == "adapter-" + "a" * 64
    base = Release("rel-0", "support", "stable", "main", "m", None, None, None, None, None, 0, 1)
    assert Target(ENGINE, base).name == "base"


@pytest.mark.parametrize("status", [404, 500, 502, 503, 401, 429])
def test_the_releases(status: int) -> None:
    found = sort_error(status, error("x", status), TARGET)
    assert isinstance(found, ReleaseFailed) and found.status == status
    assert (str(found), found.said) == (f"the engine answered {status}", "x")


def test_an_adapter_that_could_not_be_loaded_word_for_word() -> None:
    text = f"LoRA adapter '{TARGET.name}' was found but could not be loaded."
    assert isinstance(sort_error(400, error(text), TARGET), ReleaseFailed)
    assert isinstance(sort_error(400, error(f"no template for {text}"), TARGET), ClientRejected)
    assert isinstance(sort_error(400, error(text.replace("a" * 64, "b" * 64)), TARGET), ClientRejected)


def test_the_clients() -> None:
    long = sort_error(400, error("This model's maximum context length is 10 tokens.", param="input_tokens"), TARGET)
    assert isinstance(long, ClientRejected)
    assert long.payload["code"] == "context_length_exceeded" and long.payload["param"] == "input_tokens"
    asked = "max_tokens=99 cannot be greater than max_model_len=10. Please request fewer output tokens."
    much = sort_error(400, error(asked, param="max_tokens"), TARGET)
    assert isinstance(much, ClientRejected)
    assert much.payload["code"] == "context_length_exceeded" and much.payload["param"] == "max_tokens"
    assert (
        much.payload["message"] == "`max_tokens` of 99 is more than this model's maximum context length of 10 tokens."
    )
    number = sort_error(400, error("bad"), TARGET)
    assert isinstance(number, ClientRejected) and number.payload["code"] is None, "vLLM's code is a number"
    unsupported = sort_error(501, error("beam search", 501), TARGET)
    assert isinstance(unsupported, ClientRejected) and unsupported.status == 400
    named = sort_error(400, error(f"model {TARGET.name} says no"), TARGET)
    assert isinstance(named, ClientRejected) and named.payload["message"] == "model support says no"


@pytest.mark.parametrize(
    "message",
    [
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        'tool_choice="required" requires --tool-call-parser to be set',
        'tool_choice=function "look_up" requires --tool-call-parser to be set',
    ],
)
def test_a_client_is_told_of_tools_in_its_own_terms(message: str) -> None:
    found = sort_error(400, error(message), TARGET)
    assert isinstance(found, ClientRejected) and found.status == 400
    assert "--" not in str(found.payload["message"]) and "`tool_choice" in str(found.payload["message"])
    assert (found.payload["param"], found.payload["code"]) == ("tools", "unsupported_field")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "Chat template is passed with request, but --trust-request-chat-template is not set. Refused request with "
            "untrusted chat template.",
            "Refused request with untrusted chat template.",
        ),
        (
            "You must set `--enable-prompt-embeds` to input `prompt_embeds`.",
            "The engines here are not set up for what this request asks.",
        ),
        ("The grammar is wrong. See a--b-c, or 1 --2.", "The grammar is wrong. See a--b-c, or 1 --2."),
        ("top_p must be in (0, 1], got 2.0.", "top_p must be in (0, 1], got 2.0."),
    ],
)
def test_only_what_is_said_of_the_servers_flags_is_left_out(message: str, shown: str) -> None:
    found = sort_error(400, error(message), TARGET)
    assert isinstance(found, ClientRejected) and found.payload["message"] == shown


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"error": "text"}', b"\xff", b"[" * 100_000])
def test_errors_that_are_no_json(raw: bytes) -> None:
    assert isinstance(sort_error(500, raw, TARGET), ReleaseFailed)
    assert isinstance(sort_error(400, raw, TARGET), ClientRejected)
