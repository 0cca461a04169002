"""Which other feedback a verdict speaks of: a pure function, for a person who asks why (thumbwheel/why.py).

The row that a duplicate stands behind, who wants another answer in the same conversation, what a flood is made of. It
has no effect on what is learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from feedback.dedupe import Proposal, contest_key
from feedback.flood import alike
from feedback.snapshot import Verdict
from thumbwheel.ledger import CONTRADICTION, MERGED, QUARANTINED, SUPERSEDED

MOST = 5  # of one feedback: enough to look at


def beside(
    proposals: Sequence[Proposal], verdicts: Mapping[str, Verdict], stands_for: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """By feedback, the first `MOST` others by time of receipt.

    `stands_for` says behind which one a merged one stands.
    """
    ordered = sorted(proposals, key=lambda one: one.source.receipt)
    reasons = {one.source.feedback: verdicts[one.source.feedback][1] for one in ordered}
    merged = [one for one, reason in reasons.items() if reason in MERGED and one in stands_for]
    found: dict[str, tuple[str, ...]] = {one: (_last(one, stands_for),) for one in merged}
    contests: dict[str, list[str]] = {}
    for one in ordered:
        contests.setdefault(contest_key(one.turns, one.private), []).append(one.source.feedback)
    for rivals in contests.values():
        want = [one for one in rivals if reasons[one] == CONTRADICTION]
        stay = [one for one in rivals if reasons[one] not in (CONTRADICTION, SUPERSEDED, *MERGED)]
        found |= {one: tuple(other for other in want if other != one) for one in want}
        found |= {one: tuple(stay) for one in rivals if reasons[one] == SUPERSEDED}
    flooding = [one for one in ordered if reasons[one.source.feedback] == QUARANTINED]
    for places in alike([one.target for one in flooding]):
        group = [flooding[at].source.feedback for at in places]
        found |= {one: tuple(other for other in group if other != one) for one in group}
    return {one: others[:MOST] for one, others in found.items() if others}


def _last(one: str, stands_for: Mapping[str, str]) -> str:
    """What stands in the end: a row may be merged into one that is merged in its turn."""
    while one in stands_for:
        one = stands_for[one]
    return one
