"""What reviewers are shown: the feedback that waits for them, and each with its conversation and proposals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from thumbwheel import ledger
from thumbwheel.events import ProposalEvent
from thumbwheel.ids import day_of
from thumbwheel.records import Feedback
from thumbwheel.store import bulk, curation_rows, data_rows, schema


@dataclass(frozen=True)
class Waiting:
    """A feedback that waits, why, and whose correction it is."""

    feedback: str
    reason: str
    author: str | None


@dataclass(frozen=True)
class Case:
    """A feedback with all that a reviewer needs. `messages` is None where its answer is not there, or has no text."""

    feedback: Feedback
    messages: Sequence[Mapping[str, Any]] | None
    answer: str | None
    proposals: Sequence[ProposalEvent]


def waiting(tx: Connection, channel: str, reasons: Collection[str]) -> list[Waiting]:
    """The channel's feedback that waits for one of these reasons, in order of receipt."""
    c = schema.feedback.c
    query = select(c.id, c.reason, c.author).where(
        c.channel == channel, c.state == ledger.WAITING, c.reason.in_(sorted(reasons))
    )
    return [Waiting(*row) for row in tx.execute(query.order_by(c.at_ms, c.seq, c.id))]


def authors(tx: Connection, feedback: Collection[str]) -> dict[str, str | None]:
    """Feedback -> its author."""
    c = schema.feedback.c
    found = tx.execute(select(c.id, c.author).where(bulk.among(tx, c.id, sorted(feedback))))
    return {row.id: row.author for row in found}


def case(tx: Connection, feedback: str) -> Case | None:
    """The feedback, or None where the store has not seen it (yet)."""
    row = data_rows.feedback_row(tx, feedback)
    if row is None:
        return None
    i = schema.inferences.c
    query = select(i.messages, i.answer).where(i.id == row.inference, i.day == day_of(row.inference))
    messages, answer = tx.execute(query).one_or_none() or (None, None)
    return Case(row, messages, answer, curation_rows.on_feedback(tx, feedback, ProposalEvent))
