"""The ledger's words, and where a feedback stands before any dataset is frozen: a pure function.

Every acknowledged feedback is, at any time, exactly one of three:

    used      in at least one frozen dataset; it stays so, unless the person behind it is erased, and it with them
    refused   with a reason: superseded, training_not_permitted, no_text, foreign, what curation found, or that what it
              waited for has not come
    waiting   with a reason: inference_not_seen, no_correction, no_run_yet, dead_letter, or what curation found that
              another author or a reviewer may yet settle

Every wait but a reviewer's ends by itself, a feedback window after the feedback's receipt; `GIVEN_UP` says as what.

`settle` sees all feedback on one inference at once and does not depend on the order of arrival. It knows nothing of the
texts; what curation refuses is in feedback/curate.py.

Nor does it know the time: that a wait is over is the consumer's to decide, and curation's at its own moment. It is the
waiting that ends. What was waited for may still come: an inference from a spool that lay somewhere, a second person, a
reviewer, a run, an update that can handle the record. Then the reason is no longer true and the feedback is taken like
any other: what counts is what has arrived, and somebody's correction is not thrown away because a disk was slow, or
because nobody trained for a month.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

WAITING, USED, REFUSED = "waiting", "used", "refused"

INFERENCE_NOT_SEEN = "inference_not_seen"
NO_CORRECTION = "no_correction"
NO_RUN_YET = "no_run_yet"
DEAD_LETTER = "dead_letter"
"""Of no row: a record that the consumer could not handle waits to be redriven (store/dead_letter_rows.py)."""

SUPERSEDED = "superseded"
TRAINING_NOT_PERMITTED = "training_not_permitted"
NO_TEXT = "no_text"
FOREIGN = "foreign"
INFERENCE_UNKNOWN = "inference_unknown"
UNCORRECTED = "uncorrected"
UNCONFIRMED = "unconfirmed"
UNUSED = "unused"
UNHANDLED = "unhandled"
"""Of no row, as `dead_letter`."""
ERASED = "erased"
ARRIVAL_REFUSALS = frozenset({SUPERSEDED, TRAINING_NOT_PERMITTED, NO_TEXT, FOREIGN, INFERENCE_UNKNOWN, ERASED})
"""Reasons that follow from what has arrived; every other refusal is curation's and stands until the next freeze."""

NOT_CHAT = "not_chat"
NOT_TEXT = "not_text"
NO_USER_TURN = "no_user_turn"
EMPTY = "empty"
TOO_SHORT = "too_short"
TOO_LONG = "too_long"
DEGENERATE = "degenerate"
SELF_IDENTICAL = "self_identical"
MOJIBAKE = "mojibake"
BLOCKED_TERM = "blocked_term"
UNFINISHED = "unfinished"
SECRET_IN_TARGET = "secret_in_target"
PERSONAL_DATA_IN_TARGET = "personal_data_in_target"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near_duplicate"
SEMANTIC_DUPLICATE = "semantic_duplicate"
AUTHOR_CAP = "author_cap"
SPLIT_CONFLICT = "split_conflict"

MERGED = frozenset({DUPLICATE, NEAR_DUPLICATE, SEMANTIC_DUPLICATE})
"""Of a row that another one stands for."""
CORRECTED = "corrected"
"""Of a thumb: somebody corrected the answer."""
EXCLUDED = "excluded"
REVIEW_REFUSED = "review_refused"
LEFT_OUT = "left_out"
"""A channel's mix has no room for the row."""
CONTRADICTION = "contradiction"
SPEAKS_TO_MODEL = "speaks_to_model"
QUARANTINED = "quarantined"
NEEDS_REVIEW = "needs_review"
SECOND_SOURCE = "second_source"
PROPOSED = "proposed"
"""A model's proposal stands where a correction would: for a reviewer."""
DISAGREEMENT = "disagreement"
"""Two reviewers said different things of it: for an arbiter."""
CURATION_WAITS = frozenset(
    {CONTRADICTION, SPEAKS_TO_MODEL, QUARANTINED, NEEDS_REVIEW, SECOND_SOURCE, PROPOSED, DISAGREEMENT}
)
"""What curation lets wait; it stands until the next freeze."""
REVIEWABLE = CURATION_WAITS - {SECOND_SOURCE}
"""What a reviewer ends, and nothing else: such a wait has no deadline."""
GIVEN_UP: Mapping[str, str] = {
    INFERENCE_NOT_SEEN: INFERENCE_UNKNOWN,
    NO_CORRECTION: UNCORRECTED,
    NO_RUN_YET: UNUSED,
    SECOND_SOURCE: UNCONFIRMED,
    DEAD_LETTER: UNHANDLED,
}
"""As what a wait ends once its window is over: what it waits for, and the refusal."""


