"""One question as the gateway understands it: who asks, which channel, which unit, what goes to the engine.

Pure: a body, the headers and a key make an `Asking`, or an error that names the field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.fields import accept
from thumbwheel.errors import InvalidRequest
from thumbwheel.events import MAX_NAME_CHARS
from thumbwheel.ids import digest32
from thumbwheel.records import Key

CHAT_PATH, COMPLETIONS_PATH = "/v1/chat/completions", "/v1/completions"
CONVERSATION_HEADER = "x-thumbwheel-conversation"
PIN_HEADER = "x-thumbwheel-release"
DERIVED_CHARS = 20
FEW_TOKENS = 16  # an application that asks for fewer wants a word, cut off where it may be
WHICH_TOKENS = ("logit_bias", "allowed_token_ids", "ignore_eos")  # these can make any release say anything
PENALTIES = ("frequency_penalty", "presence_penalty")  # rewards for repetition where they are below 0
WHERE_TO_STOP = ("stop", "stop_token_ids")


@dataclass(frozen=True)
class Asking:
    """`body` is what the engine gets, but for `model`; `wants_usage` says whether a stream ends with its usage."""

    chat: bool
    channel: str
    unit: str
    stream: bool
    wants_usage: bool
    may_store: bool
    body: dict[str, Any]
    messages: list[dict[str, object]] | None  # as they are logged; None for a prompt of token ids

    @property
    def path(self) -> str:
        """The engine's route."""
        return CHAT_PATH if self.chat else COMPLETIONS_PATH

    @property
    def kind(self) -> str:
        """How its inference id begins."""
        return "chatcmpl" if self.chat else "cmpl"

    @property
    def excused(self) -> frozenset[str]:
        """The faults of an answer that this request can bring about with any release: they tell nothing of this one.

        Else a client could roll a candidate back with a few requests. An ordinary `max_tokens` excuses nothing, so an
        application that always sends one keeps the guard against answers that ramble.
        """
        body, found = self.body, set()
        if any(name in body for name in WHICH_TOKENS):
            found |= {"empty", "truncated", "degenerate"}
        if any(name in body for name in WHERE_TO_STOP):
            found.add("empty")
        if min(body.get(name, FEW_TOKENS) for name in ("max_tokens", "max_completion_tokens")) < FEW_TOKENS:
            found |= {"empty", "truncated"}
        if body.get("temperature", 1) > 1 or any(body.get(name, 0) < 0 for name in PENALTIES):
            found.add("degenerate")
        return frozenset(found)


def understand(raw: Mapping[str, Any], chat: bool, key: Key, conversation: str | None, pin: str | None) -> Asking:
    """Raises InvalidRequest or Forbidden."""
    if pin is not None:
        raise InvalidRequest(
            "Pinning a release is not available in this version; leave the header out.",
            param=PIN_HEADER,
            code="not_available_yet",
        )
    if not isinstance(raw.get("model"), str) or not raw["model"]:
        raise InvalidRequest("`model` is the name of a channel.", param="model", code="missing_field")
    if conversation is not None and len(conversation) > MAX_NAME_CHARS:
        raise InvalidRequest(
            f"`{CONVERSATION_HEADER}` is at most {MAX_NAME_CHARS} characters.", param=CONVERSATION_HEADER
        )
    body = accept(raw, chat, key)
    stream = body.get("stream") is True
    if "stream_options" in body and not stream:
        raise InvalidRequest("`stream_options` goes with `stream: true`.", param="stream_options")
    options = body.pop("stream_options", {})
    if stream:
        body["stream_options"] = {"include_usage": True}  # tokens are counted whether or not the client asks
    messages = body["messages"] if chat else _as_messages(body["prompt"])
    return Asking(
        chat=chat,
        channel=raw["model"],
        unit=unit_of(raw, conversation, body),
        stream=stream,
        wants_usage=options.get("include_usage") is True,
        may_store=raw.get("store") is not False,
        body=body,
        messages=messages,
    )


def unit_of(raw: Mapping[str, Any], conversation: str | None, body: Mapping[str, Any]) -> str:
    """Who is on one side of a rollout together; never the key, which would put a whole application on one side."""
    for stated in (raw.get("safety_identifier"), raw.get("user"), conversation):
        if isinstance(stated, str) and stated.strip():
            return stated
    return "first-" + digest32(msgspec.json.encode(_beginning(body)), DERIVED_CHARS)


def _beginning(body: Mapping[str, Any]) -> object:
    """What stays the same over a conversation's turns: its instructions and its first question."""
    if "messages" not in body:
        return body["prompt"]
    found: list[object] = []
    for message in body["messages"]:
        found.append([message["role"], message.get("content")])
        if message["role"] == "user":
            break
    return found


def _as_messages(prompt: object) -> list[dict[str, object]] | None:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else None
