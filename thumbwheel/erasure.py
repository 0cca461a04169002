"""Who is erased, and what is left of an event of theirs: pure functions.

A person is one end user of one tenant: the unit of inferences, and the author of feedback. Who was erased is known by a
digest of both, keyed by the home's secret, so that neither the event nor any row says who it was; whoever holds the
secret and a name can ask whether that name is among them, and must be able to, for an event that comes late is theirs
too. In the place of the name stands a tombstone made of the digest. An erasure has no end: what an erased person says
later is counted, and none of it is kept.

It knows nothing of where texts lie (thumbwheel/erasing).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import msgspec

from thumbwheel.events import (
    ComputedEvent,
    CurationEvent,
    ErasureEvent,
    Event,
    ExclusionEvent,
    FeedbackEvent,
    InferenceEvent,
    ProposalEvent,
    ReviewEvent,
)
from thumbwheel.ids import digest32

PERSON_CHARS = 26
TOMBSTONE = "erased-"
_TOMBSTONE = re.compile(rf"{TOMBSTONE}[0-9a-z]{{{PERSON_CHARS}}}", re.ASCII)


def person_of(secret: bytes, tenant: str, end_user: str) -> str:
    """The person's digest; `secret` is the home's."""
    return digest32(json.dumps(["person", tenant, end_user]).encode(), PERSON_CHARS, secret)


def tombstone(person: str) -> str:
    """What stands in the place of the person's name."""
    return TOMBSTONE + person


def is_tombstone(name: str | None) -> bool:
    """Whether somebody was erased who had this name's place."""
    return name is not None and _TOMBSTONE.fullmatch(name) is not None


@dataclass(frozen=True)
class Erased:
    """Everybody who is erased, by digest."""

    secret: bytes = field(repr=False, default=b"")
    persons: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()  # theirs, for what names a person and no tenant

    def __bool__(self) -> bool:
        return bool(self.persons)

    def holds(self, tenant: str, name: str | None) -> bool:
        """Whether this end user is among them, by name or by tombstone."""
        if name is None or not self.persons:
            return False
        if is_tombstone(name):
            return name.removeprefix(TOMBSTONE) in self.persons
        return person_of(self.secret, tenant, name) in self.persons

    def named(self, tenant: str, name: str) -> str:
        """The name, or the tombstone in its place."""
        return tombstone(person_of(self.secret, tenant, name)) if self._is_named(tenant, name) else name

    def _is_named(self, tenant: str, name: str) -> bool:
        return not is_tombstone(name) and self.holds(tenant, name)

    def renamed(self, name: str) -> str:
        """As `named`, whichever tenant's it is."""
        return next((self.named(tenant, name) for tenant in sorted(self.tenants) if self.holds(tenant, name)), name)


def erased_by(events: Collection[ErasureEvent], secret: bytes) -> Erased:
    """Whom these events erase."""
    return Erased(secret, frozenset(one.person for one in events), frozenset(one.tenant for one in events))


def scrubbed(event: Event, erased: Erased, inferences: Collection[str] = (), feedback: Collection[str] = ()) -> Event:
    """The event without what an erased person said, and without their name; the same one where nothing is theirs.

    `inferences` and `feedback` are the ids of what is theirs, as far as these are known.
    """
    if isinstance(event, InferenceEvent):
        theirs = event.id in inferences or erased.holds(event.tenant, event.unit)
        return _bare_inference(event, erased) if theirs else event
    if isinstance(event, FeedbackEvent):
        theirs = event.inference in inferences or event.id in feedback or erased.holds(event.tenant, event.author)
        return _bare_feedback(event, erased) if theirs else event
    return scrubbed_curation(event, erased, feedback)


def _bare_inference(event: InferenceEvent, erased: Erased) -> InferenceEvent:
    unit = erased.named(event.tenant, event.unit)
    return msgspec.structs.replace(event, unit=unit, messages=None, answer=None, error=None)


def _bare_feedback(event: FeedbackEvent, erased: Erased) -> FeedbackEvent:
    author = None if event.author is None else erased.named(event.tenant, event.author)
    return msgspec.structs.replace(event, author=author, comment=None, correction=None, tags=[], metrics={})


def scrubbed_curation(event: CurationEvent, erased: Erased, feedback: Collection[str]) -> CurationEvent:
    """What is left of an event on the topic `curation`; `feedback` are the ids of what is an erased person's."""
    if isinstance(event, ErasureEvent):
        return event
    if isinstance(event, ExclusionEvent):
        return msgspec.structs.replace(event, value=erased.renamed(event.value)) if event.what == "author" else event
    if event.feedback not in feedback:
        return event
    if isinstance(event, ReviewEvent):
        verdict = "refuse" if event.verdict == "edit" else event.verdict
        return msgspec.structs.replace(event, verdict=verdict, target=None, reason=None)
    if isinstance(event, ProposalEvent):
        return msgspec.structs.replace(event, target="")
    assert isinstance(event, ComputedEvent)
    return msgspec.structs.replace(event, value=None)


def without_names(value: Any, erased: Erased) -> Any:
    """A JSON value in which every text that is an erased person's name, whole, is their tombstone."""
    if isinstance(value, str):
        return erased.renamed(value)
    if isinstance(value, list):
        return [without_names(one, erased) for one in value]
    if isinstance(value, dict):
        return {key: without_names(one, erased) for key, one in value.items()}
    return value
