"""A feedback with the inference that it is about, and the turns that a training row is made of: pure functions.

A message of an application may hold text as a string or as parts; both become one string. Whatever else it holds
(images, tool calls) cannot be taught here and is said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from feedback.clean import clean
from thumbwheel.roles import EXPERT

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
PART_SEPARATOR = "\n"  # as vLLM joins the text parts of one message

Turn = tuple[str, str]
"""Role and text."""


@dataclass(frozen=True)
class Joined:
    """One feedback beside its inference. `messages` is None where the inference is not there or was logged without."""

    feedback: str
    inference: str
    author: str | None
    role: str
    at_ms: int
    seq: int
    correction: str | None
    state: str
    reason: str | None
    messages: Sequence[Mapping[str, object]] | None
    answer: str | None
    thumb: str | None = None
    tags: tuple[str, ...] = ()
    barred: str | None = None  # why the inference may not be learnt from (ledger.barred)

    @property
    def receipt(self) -> tuple[int, str]:
        """What orders feedback by time of receipt.

        Offsets order what was said of one inference, which is in one partition, and nothing else (`superseded`).
        """
        return (self.at_ms, self.feedback)


def superseded(rows: Iterable[Joined]) -> frozenset[str]:
    """The feedback after which its author said something else of the same inference.

    An expert's word is its own, though it has the answer's user for an author: that user takes none of it back.
    """
    ordered = sorted(rows, key=lambda row: (row.at_ms, row.seq, row.feedback))
    latest = {_voice(row): row.feedback for row in ordered}
    return frozenset(row.feedback for row in ordered if latest[_voice(row)] != row.feedback)


def _voice(row: Joined) -> tuple[str, str | None, bool]:
    return row.inference, row.author, row.role == EXPERT


def turns(messages: Sequence[Mapping[str, object]]) -> tuple[Turn, ...] | None:
    """The conversation in clean text, up to the turn that was answered; None where it is not text alone."""
    found = tuple(_turn(message) for message in messages)
    return None if None in found else tuple(turn for turn in found if turn is not None)


def texts(messages: Sequence[Mapping[str, object]]) -> list[str]:
    """The texts of the conversation as they were sent."""
    contents = [message.get("content") for message in messages]
    parts = [part for content in contents for part in (content if isinstance(content, list) else [content])]
    found = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return [text for text in found if isinstance(text, str)]


def characters(messages: Sequence[Mapping[str, object]]) -> int:
    """How many characters of text the conversation has as it was sent."""
    return sum(map(len, texts(messages)))


def _turn(message: Mapping[str, object]) -> Turn | None:
    role, content = ROLES.get(str(message.get("role"))), message.get("content")
    if isinstance(content, list):
        content = _text_of_parts(content)
    if role is None or not isinstance(content, str) or message.get("tool_calls"):
        return None
    return role, clean(content)


def _text_of_parts(parts: Sequence[object]) -> str | None:
    texts = [part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        return None
    return PART_SEPARATOR.join(str(text) for text in texts)
