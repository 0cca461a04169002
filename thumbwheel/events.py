"""The events that pass from the gateway to the store, as versioned JSON.

A reader takes any version it knows and ignores fields that a later one added; an unknown version or type is a bad
record, which keeps its bytes and goes to the dead letters with its reason.
"""

from __future__ import annotations

import msgspec

INFERENCE, FEEDBACK = "inference", "feedback"
TOPICS = (INFERENCE, FEEDBACK)


class InferenceEvent(msgspec.Struct, frozen=True, tag_field="type", tag="inference.v1", omit_defaults=True):
    """One served request. `messages` and `answer` are None where the channel's policy logs no text."""

    id: str
    tenant: str
    channel: str
    unit: str
    at_ms: int
    assigned: str  # release id
    role: str  # the assigned variant's: stable or candidate
    served_by: str  # release id; another than `assigned` after a retry on stable
    status: str  # ok, release_error, client_error, cancelled, unavailable
    streamed: bool = False
    rollout: str | None = None
    key: str | None = None
    messages: list[dict[str, object]] | None = None
    answer: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_ms: float | None = None
    e2e_ms: float | None = None
    flags: list[str] = []  # empty, truncated, degenerate
    error: str | None = None
    trainable: bool = True


class FeedbackEvent(msgspec.Struct, frozen=True, tag_field="type", tag="feedback.v1", omit_defaults=True):
    """What a user said of one inference. `author` is set only where a key with that right named one."""

    id: str
    inference: str
    tenant: str
    channel: str
    at_ms: int
    author: str | None = None
    role: str = "user"
    thumb: str | None = None
    score: float | None = None
    comment: str | None = None
    correction: str | None = None
    tags: list[str] = []
    metrics: dict[str, bool | float] = {}


Event = InferenceEvent | FeedbackEvent

_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """The event as JSON."""
    return _encoder.encode(event)


def decode(raw: bytes) -> Event:
    """The event in `raw`. Raises msgspec.DecodeError, whose text is the record's reason."""
    try:
        event: Event = _decoder.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return event
