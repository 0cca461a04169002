"""What reviewers' words do to a channel's rows: pure functions of a snapshot.

Who approved a row releases it from every wait that a reviewer may end (`ledger.REVIEWABLE`); who edited it gives it
another target, which then has to pass all that a correction passes. A refused one is refused, and one that reviewers
disagree on waits. What their words amount to is in thumbwheel/adjudication.py.

A model's proposal is looked at only where no person has corrected the answer. It is taught as reviewers approved it, or
as they made it, in the role of the model; until then the row waits. Once all are refused, there is no correction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from feedback.join import Joined
from feedback.snapshot import Snapshot, Verdict
from thumbwheel import adjudication
from thumbwheel.adjudication import Judged
from thumbwheel.events import ProposalEvent
from thumbwheel.ledger import DISAGREEMENT, PROPOSED, REFUSED, REVIEW_REFUSED, WAITING


@dataclass(frozen=True)
class Words:
    """What was said of one feedback: where each target stands, what models proposed, and who said which review."""

    judged: Mapping[str | None, Judged] = field(default_factory=dict)
    proposals: Sequence[ProposalEvent] = ()
    reviewers: Mapping[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> Judged | None:
        """The decision that lets the row be taught, if there is one."""
        found = adjudication.decision(self.judged)
        return found if found is not None and found.state in (adjudication.APPROVED, adjudication.EDITED) else None

    @property
    def decided(self) -> tuple[int, str] | None:
        """What orders such decisions, the latest last."""
        return None if self.settled is None else self.settled.at

    @property
    def reviews(self) -> tuple[tuple[str, str], ...]:
        """The reviews that made it, each with its reviewer."""
        return () if self.settled is None else tuple((of, self.reviewers[of]) for of in self.settled.reviews)


NOTHING_SAID = Words()


def words_of(snapshot: Snapshot) -> dict[str, Words]:
    """By feedback, of all that a reviewer or a model has said something of."""
    said = adjudication.by_feedback(snapshot.reviews)
    made: dict[str, list[ProposalEvent]] = {}
    for proposal in snapshot.proposals:
        made.setdefault(proposal.feedback, []).append(proposal)
    return {
        row.feedback: Words(
            adjudication.judge(said.get(row.feedback, ()), snapshot.reviewers, row.author),
            made.get(row.feedback, ()),
            {review.id: review.reviewer for review in said.get(row.feedback, ())},
        )
        for row in snapshot.rows
        if row.feedback in said or row.feedback in made
    }


def ruled(row: Joined, words: Words) -> Joined | Verdict:
    """The row with the target that is to be taught, or state and reason where reviewers let none be."""
    own = words.judged.get(None)
    state = adjudication.OPEN if own is None else own.state
    if state == adjudication.DISAGREED:
        return WAITING, DISAGREEMENT
    if state == adjudication.REFUSED:
        return REFUSED, REVIEW_REFUSED
    if own is not None and state == adjudication.EDITED:
        return replace(row, correction=own.target)
    return row if row.correction is not None else _proposed(row, words)


def _proposed(row: Joined, words: Words) -> Joined | Verdict:
    known = {one.id: one for one in words.proposals}
    judged: dict[str | None, Judged] = {of: one for of, one in words.judged.items() if of in known}
    found = adjudication.decision(judged)
    if found is not None and found.state == adjudication.DISAGREED:
        return WAITING, DISAGREEMENT
    if found is not None and found.proposal is not None:
        proposal = known[found.proposal]
        return replace(row, correction=found.target or proposal.target, role=proposal.role)
    left = [of for of in known if of not in judged or judged[of].state != adjudication.REFUSED]
    return (WAITING, PROPOSED) if left else row


def review_counts(snapshot: Snapshot) -> dict[str, int]:
    """How many reviews there are, by how many persons, and of how many feedback they decided what."""
    decided = [adjudication.decision(words.judged) for words in words_of(snapshot).values() if words.judged]
    states = Counter(adjudication.OPEN if one is None else one.state for one in decided)
    persons = {review.reviewer for review in snapshot.reviews}
    counts = {state: states[state] for state in adjudication.STATES}
    return {"reviews": len(snapshot.reviews), "reviewers": len(persons), **counts}
