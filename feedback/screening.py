"""From one feedback with its inference to a correction that could be taught, or to why it is none: a pure function."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from feedback.addressed import speaks_to_model
from feedback.blocked import blocking, holds_blocked
from feedback.clean import clean, compared, in_one_width, says_nothing, width
from feedback.dedupe import Proposal
from feedback.join import Joined, Turn, characters, texts, turns
from feedback.mojibake import is_damaged, is_mojibake
from feedback.rulings import NOTHING_SAID, Words, ruled
from feedback.snapshot import Limits, Snapshot, Verdict
from feedback.unfinished import is_unfinished
from thumbwheel.ledger import (
    BLOCKED_TERM,
    DEGENERATE,
    EMPTY,
    INFERENCE_NOT_SEEN,
    MOJIBAKE,
    NO_CORRECTION,
    NO_USER_TURN,
    NOT_CHAT,
    NOT_TEXT,
    REFUSED,
    SELF_IDENTICAL,
    SPEAKS_TO_MODEL,
    SUPERSEDED,
    TOO_LONG,
    TOO_SHORT,
    UNFINISHED,
    WAITING,
)
from thumbwheel.records import Clean
from thumbwheel.redact import Allowed, allowing, redact

RAW_FACTOR = 8  # beyond it nobody looks what a conversation would be without its invisible characters
COMPLETION = "cmpl-"  # what the inference ids of text completions begin with


@dataclass(frozen=True)
class Wants:
    """What a row is asked, made ready once for all."""

    limits: Limits
    clean: Clean
    terms: re.Pattern[str]
    allowed: Allowed


def wants_of(snapshot: Snapshot) -> Wants:
    """What the snapshot's channel asks of its rows."""
    clean = snapshot.clean
    return Wants(snapshot.limits, clean, blocking(clean.blocked_terms), allowing(clean.allow))


def screened(
    row: Joined, is_superseded: bool, wants: Wants, names: Sequence[str], words: Words = NOTHING_SAID
) -> Proposal | Verdict:
    """The correction, or state and reason.

    `names` are what a model found to be names in it, `words` what reviewers and models have said of it.
    """
    if is_superseded:
        return REFUSED, SUPERSEDED
    if row.barred is not None:
        return REFUSED, row.barred
    if row.messages is None:
        return WAITING, INFERENCE_NOT_SEEN
    found = ruled(row, words)
    if not isinstance(found, Joined):
        return found
    row = found
    if row.correction is None:
        return WAITING, NO_CORRECTION
    conversation = conversation_of(row, wants)
    if isinstance(conversation, str):
        return REFUSED, conversation
    target = clean(row.correction).strip()
    answer = None if row.answer is None else clean(row.answer)
    reason = fault_of(row.correction, target, answer, wants)
    if reason is not None:
        return REFUSED, reason
    without = redact(conversation, target, answer, wants.allowed, names)
    if without.reason is not None:
        return REFUSED, without.reason
    if words.decided is None and speaks_to_model(without.target):
        return WAITING, SPEAKS_TO_MODEL
    return Proposal(
        row,
        without.turns,
        without.target,
        without.answer,
        dict(without.found),
        decided=words.decided,
        reviews=words.reviews,
        private=without.private,
    )


def conversation_of(row: Joined, wants: Wants) -> tuple[Turn, ...] | str:
    """The turns that the answer answered, or why nothing can be taught of them."""
    if row.inference.startswith(COMPLETION):
        return NOT_CHAT
    messages = row.messages or ()
    if characters(messages) > RAW_FACTOR * wants.limits.max_prompt_width:
        return TOO_LONG
    conversation = turns(messages)
    if conversation is None:
        return NOT_TEXT
    if not conversation or conversation[-1][0] != "user" or not compared(conversation[-1][1]):
        return NO_USER_TURN
    if sum(width(text) for _, text in conversation) > wants.limits.max_prompt_width:
        return TOO_LONG
    return MOJIBAKE if any(map(is_mojibake, texts(messages))) else conversation


def fault_of(raw: str, target: str, answer: str | None, wants: Wants) -> str | None:
    """Why `target`, sent as `raw`, is not to be taught instead of `answer`; None where nothing speaks against it."""
    limits, policy = wants.limits, wants.clean
    if not target:
        return EMPTY
    if width(target) > limits.max_width or len(target) > (policy.max_chars or len(target)):
        return TOO_LONG
    if is_damaged(raw):
        return MOJIBAKE
    if says_nothing(target):
        return DEGENERATE
    if width(target) < limits.min_width or len(target) < (policy.min_chars or 0):
        return TOO_SHORT
    # Not `compared`: a correction of capitals or of line breaks is a correction, and may be just what the house wants.
    if answer is not None and in_one_width(target) == in_one_width(answer.strip()):
        return SELF_IDENTICAL
    if holds_blocked(target, wants.terms, policy.allow):
        return BLOCKED_TERM
    return UNFINISHED if is_unfinished(target) else None
