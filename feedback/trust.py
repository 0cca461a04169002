"""Whose word is enough for a row to be learnt from, as the channel's policy `trust` has it: a pure function.

    single-user    one author's
    two-sources    the same target for the same or nearly the same question, of at least two persons; the authors of all
                   that was merged count, a model's proposal does not; what was imported and names no author is
                   one voice, as nothing says that two persons wrote it
    reviewed       a reviewer's; an expert's word counts as one

Whose word it is says the author, and not the key: whoever holds a key can name two authors. It knows nothing of floods
(flood.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from feedback.dedupe import Proposal
from thumbwheel.events import IMPORTED, NOBODY
from thumbwheel.ledger import NEEDS_REVIEW, SECOND_SOURCE
from thumbwheel.roles import EXPERT, PERSONS

SINGLE_USER, TWO_SOURCES, REVIEWED = "single-user", "two-sources", "reviewed"


def admit(kept: Sequence[Proposal], trust: str) -> tuple[list[Proposal], dict[str, str]]:
    """The proposals that may be learnt from, in order, and by feedback the reason why each other one waits."""
    admitted: list[Proposal] = []
    waiting: dict[str, str] = {}
    for proposal in kept:
        if reason := _lacks(proposal, trust):
            waiting[proposal.source.feedback] = reason
        else:
            admitted.append(proposal)
    return admitted, waiting


def _lacks(proposal: Proposal, trust: str) -> str | None:
    if trust == TWO_SOURCES:
        persons = {_person(author) for author, role in proposal.voices if role in PERSONS}
        return SECOND_SOURCE if len(persons) < 2 else None
    if trust == REVIEWED:
        return NEEDS_REVIEW if proposal.decided is None and all(role != EXPERT for _, role in proposal.voices) else None
    return None


def _person(author: str) -> str:
    return IMPORTED if author.startswith(NOBODY) else author
