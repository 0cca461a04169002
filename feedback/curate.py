"""Curation: from a snapshot of a channel's feedback to the rows of a dataset, and a reason for all that is not one.

A pure function in canonical order: the same snapshot gives the same bytes, in whatever order its rows come. Each
feedback gets exactly one verdict. It is refused, in this order, as

    superseded                       its author said something else later of this answer
    excluded                         it was excluded, or its inference, or its author (thumbwheel/exclusions.py)
    what arrival already refused     training_not_permitted, no_text, foreign, inference_unknown, erased
                                     (thumbwheel/ledger.py)
    review_refused                   a reviewer refused it (rulings.py)
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
                                     the correction holds what the conversation does not (thumbwheel/redact.py)
    left_out                         it was received longer ago than the channel's mix looks back (mix.py)
    superseded                       its author said something else later in the same conversation, or the latest
                                     expert did
    duplicate, near_duplicate        another row says the same (dedupe.py, gist.py, near.py): it is merged into that
                                     one, and where that one is not used after all, it gets that one's verdict
    semantic_duplicate               another row says the same in other words (meaning.py): merged likewise
    corrected                        of a thumb: a correction in the same conversation says otherwise (thumbs.py)
    author_cap                       its author has more than max(author_rows, author_share of the rows); the first stay
    split_conflict                   an earlier turn of its conversation is a question of another split
    left_out                         its tag has more training rows than its share of the mix takes (mix.py)

or waits, if arrival has not refused it:

    inference_not_seen, no_correction
    no_run_yet                       a model looks for names in all rows, and has not in this one yet
    second_source                    the channel's `trust` asks for two persons' word (trust.py)

and these four end by themselves: received a feedback window before `as_of_ms`, or earlier, it is refused instead, as

    inference_unknown, uncorrected, unused, unconfirmed

A thumb without a correction becomes no row either then, unless the incumbent's dataset holds it or a reviewer has
approved it. What has both a correction and whoever has to confirm it is taken, however late: only waiting ends. The
others wait until a reviewer speaks:

    speaks_to_model                  the correction tells the model how to answer (addressed.py)
    contradiction                    authors want different answers in the same conversation, and none is an expert
    needs_review                     the channel's `trust` asks for more than one author's word (trust.py)
    quarantined                      one of a flood (flood.py)
    disagreement                     its reviewers said different things (rulings.py)
    proposed                         a model proposed an answer where no correction came (rulings.py)

Who approves or edits a row releases it, and what they want is taught before all that was said otherwise in its
conversation.

Personal data and secrets in what is kept are placeholders, and that is what duplicates, groups and ids are made of. A
split is fixed when a dataset first holds its group (splits.py). Where the rows are too few to train and to judge by,
the curation says in `shortfall` how many more corrections it takes.

It knows nothing of tokens (the trainer cuts by its model's length). What models found (names, how near two texts are in
meaning) was found before, and is part of the snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from feedback import dedupe, flood, meaning, splits, thumbs, trust
from feedback.augment import Varied, augmented
from feedback.beside import beside
from feedback.card import card_of, row_of, varied_row_of
from feedback.dedupe import Proposal
from feedback.join import superseded
from feedback.mix import is_stale, mixed, tags_of
from feedback.rulings import NOTHING_SAID, words_of
from feedback.screening import screened, wants_of
from feedback.shortfall import shortfall
from feedback.snapshot import AUGMENTED, KTO, Example, Limits, Snapshot, Verdict
from thumbwheel.dataset_figures import balance
from thumbwheel.exclusions import holding
from thumbwheel.ids import digest32
from thumbwheel.ledger import (
    AUTHOR_CAP,
    CURATION_WAITS,
    EXCLUDED,
    LEFT_OUT,
    NEEDS_REVIEW,
    NO_CORRECTION,
    NO_RUN_YET,
    QUARANTINED,
    REFUSED,
    SPLIT_CONFLICT,
    USED,
    WAITING,
    given_up,
)


@dataclass(frozen=True)
class Curation:
    """The dataset's examples by id, the verdict on every feedback, and the splits of groups that are new.

    `varied` are the rows that were augmented, which are in no count of corrections; `beside` names the other
    feedback that a verdict is about. Where `shortfall` is not empty the dataset is not to be used: it says, for a
    person, what is missing.
    """

    examples: tuple[Example, ...]
    verdicts: Mapping[str, Verdict]
    new_splits: Mapping[str, str]
    shortfall: tuple[str, ...]
    rows: bytes
    card: bytes
    varied: tuple[Varied, ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def lines(self) -> list[tuple[str, str, Example]]:
        """Id and kind of each line of `rows`, with the example that it is or is made of."""
        varied = [(one.id, AUGMENTED, one.source) for one in self.varied]
        return [*((one.id, one.kind, one) for one in self.examples), *varied]


def curate(snapshot: Snapshot) -> Curation:
    """The dataset that the snapshot makes, byte for byte the same whenever it is asked."""
    proposals, thumbed, verdicts = _proposed(snapshot)
    stale = sum(verdict == (REFUSED, LEFT_OUT) for verdict in verdicts.values())
    kept, refused = _standing(proposals)
    stood_for = _stood_for(kept)
    most = snapshot.limits.author_rows
    standing, (kept, unconfirmed) = kept, trust.admit(kept, snapshot.trust)
    # What waits for a reviewer all the same, who should see that it is one of many.
    waiting = [one for one in standing if unconfirmed.get(one.source.feedback) == NEEDS_REVIEW]
    floods = flood.of_one(waiting, most) | flood.of_many(waiting, proposals, most)
    unconfirmed |= dict.fromkeys(floods, QUARANTINED)
    reviewed = {proposal.source.feedback for proposal in kept if proposal.decided is not None}
    by_many = set() if snapshot.trust == trust.SINGLE_USER else flood.of_many(kept, proposals, most) - reviewed
    kept = [proposal for proposal in kept if proposal.source.feedback not in by_many]
    kept, alike, compared = _merged(kept, snapshot)
    refused |= alike
    stood_for |= _stood_for(kept)
    kept, over = _cap(kept, snapshot.limits)
    flooding = by_many | (flood.of_one(kept, most) - reviewed)
    kept = [proposal for proposal in kept if proposal.source.feedback not in flooding]
    refused |= unconfirmed | over | dict.fromkeys(flooding, QUARANTINED)
    assigned = splits.assign({_group(proposal) for proposal in kept}, snapshot.splits)
    examples, conflicts = _placed(kept, {**snapshot.splits, **assigned}, snapshot)
    refused |= conflicts
    tags = tags_of(examples, snapshot.rows)
    mix = mixed(examples, tags, snapshot.mix, snapshot.channel, stale)
    refused |= {example.proposal.source.feedback: LEFT_OUT for example in mix.left}
    refused |= {feedback: refused[first] for feedback, first in stood_for.items() if first in refused}
    judgements, gone_too = _judgements(thumbed, [example.proposal for example in mix.kept], snapshot)
    # Apart, so that thumbs take no place in a draw that says how many corrections judge.
    assigned |= splits.assign({_group(proposal) for proposal in judgements}, {**snapshot.splits, **assigned})
    weighed, conflicts = _placed(judgements, {**snapshot.splits, **assigned}, snapshot)
    refused |= gone_too | conflicts
    refused |= {one: conflicts[first] for one, first in _stood_for(judgements).items() if first in conflicts}
    known = {**snapshot.splits, **assigned}
    varied = augmented(mix.kept, snapshot.augment, snapshot.clean.allow, known, snapshot.reworded)
    every = sorted([*mix.kept, *_weighed(weighed)], key=lambda example: example.id)
    verdicts |= {example.proposal.source.feedback: (USED, None) for example in every}
    verdicts |= {
        feedback: (WAITING if reason in CURATION_WAITS else REFUSED, reason) for feedback, reason in refused.items()
    }
    at_ms = {row.feedback: row.at_ms for row in snapshot.rows}
    verdicts = {one: given_up(*verdict, at_ms[one], snapshot.closed_ms) for one, verdict in sorted(verdicts.items())}
    # What a mix leaves out keeps its split: drawn anew at each freeze, it would all end among what judges.
    held = {example.group for example in (*every, *mix.left)}
    return Curation(
        examples=tuple(every),
        verdicts=verdicts,
        new_splits={group: split for group, split in sorted(assigned.items()) if group in held},
        shortfall=shortfall(snapshot, mix),
        rows=b"".join([*map(row_of, every), *map(varied_row_of, varied)]),
        card=card_of(snapshot, every, verdicts, mix, varied, tags, compared),
        varied=varied,
        beside=beside(proposals, verdicts, stood_for),
    )


def standing(snapshot: Snapshot) -> list[Proposal]:
    """The corrections that are neither refused for themselves nor the same or nearly the same as another one."""
    return _standing(_proposed(snapshot)[0])[0]


def _standing(proposals: Sequence[Proposal]) -> tuple[list[Proposal], dict[str, str]]:
    """One of all that say the same, and by feedback why others go; nobody makes all others' rows contradictions."""
    contrary = flood.contrary(proposals)
    kept, refused = dedupe.resolve(one for one in proposals if one.source.feedback not in contrary)
    return kept, refused | dict.fromkeys(contrary, QUARANTINED)


