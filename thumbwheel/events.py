"""The events that pass from the gateway to the store, as versioned JSON.

A reader takes any version it knows and ignores fields that a later one added; an unknown version or type is a bad
record, which keeps its bytes and goes to the dead letters with its reason.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

INFERENCE, FEEDBACK, CURATION, RELEASE = "inference", "feedback", "curation", "release"
TOPICS = (INFERENCE, FEEDBACK, CURATION)
"""What the consumer reads into the store, and what positions are kept of."""
DEAD_LETTER = "dead-letter"
TOLD = (RELEASE, DEAD_LETTER)
"""What others may want to know: what becomes of releases, and what could not be handled. Nothing here reads it."""


def dead_letter_topic(channel: str | None, apart: Collection[str]) -> str:
    """Where a dead letter goes: the channels in `apart` have a topic of their own."""
    return f"{DEAD_LETTER}.{channel}" if channel is not None and channel in apart else DEAD_LETTER


MAX_NAME_CHARS, MAX_TAG_CHARS = 512, 128
"""Of units, authors and reviewers; of tags. Whoever takes such a name from outside asks for no more."""

IMPORTED = "imported"
"""`assigned`, `role`, `served_by` and `status` of what nobody was answered here: it came with a file."""
NOBODY = f"{IMPORTED}-"
"""How the author of an imported conversation begins of whom no file and no option said who it was."""


# `gc=False` of the two that are many: they hold no cycles, and to look for some costs more than to read them.


class InferenceEvent(msgspec.Struct, frozen=True, tag_field="type", tag="inference.v1", omit_defaults=True, gc=False):
    """One served request. `messages` and `answer` are None where the channel's policy logs no text."""

    id: str
    tenant: str
    channel: str
    unit: str
    at_ms: int
    assigned: str  # release id
    role: str  # the assigned variant's: stable or candidate
    served_by: str  # release id; another than `assigned` after a retry on stable
    status: str  # ok, release_error, client_error, cancelled, unavailable; or imported
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


class FeedbackEvent(msgspec.Struct, frozen=True, tag_field="type", tag="feedback.v1", omit_defaults=True, gc=False):
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


class ReviewEvent(msgspec.Struct, frozen=True, tag_field="type", tag="review.v1", omit_defaults=True):
    """What a reviewer decided of one feedback. `proposal` is set where it is a proposal's target that was judged."""

    id: str
    feedback: str
    channel: str
    at_ms: int
    reviewer: str  # who: a name that the reviewer's key or command vouches for
    verdict: str  # approve, edit, refuse
    role: str = "reviewer"  # or arbiter, whose word ends a disagreement
    target: str | None = None  # with `edit`: what the answer should be
    reason: str | None = None
    proposal: str | None = None
    scores: dict[str, int] = {}  # of the rubric, each 1 to 5


class ProposalEvent(msgspec.Struct, frozen=True, tag_field="type", tag="proposal.v1", omit_defaults=True):
    """An answer that a model proposes for a thumbs-down that came without a correction."""

    id: str
    feedback: str
    channel: str
    at_ms: int
    target: str
    role: str  # teacher, or verifier: a resample that passed the channel's checks
    model: str
    version: str


class ComputedEvent(msgspec.Struct, frozen=True, tag_field="type", tag="computed.v1", omit_defaults=True):
    """What a model found out about one feedback before curation: names, an embedding, a paraphrase."""

    id: str
    feedback: str
    channel: str
    at_ms: int
    what: str
    model: str
    version: str
    value: object


class ExclusionEvent(msgspec.Struct, frozen=True, tag_field="type", tag="exclusion.v1", omit_defaults=True):
    """What shall teach no more: one feedback, all feedback on one inference, or all of one author in one channel."""

    id: str
    at_ms: int
    by: str
    what: str  # feedback, inference, author
    value: str
    channel: str
    reason: str
    withdrawn: bool = False  # the exclusion of the same before is taken back


class ErasureEvent(msgspec.Struct, frozen=True, tag_field="type", tag="erasure.v1", omit_defaults=True):
    """A person is to be forgotten: all that was asked, said and made of it. The event does not say who it was."""

    id: str
    at_ms: int
    by: str
    tenant: str
    person: str  # a keyed digest of tenant and end user (thumbwheel/erasure.py)


class ReleaseEvent(msgspec.Struct, frozen=True, tag_field="type", tag="release.v1", omit_defaults=True):
    """What a release is now that something of it has changed."""

    id: str  # the release's and its row's version: a change that is told twice has it twice
    release: str
    channel: str
    state: str  # draft, candidate, stable, retired, rejected
    at_ms: int  # when it was told
    base: str
    adapter: str | None = None  # an artifact's sha256; without one the base alone
    run: str | None = None
    parent: str | None = None  # the release that it was judged beside
    report: str | None = None
    reason: str | None = None


class DeadLetterEvent(msgspec.Struct, frozen=True, tag_field="type", tag="dead-letter.v1", omit_defaults=True):
    """A record that the consumer could not handle: where it lay, its bytes in base64, and why."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    reason: str
    at_ms: int
    channel: str | None = None  # as far as it can be known
    event: str | None = None  # the event's id, as far as it can be read


CurationEvent = ReviewEvent | ProposalEvent | ComputedEvent | ExclusionEvent | ErasureEvent
"""What bears on what may teach; all on the topic `curation`."""
Event = InferenceEvent | FeedbackEvent | CurationEvent
"""What the consumer reads."""


def place_of(event: Event) -> tuple[str, str]:
    """The topic that the event belongs to and the key that it is written under: what it speaks of."""
    if isinstance(event, InferenceEvent):
        return INFERENCE, event.id
    if isinstance(event, FeedbackEvent):
        return FEEDBACK, event.inference
    return CURATION, event.id if isinstance(event, ExclusionEvent | ErasureEvent) else event.feedback


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode(event: Event | ReleaseEvent | DeadLetterEvent) -> bytes:
    """The event as JSON."""
    return _encoder.encode(event)


def decode(raw: bytes) -> Event:
    """The event in `raw`. Raises msgspec.DecodeError, whose text is the record's reason."""
    try:
        event: Event = _decoder.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error
    return event