class Seen(Struct, frozen=True, gc=False):
    """What the ledger must know of an inference that is in the store."""

    tenant: str
    channel: str
    unit: str
    trainable: bool
    has_text: bool


class Entry(Struct, frozen=True, gc=False):
    """What the ledger must know of a feedback. `author` is None until joined, unless a key named one."""

    id: str
    tenant: str
    channel: str
    author: str | None
    at_ms: int
    seq: int
    corrects: bool
    state: str
    reason: str | None


class Standing(Struct, frozen=True, gc=False):
    """Where a feedback stands."""

    author: str | None
    state: str
    reason: str | None


def waits_until_ms(reason: str | None, at_ms: int, window_ms: int) -> int | None:
    """When feedback received at `at_ms` ceases to wait by itself; None where only a reviewer ends that."""
    return at_ms + window_ms if reason in GIVEN_UP else None


def given_up(state: str, reason: str | None, at_ms: int, closed_ms: int) -> tuple[str, str | None]:
    """State and reason of feedback received at `at_ms`, where the window of all received by `closed_ms` is over."""
    refusal = GIVEN_UP.get(reason or "")
    return (REFUSED, refusal) if state == WAITING and refusal and at_ms <= closed_ms else (state, reason)


def taken_up(state: str, reason: str | None) -> tuple[str, str | None]:
    """State and reason of feedback whose window begins anew, since its author has said it again."""
    waited = [wait for wait, refusal in GIVEN_UP.items() if (state, reason) == (REFUSED, refusal)]
    return (WAITING, waited[0]) if waited else (state, reason)


def barred(seen: Seen, tenant: str, channel: str) -> str | None:
    """Why feedback of this tenant and channel may not be learnt from, as its inference says; None where it may."""
    if seen.tenant != tenant or seen.channel != channel:
        return FOREIGN
    if not seen.trainable:
        return TRAINING_NOT_PERMITTED
    return None if seen.has_text else NO_TEXT


def settle(seen: Seen | None, entries: Sequence[Entry]) -> dict[str, Standing]:
    """Where each of `entries`, which are all the feedback on one inference, stands now; by id."""
    if len(entries) == 1:
        return {entries[0].id: settle_only(seen, entries[0])}
    authors = {entry.id: entry.author or (seen.unit if seen else None) for entry in entries}
    latest: dict[str | None, Entry] = {}
    for entry in sorted(entries, key=lambda entry: (entry.at_ms, entry.seq, entry.id)):
        latest[authors[entry.id]] = entry
    current = {entry.id for entry in latest.values()}
    return {entry.id: _standing(seen, entry, authors[entry.id], entry.id in current) for entry in entries}


def settle_only(seen: Seen | None, entry: Entry) -> Standing:
    """As `settle`, of the only feedback on its inference: nearly always so, and ingestion asks once a feedback."""
    return _standing(seen, entry, entry.author or (seen.unit if seen else None), True)


def _standing(seen: Seen | None, entry: Entry, author: str | None, is_latest: bool) -> Standing:
    # Asked of every feedback: one comparison after the other is quicker than pairs are made.
    if entry.state == REFUSED and entry.reason == ERASED:
        return Standing(author, REFUSED, ERASED)
    if entry.state == USED:
        return Standing(author, USED, None)
    if not is_latest:
        return Standing(author, REFUSED, SUPERSEDED)
    if seen is None and (entry.state, entry.reason) == (REFUSED, INFERENCE_UNKNOWN):
        return Standing(author, REFUSED, INFERENCE_UNKNOWN)
    if seen is None:
        return Standing(author, WAITING, INFERENCE_NOT_SEEN)
    if reason := barred(seen, entry.tenant, entry.channel):
        return Standing(author, REFUSED, reason)
    if entry.state == REFUSED and entry.reason not in ARRIVAL_REFUSALS:
        return Standing(author, REFUSED, entry.reason)
    if entry.state == WAITING and entry.reason in CURATION_WAITS:
        return Standing(author, WAITING, entry.reason)
    return Standing(author, WAITING, NO_RUN_YET if entry.corrects else NO_CORRECTION)