def _proposed(snapshot: Snapshot) -> tuple[list[Proposal], list[Proposal], dict[str, Verdict]]:
    """The corrections and the thumbs that could be rows, and the verdicts on all others."""
    verdicts: dict[str, Verdict] = {}
    proposals: list[Proposal] = []
    thumbed: list[Proposal] = []
    gone = superseded(snapshot.rows)
    exclusions = holding(snapshot.exclusions)
    wants, words = wants_of(snapshot), words_of(snapshot)
    for row in snapshot.rows:
        # Before duplicates are looked for, so whoever else said the same keeps the row. What was taken back stays so.
        barred = exclusions.of(row.feedback, row.inference, row.author)
        if barred is not None and row.feedback not in gone:
            verdicts[row.feedback] = REFUSED, EXCLUDED
            continue
        names = snapshot.names.get(row.feedback, ())
        found = screened(row, row.feedback in gone, wants, names, words.get(row.feedback, NOTHING_SAID))
        if found == (WAITING, NO_CORRECTION) and snapshot.uncorrected == KTO:
            judged = thumbs.judged(row, wants, names, words.get(row.feedback, NOTHING_SAID))
            found = found if isinstance(judged, Proposal) and _lapsed(judged, snapshot) else judged
        if isinstance(found, Proposal) and snapshot.names_by is not None and row.feedback not in snapshot.names:
            verdicts[row.feedback] = WAITING, NO_RUN_YET  # it came while names were looked for in the others
        elif isinstance(found, Proposal) and is_stale(row, snapshot.mix, snapshot.as_of_ms):
            verdicts[row.feedback] = REFUSED, LEFT_OUT
        elif isinstance(found, Proposal):
            (proposals if found.label is None else thumbed).append(found)
        else:
            verdicts[row.feedback] = found
    return proposals, thumbed, verdicts


