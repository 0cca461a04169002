"""Thumbs without a correction as rows of kind `kto`: the answer that was given, and whether it was liked. All pure.

An answer that was liked is held to all that a correction is held to, since it may be taught. One that was disliked may
break off, loop or swear, for just that may be what was disliked: it has to be text, and personal data in it becomes a
placeholder. Authors who judge the same answer to the same conversation differently contradict each other, as with
corrections: the latest expert's thumb stands, else they wait. Thumbs alike on the same or nearly the same are one row.

A correction says more than a thumb. Where one is taught in the same conversation, a thumbs-up on any other answer is
overruled, and a thumbs-down on the answer that it corrects is in that row already, as `rejected`.

It knows nothing of training: nothing is trained on these rows yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from feedback import dedupe
from feedback.clean import clean, width
from feedback.dedupe import Proposal
from feedback.join import Joined
from feedback.mojibake import is_damaged
from feedback.rulings import NOTHING_SAID, Words
from feedback.screening import Wants, conversation_of, fault_of
from feedback.snapshot import Verdict
from thumbwheel.ledger import CORRECTED, DUPLICATE, EMPTY, MOJIBAKE, NO_CORRECTION, REFUSED, TOO_LONG, WAITING
from thumbwheel.redact import redact

UP, DOWN = "up", "down"


def judged(row: Joined, wants: Wants, names: Sequence[str], words: Words = NOTHING_SAID) -> Proposal | Verdict:
    """The answer that a thumb judges, or state and reason, of a row that waits without a correction.

    `names` are what a model found to be names in it, `words` what reviewers have said of it.
    """
    if row.thumb not in (UP, DOWN):
        return WAITING, NO_CORRECTION
    conversation = conversation_of(row, wants)
    if isinstance(conversation, str):
        return REFUSED, conversation
    raw, label = row.answer or "", row.thumb == UP
    answer = clean(raw).strip()
    reason = fault_of(raw, answer, None, wants) if label else _no_text(raw, answer, wants)
    if reason is not None:
        return REFUSED, reason
    without = redact(conversation, answer if label else "", None if label else answer, wants.allowed, names)
    if without.reason is not None:
        return REFUSED, without.reason
    target = without.target if label else without.answer or ""
    found = dict(without.found)
    return Proposal(
        row,
        without.turns,
        target,
        redacted=found,
        label=label,
        decided=words.decided,
        reviews=words.reviews,
        private=without.private,
    )


def _no_text(raw: str, answer: str, wants: Wants) -> str | None:
    if not answer:
        return EMPTY
    if width(answer) > wants.limits.max_width:
        return TOO_LONG
    return MOJIBAKE if is_damaged(raw) else None


def resolve(thumbs: Iterable[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """The judgements that stay, by time of receipt, and the reason by feedback for each that does not."""
    agreed, refused = dedupe.agreed(thumbs, lambda one: (*_place(one), dedupe.target_key(one.target)), _label, _label)
    kept: list[Proposal] = []
    for label in (True, False):
        merged, alike = dedupe.merged([one for one in agreed if one.label is label])
        kept += merged
        refused |= alike
    return sorted(kept, key=lambda one: one.source.receipt), refused


def overruled(thumbs: Iterable[Proposal], taught: Iterable[Proposal]) -> dict[str, str]:
    """The reason, by feedback, for each judgement that the corrections in the dataset leave no place for."""
    targets: dict[tuple[str, ...], set[str]] = {}
    rejected: dict[tuple[str, ...], set[str]] = {}
    for one in taught:
        targets.setdefault(_place(one), set()).add(dedupe.target_key(one.target))
        if one.rejected is not None:
            rejected.setdefault(_place(one), set()).add(dedupe.target_key(one.rejected))
    found: dict[str, str] = {}
    for one in thumbs:
        place, answer = _place(one), dedupe.target_key(one.target)
        wanted = targets.get(place)
        if wanted is None:
            continue
        if one.label and answer in wanted:
            found[one.source.feedback] = DUPLICATE
        elif one.label or answer in wanted | rejected.get(place, set()):
            found[one.source.feedback] = CORRECTED
    return found


def _place(one: Proposal) -> tuple[str, ...]:
    return (dedupe.contest_key(one.turns, one.private),)


def _label(one: Proposal) -> str:
    return str(one.label)
