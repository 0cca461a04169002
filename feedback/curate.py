"""Curation: from a snapshot of a channel's feedback to the rows of a dataset, and a reason for all that is not one.

A pure function in canonical order: the same snapshot gives the same bytes, in whatever order its rows come. Each
feedback gets exactly one verdict. It is refused, in this order, as

    superseded                       its author said something else later of this answer
    what arrival already refused     training_not_permitted, no_text, foreign, inference_unknown (thumbwheel/ledger.py)
    not_chat                         a text completion: a row is a conversation, and would teach another prompt's form
    too_long                         the conversation as it was sent has over RAW_FACTOR * max_prompt_width characters
    not_text                         the conversation holds something that is no text (an image, a tool call)
    no_user_turn                     the turn that was answered is not a user's
    empty, too_long                  nothing is left when invisible characters go; over max_width or max_prompt_width
    degenerate                       no letter or digit in any script, or a loop
    too_short                        under min_width
    self_identical                   the correction is the model's own answer, to the character
    superseded                       its author said something else later in the same conversation
    duplicate, contradiction         see dedupe.py; contradictory ones are refused, all of them
    author_cap                       its author has more than max(author_rows, author_share of the rows); the first stay
    split_conflict                   an earlier turn of its conversation is a question of another split

or waits, if arrival has not refused it: inference_not_seen, no_correction. A split is fixed when a dataset first holds
its group (splits.py). Where the rows are too few to train and to judge by, the curation says in `shortfall` how many
more corrections it takes.

It knows nothing of tokens (the trainer cuts by its model's length), of meaning, and of near duplicates.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from feedback import dedupe, splits
from feedback.clean import clean, compared, says_nothing, width
from feedback.dedupe import Proposal
from feedback.join import Joined, characters, superseded, turns
from thumbwheel.ids import digest32
from thumbwheel.ledger import (
    ARRIVAL_REFUSALS,
    AUTHOR_CAP,
    DEGENERATE,
    EMPTY,
    INFERENCE_NOT_SEEN,
    NO_CORRECTION,
    NO_USER_TURN,
    NOT_CHAT,
    NOT_TEXT,
    REFUSED,
    SELF_IDENTICAL,
    SPLIT_CONFLICT,
    SUPERSEDED,
    TOO_LONG,
    TOO_SHORT,
    USED,
    WAITING,
)

FORMAT = 1
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
    of its line that held it. `wants_new` is false where a draft is judged that was not trained here: then nothing new
    is needed.
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
    for row in snapshot.rows:
        found = _proposal(row, row.feedback in gone, snapshot.limits)
        if isinstance(found, Proposal):
            proposals.append(found)
        else:
            verdicts[row.feedback] = found
    kept, refused = dedupe.resolve(proposals)
    kept, over = _cap(kept, snapshot.limits)
    refused |= over
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
    verdicts |= {feedback: (REFUSED, reason) for feedback, reason in refused.items()}
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


def _proposal(row: Joined, is_superseded: bool, limits: Limits) -> Proposal | Verdict:
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
    if characters(row.messages) > RAW_FACTOR * limits.max_prompt_width:
        return REFUSED, TOO_LONG
    conversation = turns(row.messages)
    target = clean(row.correction).strip()
    reason = _fault(conversation, target, row.answer, limits)
    if conversation is None or reason is not None:
        return REFUSED, reason or NOT_TEXT
    return Proposal(row, conversation, target)


def _fault(
    conversation: tuple[tuple[str, str], ...] | None, target: str, answer: str | None, limits: Limits
) -> str | None:
    if conversation is None:
        return NOT_TEXT
    if not conversation or conversation[-1][0] != "user" or not compared(conversation[-1][1]):
        return NO_USER_TURN
    if not target:
        return EMPTY
    if width(target) > limits.max_width or sum(width(text) for _, text in conversation) > limits.max_prompt_width:
        return TOO_LONG
    if says_nothing(target):
        return DEGENERATE
    if width(target) < limits.min_width:
        return TOO_SHORT
    # Not `compared`: a correction of capitals or of line breaks is a correction, and may be just what the house wants.
    if answer is not None and target == clean(answer).strip():
        return SELF_IDENTICAL
    return None


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
            "rejected": None if source.answer is None else clean(source.answer),
            "group": example.group,
            "split": example.split,
            "feedback": source.feedback,
            "inference": source.inference,
            "author": example.proposal.author,
            "role": source.role,
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
            "new": sum(example.since is None for example in examples),
            "splits": dict(Counter(example.split for example in examples)),
            "new_by_split": dict(Counter(example.split for example in examples if example.since is None)),
            "groups": len({example.group for example in examples}),
            "authors": len({example.proposal.author for example in examples}),
            "refused": reasons[REFUSED],
            "waiting": reasons[WAITING],
            "limits": asdict(snapshot.limits),
        }
    )


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