def _lapsed(thumb: Proposal, snapshot: Snapshot) -> bool:
    """Whether its window was over before it was a row or a reviewer spoke."""
    is_over = thumb.source.at_ms <= snapshot.closed_ms
    return is_over and thumb.decided is None and example_id(thumb) not in snapshot.since


def _merged(kept: Sequence[Proposal], snapshot: Snapshot) -> tuple[list[Proposal], dict[str, str], meaning.Compared]:
    """One of all that say the same in other words, as far as vectors were computed."""
    near = meaning.Near(snapshot.limits.near_question, snapshot.limits.near_target)
    judges = {group for group, split in snapshot.splits.items() if split == splits.TEST}
    return meaning.merged(kept, snapshot.embeddings, snapshot.embeddings_by, snapshot.embeddings_off, near, judges)


def _placed(
    kept: Sequence[Proposal], known: Mapping[str, str], snapshot: Snapshot
) -> tuple[list[Example], dict[str, str]]:
    """The examples in their groups' splits, and why others have no place."""
    examples: list[Example] = []
    refused: dict[str, str] = {}
    for proposal in kept:
        group, id_ = _group(proposal), example_id(proposal)
        if any(known.get(earlier, known[group]) != known[group] for earlier in _earlier_groups(proposal)):
            refused[proposal.source.feedback] = SPLIT_CONFLICT
        else:
            examples.append(Example(id_, proposal, group, known[group], snapshot.since.get(id_)))
    return examples, refused


def _judgements(
    thumbed: Sequence[Proposal], taught: Sequence[Proposal], snapshot: Snapshot
) -> tuple[list[Proposal], dict[str, str]]:
    """The thumbs that are rows beside the corrections that are taught, and by feedback why others are none."""
    refused = thumbs.overruled(thumbed, taught)
    kept, alike = thumbs.resolve(one for one in thumbed if one.source.feedback not in refused)
    stood_for = _stood_for(kept)
    kept, unconfirmed = trust.admit(kept, snapshot.trust)
    kept, over = _cap(kept, snapshot.limits)
    lost = unconfirmed | over
    return kept, refused | alike | lost | {one: lost[first] for one, first in stood_for.items() if first in lost}


def _stood_for(kept: Sequence[Proposal]) -> dict[str, str]:
    """By feedback that was merged, the feedback that stands for it."""
    return {one: proposal.source.feedback for proposal in kept for one in proposal.merged}


def _weighed(examples: Sequence[Example]) -> list[Example]:
    """The same thumbs, with what each weighs in its split."""
    counts = Counter((example.split, example.proposal.label) for example in examples)
    weights = {split: balance(counts[split, True], counts[split, False]) for split, _ in counts}
    return [replace(one, weight=weights[one.split][not one.proposal.label]) for one in examples]


def example_id(proposal: Proposal) -> str:
    """The same for the same conversation with the same target, whoever proposed it and when; and so of a thumb."""
    key = dedupe.conversation_key(proposal.turns) + dedupe.target_key(proposal.target)
    if proposal.label is not None:
        key += f"{KTO} {proposal.label}"
    return f"ex-{digest32(key.encode(), 26)}"


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
