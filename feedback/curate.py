"""Curation: from a snapshot of a channel's feedback to the rows of a dataset, and a reason for all that is not one.

A pure function in canonical order: the same snapshot gives the same bytes, in whatever order its rows come. Each
feedback gets exactly one verdict. It is refused, in this order, as

    superseded                       its author said something else later of this answer
    what arrival already refused     training_not_permitted, no_text, foreign, inference_unknown (thumbwheel/ledger.py)
    not_chat                         a text completion: a row is a conversation, and would teach another prompt's form
    too_long                         the conversation as it was sent has over RAW_FACTOR * max_prompt_width characters
    not_text                         the conversation holds something that is no text (an image, a tool call)
    no_user_turn                     the turn that was answered is not a user's
    empty, too_long                  nothing is left when invisible characters go; over max_width or max_prompt_width,
                                     or over the channel's max_chars
    mojibake                         the correction or a turn was read in a wrong encoding (mojibake.py)
    degenerate                       no letter or digit in any script, or a loop
    too_short                        under min_width, or the channel's min_chars
    self_identical                   the correction is the model's own answer, to the character
    blocked_term                     the correction holds a term that answers may not hold (blocked.py)
    unfinished                       the correction breaks off (unfinished.py)
    secret_in_target, personal_data_in_target
                                     the correction holds what the conversation does not (redact.py)
    superseded                       its author said something else later in the same conversation, or the latest
                                     expert did
    duplicate, near_duplicate        another row says the same (dedupe.py, near.py): it is merged into that one
    author_cap                       its author has more than max(author_rows, author_share of the rows); the first stay
    split_conflict                   an earlier turn of its conversation is a question of another split

or waits, if arrival has not refused it:

    inference_not_seen, no_correction
    speaks_to_model                  the correction tells the model how to answer (addressed.py)
    contradiction                    authors want different answers in the same conversation, and none is an expert
    second_source, needs_review      the channel's `trust` asks for more than one author's word (trust.py)
    quarantined                      one of a flood (flood.py)

Personal data and secrets in what is kept
are placeholders, and that is what duplicates, groups and ids are made of. A split is fixed when a dataset first holds
its group (splits.py). Where the rows are too few to train and to judge by, the curation says in `shortfall` how many
more corrections it takes.

It knows nothing of tokens (the trainer cuts by its model's length) and of meaning. What a model found (names) was found
before, and is part of the snapshot.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from feedback import dedupe, flood, splits, trust
from feedback.addressed import speaks_to_model
from feedback.blocked import blocking, holds_blocked
from feedback.clean import clean, compared, says_nothing, width
from feedback.dedupe import Proposal
from feedback.join import Joined, Turn, characters, superseded, texts, turns
from feedback.mojibake import is_mojibake
from feedback.redact import Allowed, allowing, redact
from feedback.unfinished import is_unfinished
from thumbwheel.ids import digest32
from thumbwheel.ledger import (
    ARRIVAL_REFUSALS,
    AUTHOR_CAP,
    BLOCKED_TERM,
    CURATION_WAITS,
    DEGENERATE,
    EMPTY,
    INFERENCE_NOT_SEEN,
    MOJIBAKE,
    NO_CORRECTION,
    NO_USER_TURN,
    NOT_CHAT,
    NOT_TEXT,
    QUARANTINED,
    REFUSED,
    SELF_IDENTICAL,
    SPEAKS_TO_MODEL,
    SPLIT_CONFLICT,
    SUPERSEDED,
    TOO_LONG,
    TOO_SHORT,
    UNFINISHED,
    USED,
    WAITING,
)
from thumbwheel.records import Clean

FORMAT = 2
RAW_FACTOR = 8  # beyond it nobody looks what a conversation would be without its invisible characters
COMPLETION = "cmpl-"  # what the inference ids of text completions begin with

Verdict = tuple[str, str | None]
"""State and reason."""


@dataclass(frozen=True)
class Limits:
    """What curation asks of rows. Widths are in columns (`clean.width`)."""

    min_width: int = 2
    max_width: int = 8_000
    max_prompt_width: int = 32_000
    author_rows: int = 20
    author_share: float = 0.1
    min_train: int = 20  # rows
    min_test: int = 20  # groups of test rows
    min_new_test: int = 10  # groups of test rows that the incumbent's dataset does not hold


@dataclass(frozen=True)
class Snapshot:
    """All that curation may depend on.

    `splits` are the channel's groups so far. `since` is, for each example of the incumbent's dataset, the first dataset
    of its line that held it. `names` are what the model `names_by` found to be names, by feedback. `wants_new` is false
    where a draft is judged that was not trained here: then nothing new is needed.
    """

    channel: str
    rows: Sequence[Joined]
    as_of_ms: int
    positions: Mapping[str, Mapping[int, int]]
    splits: Mapping[str, str] = field(default_factory=dict)
    incumbent: str | None = None
    since: Mapping[str, str] = field(default_factory=dict)
    wants_new: bool = True
    limits: Limits = Limits()
    clean: Clean = field(default_factory=Clean)
    trust: str = trust.SINGLE_USER
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names_by: str | None = None


@dataclass(frozen=True)
class Example:
    """One training row."""

    id: str
    proposal: Proposal
    group: str
    split: str
    since: str | None


@dataclass(frozen=True)
class Curation:
    """The dataset's examples by id, the verdict on every feedback, and the splits of groups that are new.

    Where `shortfall` is not empty the dataset is not to be used: it says, for a person, what is missing.
    """

    examples: tuple[Example, ...]
    verdicts: Mapping[str, Verdict]
    new_splits: Mapping[str, str]
    shortfall: tuple[str, ...]
    rows: bytes
    card: bytes


def curate(snapshot: Snapshot) -> Curation:
    """The dataset that the snapshot makes, byte for byte the same whenever it is asked."""
    verdicts: dict[str, Verdict] = {}
    proposals: list[Proposal] = []
    gone = superseded(snapshot.rows)
    wants = _Wants(
        snapshot.limits, snapshot.clean, blocking(snapshot.clean.blocked_terms), allowing(snapshot.clean.allow)
    )
    for row in snapshot.rows:
        found = _proposal(row, row.feedback in gone, wants, snapshot.names.get(row.feedback, ()))
        if isinstance(found, Proposal):
            proposals.append(found)
        else:
            verdicts[row.feedback] = found
    kept, refused = dedupe.resolve(proposals)
    kept, unconfirmed = trust.admit(kept, snapshot.trust)
    most = snapshot.limits.author_rows
    by_many = set() if snapshot.trust == trust.SINGLE_USER else flood.of_many(kept, proposals, most)
    kept, over = _cap([proposal for proposal in kept if proposal.source.feedback not in by_many], snapshot.limits)
    flooding = by_many | flood.of_one(kept, most)
    kept = [proposal for proposal in kept if proposal.source.feedback not in flooding]
    refused |= unconfirmed | over | dict.fromkeys(flooding, QUARANTINED)
    assigned = splits.assign({_group(proposal) for proposal in kept}, snapshot.splits)
    known = {**snapshot.splits, **assigned}
    examples = []
    for proposal in kept:
        group, id_ = _group(proposal), example_id(proposal)
        if any(known.get(earlier, known[group]) != known[group] for earlier in _earlier_groups(proposal)):
            refused[proposal.source.feedback] = SPLIT_CONFLICT
            continue
        examples.append(Example(id_, proposal, group, known[group], snapshot.since.get(id_)))
        verdicts[proposal.source.feedback] = (USED, None)
    verdicts |= {
        feedback: (WAITING if reason in CURATION_WAITS else REFUSED, reason) for feedback, reason in refused.items()
    }
    examples.sort(key=lambda example: example.id)
    held = {example.group for example in examples}
    return Curation(
        examples=tuple(examples),
        verdicts=dict(sorted(verdicts.items())),
        new_splits={group: split for group, split in sorted(assigned.items()) if group in held},
        shortfall=_shortfall(snapshot, examples),
        rows=b"".join(_line(example) for example in examples),
        card=_card(snapshot, examples, verdicts),
    )


def example_id(proposal: Proposal) -> str:
    """The same for the same conversation with the same target, whoever proposed it and when."""
    key = dedupe.conversation_key(proposal.turns) + dedupe.target_key(proposal.target)
    return f"ex-{digest32(key.encode(), 26)}"


@dataclass(frozen=True)
class _Wants:
    """What a row is asked, made ready once for all."""

    limits: Limits
    clean: Clean
    terms: re.Pattern[str]
    allowed: Allowed


def _proposal(row: Joined, is_superseded: bool, wants: _Wants, names: Sequence[str]) -> Proposal | Verdict:
    if is_superseded:
        return REFUSED, SUPERSEDED
    if row.state == REFUSED and row.reason in ARRIVAL_REFUSALS - {SUPERSEDED}:
        return REFUSED, row.reason
    if row.messages is None:
        return WAITING, INFERENCE_NOT_SEEN
    if row.correction is None:
        return WAITING, NO_CORRECTION
    if row.inference.startswith(COMPLETION):
        return REFUSED, NOT_CHAT
    if characters(row.messages) > RAW_FACTOR * wants.limits.max_prompt_width:
        return REFUSED, TOO_LONG
    conversation = turns(row.messages)
    target = clean(row.correction).strip()
    answer = None if row.answer is None else clean(row.answer)
    raw = (*texts(row.messages), row.correction)
    reason = _fault(conversation, target, answer, raw, wants)
    if conversation is None or reason is not None:
        return REFUSED, reason or NOT_TEXT
    without = redact(conversation, target, answer, wants.allowed, names)
    if without.reason is not None:
        return REFUSED, without.reason
    if speaks_to_model(without.target):
        return WAITING, SPEAKS_TO_MODEL
    return Proposal(row, without.turns, without.target, without.answer, dict(without.found))


def _fault(
    conversation: tuple[Turn, ...] | None, target: str, answer: str | None, raw: Sequence[str], wants: _Wants
) -> str | None:
    limits, policy = wants.limits, wants.clean
    if conversation is None:
        return NOT_TEXT
    if not conversation or conversation[-1][0] != "user" or not compared(conversation[-1][1]):
        return NO_USER_TURN
    if not target:
        return EMPTY
    if len(target) > (policy.max_chars or len(target)):
        return TOO_LONG
    if width(target) > limits.max_width or sum(width(text) for _, text in conversation) > limits.max_prompt_width:
        return TOO_LONG
    if any(map(is_mojibake, raw)):
        return MOJIBAKE
    if says_nothing(target):
        return DEGENERATE
    if width(target) < limits.min_width or len(target) < (policy.min_chars or 0):
        return TOO_SHORT
    # Not `compared`: a correction of capitals or of line breaks is a correction, and may be just what the house wants.
    if answer is not None and target == answer.strip():
        return SELF_IDENTICAL
    if holds_blocked(target, wants.terms, policy.allow):
        return BLOCKED_TERM
    return UNFINISHED if is_unfinished(target) else None


def _cap(kept: Sequence[Proposal], limits: Limits) -> tuple[list[Proposal], dict[str, str]]:
    """At most `author_rows`, or `author_share` of all if that is more, of any one author: the first received."""
    most = max(limits.author_rows, int(limits.author_share * len(kept)))
    counts: Counter[str] = Counter()
    within: list[Proposal] = []
    over: dict[str, str] = {}
    for proposal in kept:
        counts[proposal.author] += 1
        if counts[proposal.author] <= most:
            within.append(proposal)
        else:
            over[proposal.source.feedback] = AUTHOR_CAP
    return within, over


def _group(proposal: Proposal) -> str:
    return dedupe.group_key(proposal.turns[-1][1])


def _earlier_groups(proposal: Proposal) -> set[str]:
    return {dedupe.group_key(text) for role, text in proposal.turns[:-1] if role == "user"}


def _shortfall(snapshot: Snapshot, examples: Sequence[Example]) -> tuple[str, ...]:
    limits = snapshot.limits
    new = [example for example in examples if example.since is None]
    train = sum(example.split == splits.TRAIN for example in examples)
    test, new_test = (len({one.group for one in some if one.split == splits.TEST}) for some in (examples, new))
    asks_new = snapshot.wants_new and snapshot.incumbent is not None
    if asks_new and not new:
        problem = (
            f"no new corrections since dataset {str(snapshot.incumbent)[:12]}, which the stable release learnt from"
        )
    else:
        found = (
            (train, "rows to train on", limits.min_train),
            (test, "questions to test on", limits.min_test),
            (new_test, "questions to test on that are new to the stable release", limits.min_new_test * asks_new),
        )
        short = [f"{have} {what} ({least} are needed)" for have, what, least in found if have < least]
        if not short:
            return ()
        problem = f"{len(examples)} accepted corrections make {' and '.join(short)}"
    fresh = len({example.group for example in examples if example.group not in snapshot.splits})
    gain_train, gain_test = limits.min_train - train, limits.min_test - test
    if asks_new:
        gain_test = max(gain_test, limits.min_new_test - new_test)
    more = _missing(fresh, gain_train, gain_test)
    return problem, f"about {more} more corrections are needed, of questions that nobody has corrected yet"


def _missing(fresh: int, train: int, test: int) -> int:
    """The fewest further questions that add so many to `train` and `test`, beside `fresh` that have no split yet."""
    now = splits.quotas(fresh)
    return next(
        more
        for more in itertools.count(1)
        if (then := splits.quotas(fresh + more))[splits.TRAIN] - now[splits.TRAIN] >= train
        and then[splits.TEST] - now[splits.TEST] >= test
    )


def _line(example: Example) -> bytes:
    source = example.proposal.source
    return _json(
        {
            "id": example.id,
            "kind": "sft",
            "messages": [{"role": role, "content": text} for role, text in example.proposal.turns],
            "completion": example.proposal.target,
            "rejected": example.proposal.rejected,
            "group": example.group,
            "split": example.split,
            "feedback": source.feedback,
            "inference": source.inference,
            "author": example.proposal.author,
            "role": example.proposal.role,
            "merged": example.proposal.merged,
            "sources": len(example.proposal.sources),
            "since": example.since,
        }
    )


def _card(snapshot: Snapshot, examples: Sequence[Example], verdicts: Mapping[str, Verdict]) -> bytes:
    reasons = {
        state: dict(sorted(Counter(reason for found, reason in verdicts.values() if found == state).items()))
        for state in (REFUSED, WAITING)
    }
    return _json(
        {
            "format": FORMAT,
            "channel": snapshot.channel,
            "as_of_ms": snapshot.as_of_ms,
            "positions": {
                topic: {str(partition): at for partition, at in partitions.items()}
                for topic, partitions in snapshot.positions.items()
            },
            "incumbent": snapshot.incumbent,
            "feedback": len(verdicts),
            "rows": len(examples),
            "merged": sum(len(example.proposal.merged) for example in examples),
            "new": sum(example.since is None for example in examples),
            "splits": dict(Counter(example.split for example in examples)),
            "new_by_split": dict(Counter(example.split for example in examples if example.since is None)),
            "groups": len({example.group for example in examples}),
            "authors": len({example.proposal.author for example in examples}),
            "roles": dict(sorted(Counter(example.proposal.role for example in examples).items())),
            "trust": snapshot.trust,
            "refused": reasons[REFUSED],
            "waiting": reasons[WAITING],
            "redacted": dict(sorted(sum((Counter(one.proposal.redacted) for one in examples), Counter[str]()).items())),
            "names_by": snapshot.names_by,
            "limits": asdict(snapshot.limits),
            "clean": asdict(snapshot.clean),
        }
    )


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
