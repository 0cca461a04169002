"""What reviewers have decided of one feedback: pure functions of their reviews.

What is judged is the feedback's correction or, where a review names one, a model's proposal; each is judged for itself.
A reviewer's latest word on it counts, and nobody's on a correction of their own. The channel's policy `reviews` says
how many reviewers it takes:

    none yet        fewer than that have spoken, and nothing else is said
    approved        all who spoke approved it
    edited          all gave the same other target (compared in NFKC, without case and blanks)
    refused         all refused it
    disagreement    two said different things, however few are needed

A disagreement ends with the latest word of an arbiter, who is none of those who disagree; where there is none, an
arbiter's word says nothing. So nothing depends on whose clock was right, but for the order of one reviewer's own words.

`sample` chooses what a reviewer gets to see. It knows nothing of what becomes of the row (feedback/curate.py).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from thumbwheel.events import ReviewEvent
from thumbwheel.ids import digest32

APPROVE, EDIT, REFUSE = "approve", "edit", "refuse"
VERDICTS = (APPROVE, EDIT, REFUSE)
REVIEWER, ARBITER = "reviewer", "arbiter"
ROLES = (REVIEWER, ARBITER)
OPEN, APPROVED, EDITED, REFUSED, DISAGREED = "open", "approved", "edited", "refused", "disagreement"
DECIDED = {APPROVE: APPROVED, EDIT: EDITED, REFUSE: REFUSED}
STATES = (*DECIDED.values(), DISAGREED, OPEN)


@dataclass(frozen=True)
class Judged:
    """Where one target stands. `reviews` are the ids that say so, `spoken` how many reviewers have had their say.

    `proposal` names what was judged, None the correction. `target` is set where it is edited, `reason` where refused
    with one. `at` orders decisions: time and id of the last review that counts.
    """

    state: str
    proposal: str | None = None
    target: str | None = None
    reason: str | None = None
    reviews: tuple[str, ...] = ()
    spoken: int = 0
    at: tuple[int, str] = (0, "")


def said_alike(target: str) -> str:
    """The same for targets that reviewers need not argue about."""
    return " ".join(unicodedata.normalize("NFKC", target).casefold().split())


def judge(reviews: Sequence[ReviewEvent], needed: int, author: str | None) -> dict[str | None, Judged]:
    """Where each target of one feedback stands, by the proposal's id, None for the correction.

    `reviews` are all of that feedback, in order of receipt; `needed` is how many reviewers it takes; `author` is whose
    correction it is.
    """
    subjects: dict[str | None, list[ReviewEvent]] = {}
    for review in reviews:
        if review.proposal is not None or review.reviewer != author:
            subjects.setdefault(review.proposal, []).append(review)
    return {proposal: _judge(said, needed) for proposal, said in subjects.items()}


def decision(judged: Mapping[str | None, Judged]) -> Judged | None:
    """What was decided of the feedback: what may be learnt from it, or that it may not; None while nothing is.

    What was said of the feedback itself comes first. Of proposals that may be learnt it is the one that was settled
    last; where there is none, a disagreement. A proposal that was refused says nothing of others.
    """
    own = judged.get(None)
    if own is not None and own.state != OPEN:
        return own
    usable = [one for one in judged.values() if one.state in (APPROVED, EDITED)]
    if usable:
        return max(usable, key=lambda one: one.at)
    argued = [one for one in judged.values() if one.state == DISAGREED]
    return max(argued, key=lambda one: one.at, default=None)


def by_feedback(reviews: Iterable[ReviewEvent]) -> dict[str, list[ReviewEvent]]:
    """Reviews, in order of receipt, by the feedback that they judge."""
    found: dict[str, list[ReviewEvent]] = {}
    for review in reviews:
        found.setdefault(review.feedback, []).append(review)
    return found


def disagree(votes: Iterable[ReviewEvent]) -> bool:
    """Whether two reviewers' last words on one target differ."""
    return len({_verdict(one) for one in latest(votes)}) > 1


def latest(reviews: Iterable[ReviewEvent]) -> list[ReviewEvent]:
    """Each reviewer's last word, per feedback, target and role, in order."""
    last: dict[tuple[object, ...], ReviewEvent] = {}
    for review in reviews:
        key = (review.feedback, review.proposal, review.reviewer, review.role)
        last.pop(key, None)
        last[key] = review
    return list(last.values())


def review_id(said: ReviewEvent, before: ReviewEvent | None) -> str:
    """The id of what a reviewer says after `before`, their last word on the same target: the same again has the same.

    `said` comes without an id. Who returns to an earlier word says something new.
    """
    if before is not None and _content(before) == _content(said):
        return before.id
    seed = (said.feedback, said.channel, said.reviewer, said.role, *_content(said), before.id if before else "")
    return f"rv-{digest32(repr(seed).encode(), 26)}"


def sample(waiting: Sequence[str], size: int, seed: str) -> list[str]:
    """`size` of what waits, in the order of the draw; who has the same seed draws the same of what still waits."""
    return sorted(waiting, key=lambda one: digest32(f"{seed}\0{one}".encode(), 26))[:size]


def _judge(reviews: Sequence[ReviewEvent], needed: int) -> Judged:
    said = latest(reviews)
    votes = [one for one in said if one.role == REVIEWER]
    voters = {one.reviewer for one in votes}
    arbiters = [one for one in said if one.role == ARBITER and one.reviewer not in voters]
    if disagree(votes):
        return _decided(votes, arbiters[-1:]) if arbiters else _stands(DISAGREED, votes)
    if len(votes) < needed:
        return _stands(OPEN, votes)
    return _decided(votes, votes)


def _decided(votes: Sequence[ReviewEvent], deciding: Sequence[ReviewEvent]) -> Judged:
    last = deciding[-1]
    counting = [*votes, *(one for one in deciding if one not in votes)]
    return Judged(
        state=DECIDED[last.verdict],
        proposal=last.proposal,
        target=last.target if last.verdict == EDIT else None,
        reason=last.reason,
        reviews=tuple(one.id for one in counting),
        spoken=len(counting),
        at=(last.at_ms, last.id),
    )


def _stands(state: str, votes: Sequence[ReviewEvent]) -> Judged:
    last = votes[-1] if votes else None
    return Judged(
        state=state,
        proposal=last.proposal if last else None,
        reviews=tuple(one.id for one in votes),
        spoken=len(votes),
        at=(last.at_ms, last.id) if last else (0, ""),
    )


def _verdict(review: ReviewEvent) -> tuple[str, str]:
    return review.verdict, said_alike(review.target or "") if review.verdict == EDIT else ""


def _content(review: ReviewEvent) -> tuple[object, ...]:
    scores = tuple(sorted(review.scores.items()))
    return review.verdict, review.target, review.reason, review.proposal, scores
