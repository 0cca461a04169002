"""What waits for a reviewer, and which words are taken: questions of the store. Who asks may be a stranger to the rest.

Nothing is written here; what reviewers' words amount to is in thumbwheel/adjudication.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import structs
from sqlalchemy import Connection

from serving import cases
from thumbwheel import adjudication
from thumbwheel.adjudication import Judged
from thumbwheel.errors import Conflict, InvalidRequest, NotFound
from thumbwheel.events import ProposalEvent, ReviewEvent
from thumbwheel.ledger import ARRIVAL_REFUSALS, DISAGREEMENT, NO_CORRECTION, NO_RUN_YET, PROPOSED, REVIEWABLE
from thumbwheel.records import Channel, Policies
from thumbwheel.redact import allowing
from thumbwheel.store import curation_rows, release_rows, review_rows
from thumbwheel.store.review_rows import Case, Waiting

STATES = (*sorted(REVIEWABLE), NO_CORRECTION, NO_RUN_YET)
"""Why a feedback may wait that a reviewer may look at."""

Judgement = Mapping[str | None, Judged]


@dataclass(frozen=True)
class Reviews:
    """A channel's reviews, by feedback and in order of receipt, and where each target stands that was reviewed."""

    said: Mapping[str, Sequence[ReviewEvent]]
    judged: Mapping[str, Judgement]


def reviews_of(tx: Connection, channel: Channel) -> Reviews:
    """All of a channel."""
    said = adjudication.by_feedback(curation_rows.of_channel(tx, channel.name, ReviewEvent))
    authors = review_rows.authors(tx, said)
    needed = channel.policies.reviews
    return Reviews(said, {one: adjudication.judge(some, needed, authors.get(one)) for one, some in said.items()})


def queue(
    tx: Connection, channel: Channel, reviews: Reviews, states: frozenset[str], reviewer: str | None
) -> dict[str, str]:
    """Feedback -> why it waits, oldest first, of all in one of `states` of which nothing has been decided.

    What `reviewer` has said or reviewed is left out.
    """
    found = {}
    for row in review_rows.waiting(tx, channel.name, STATES):
        judged = _asked(row, reviews.judged.get(row.feedback, {}))
        decided = adjudication.decision(judged)
        reason = row.reason if decided is None else DISAGREEMENT
        own = reviewer is not None and (
            row.author == reviewer or any(one.reviewer == reviewer for one in reviews.said.get(row.feedback, ()))
        )
        is_open = decided is None or decided.state == adjudication.DISAGREED
        if is_open and reason in states and not own and not _all_refused(tx, row, judged):
            found[row.feedback] = reason
    return found


def get_case(tx: Connection, channel: Channel, feedback: str) -> Case:
    """The feedback as a reviewer sees it. Raises NotFound."""
    found = review_rows.case(tx, feedback)
    if found is None or found.feedback.channel != channel.name:
        raise NotFound("No feedback of this channel has this id.", param="feedback", code="feedback_not_found")
    return found


def argued(reviews: Reviews, feedback: str) -> list[ReviewEvent]:
    """The words on it that disagree."""
    judged = reviews.judged.get(feedback, {}).values()
    ids = {id_ for one in judged if one.state == adjudication.DISAGREED for id_ in one.reviews}
    return [one for one in reviews.said.get(feedback, ()) if one.id in ids]


def accept(tx: Connection, said: ReviewEvent) -> tuple[ReviewEvent, bool]:
    """The review with its id, and whether it says anything new. Raises NotFound, Conflict, InvalidRequest."""
    channel = release_rows.get_channel(tx, said.channel)
    case = get_case(tx, channel, said.feedback)
    _check_subject(case, said, channel.policies)
    before = [one for one in curation_rows.on_feedback(tx, said.feedback, ReviewEvent) if one.proposal == said.proposal]
    if said.role == adjudication.ARBITER:
        _check_arbiter(before, said)
    fault = None if said.target is None else cases.fault_of(case, said.target, allowing(channel.policies.clean.allow))
    if fault is not None:
        raise InvalidRequest(
            "`target` holds a secret, or personal data that the conversation does not hold. Take it out, or add the "
            "house's own contact data to the channel's `clean.allow`.",
            param="target",
            code=fault,
        )
    own = [one for one in before if (one.reviewer, one.role) == (said.reviewer, said.role)]
    last = own[-1] if own else None
    id_ = adjudication.review_id(said, last)
    return (last, False) if last is not None and last.id == id_ else (structs.replace(said, id=id_), True)


def _asked(row: Waiting, judged: Judgement) -> Judgement:
    """The words on what it waits for: who approved the thumb, while thumbs were rows, approved no proposal."""
    own = judged.get(None)
    if row.reason != PROPOSED or own is None or own.state != adjudication.APPROVED:
        return judged
    return {of: one for of, one in judged.items() if of is not None}


def _all_refused(tx: Connection, row: Waiting, judged: Judgement) -> bool:
    """Whether it waits for a reviewer of proposals, and all of them have been refused."""
    if row.reason != PROPOSED or not judged:
        return False
    proposals = curation_rows.on_feedback(tx, row.feedback, ProposalEvent)
    return all(one.id in judged and judged[one.id].state == adjudication.REFUSED for one in proposals)


def _check_subject(case: Case, said: ReviewEvent, policies: Policies) -> None:
    row = case.feedback
    if case.messages is None or row.reason in ARRIVAL_REFUSALS:
        raise Conflict(
            "There is nothing to review: the conversation is not here, or the feedback was refused on arrival.",
            param="feedback",
            code="not_reviewable",
        )
    if said.proposal is not None:
        if said.proposal not in {one.id for one in case.proposals}:
            raise NotFound("No proposal for this feedback has this id.", param="proposal", code="proposal_not_found")
        return
    judges = row.thumb is not None and policies.uncorrected == "kto"  # then the thumb is what is approved
    if row.correction is None and said.verdict == adjudication.APPROVE and not judges:
        raise Conflict(
            "This feedback has no correction that could be approved. Name a `proposal`, or send a `target`.",
            param="verdict",
            code="no_correction",
        )
    if said.reviewer == row.author:
        raise Conflict("Nobody reviews a correction of their own.", param="reviewer", code="own_correction")


def _check_arbiter(before: Sequence[ReviewEvent], said: ReviewEvent) -> None:
    votes = [one for one in before if one.role == adjudication.REVIEWER]
    if said.reviewer in {one.reviewer for one in votes}:
        raise Conflict("Who has reviewed it cannot be its arbiter.", param="reviewer", code="own_review")
    if not adjudication.disagree(votes):
        raise Conflict("Its reviewers do not disagree; review it yourself.", param="role", code="no_disagreement")
