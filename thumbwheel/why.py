"""Why a feedback, a run, a release or a rollout is where it is, in sentences.

They are made of the rows that the steps themselves wrote; nothing is guessed. No text of a user is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from thumbwheel import adjudication, ledger
from thumbwheel.clock import as_told
from thumbwheel.dataset_figures import part_of
from thumbwheel.dataset_files import KTO
from thumbwheel.errors import NotFound
from thumbwheel.events import IMPORTED, ExclusionEvent, ProposalEvent, ReviewEvent
from thumbwheel.exclusions import holding
from thumbwheel.ids import DAY_MS
from thumbwheel.lineage import find, results
from thumbwheel.records import Feedback, Rollout, Run
from thumbwheel.settings import Settings
from thumbwheel.store import curation_rows, data_rows, dataset_rows, dead_letter_rows, erasure_rows, release_rows

AUGMENTED = "augmented"  # of an example: another wording of one
SHOWN = 12  # characters of a sum that a sentence shows

EXPLAINED: Mapping[str, str] = {
    ledger.INFERENCE_NOT_SEEN: "the answer that it is about has not reached the store yet",
    ledger.INFERENCE_UNKNOWN: "the answer that it is about has not reached the store within a feedback window; it is "
    "taken up again should the answer still arrive",
    ledger.UNCORRECTED: "no correction has come within a feedback window; a reviewer may still write one, or approve "
    "what a model proposed",
    ledger.UNCONFIRMED: "nobody else has said the same within a feedback window; should somebody still do so, the next "
    "run takes it",
    ledger.UNUSED: "no run has used it within a feedback window; the next run looks at it all the same",
    ledger.UNHANDLED: "its record could not be handled, and nobody has redriven it within a feedback window; it lies "
    "among the dead letters, and can be redriven",
    ledger.NO_CORRECTION: "it has no correction, and what the right answer is is not guessed",
    ledger.NO_RUN_YET: "no run has used it yet, or one accepted it and had too few others",
    ledger.DEAD_LETTER: "its record could not be handled and lies among the dead letters until it is redriven",
    ledger.SUPERSEDED: "its author said something else later, and the latest counts; or an expert said something "
    "else of the same conversation, or reviewers chose something else there, or a person corrected what a model "
    "proposed",
    ledger.TRAINING_NOT_PERMITTED: "the channel, or the request itself, did not permit training on the answer",
    ledger.NO_TEXT: "the answer was logged without its text",
    ledger.FOREIGN: "the answer belongs to another tenant or channel",
    ledger.NOT_CHAT: "the answer completes a text; only answers in a conversation are learnt from",
    ledger.NOT_TEXT: "the conversation holds something that is no text, such as an image or a tool call",
    ledger.NO_USER_TURN: "the answered turn is not a user's",
    ledger.EMPTY: "nothing is left of the correction without blanks and invisible characters",
    ledger.TOO_SHORT: "the correction is too short",
    ledger.TOO_LONG: "the correction, or its conversation, is too long",
    ledger.DEGENERATE: "the correction says nothing: no letter or digit, or a loop",
    ledger.SELF_IDENTICAL: "the correction is the model's own answer",
    ledger.MOJIBAKE: "the correction, or its conversation, was read in a wrong encoding somewhere on its way",
    ledger.BLOCKED_TERM: "the correction holds a term that answers may not hold",
    ledger.UNFINISHED: "the correction breaks off",
    ledger.SECRET_IN_TARGET: "the correction holds a key, a token or a password that the conversation does not",
    ledger.PERSONAL_DATA_IN_TARGET: "the correction holds personal data that the conversation does not; contact data "
    "of the house belong into the channel's `clean.allow`",
    ledger.DUPLICATE: "the same correction of the same conversation is there already",
    ledger.NEAR_DUPLICATE: "nearly the same correction of the same or nearly the same conversation is there already",
    ledger.SEMANTIC_DUPLICATE: "the same correction of the same question is there already in other words",
    ledger.CORRECTED: "somebody corrected an answer in the same conversation, and that says more than a thumb",
    ledger.CONTRADICTION: "different authors want different answers in the same conversation, so none is taken until "
    "an expert or a reviewer settles it",
    ledger.SPEAKS_TO_MODEL: "the correction tells the model how to answer from now on, rather than the user who asked; "
    "a reviewer has to look at it",
    ledger.QUARANTINED: "it is one of a flood of alike corrections; a reviewer has to look at them",
    ledger.NEEDS_REVIEW: "the channel takes what has been reviewed; an expert's word counts as that",
    ledger.SECOND_SOURCE: "the channel takes what two persons have said, and nobody else has said the same of the same "
    "or nearly the same question yet",
    ledger.PROPOSED: "a model proposed an answer for it; a reviewer has to approve it",
    ledger.DISAGREEMENT: "its reviewers said different things; an arbiter has to decide",
    ledger.REVIEW_REFUSED: "a reviewer refused it",
    ledger.EXCLUDED: "it was excluded, or its author was",
    ledger.ERASED: "the person behind it was erased, and all they said with them",
    ledger.LEFT_OUT: "the channel's mix has no room for it, or it is older than the mix looks back; a later dataset "
    "takes it where there is room",
    ledger.AUTHOR_CAP: "its author has as many rows as one author may have in a dataset",
    ledger.SPLIT_CONFLICT: "its conversation passes through a question that belongs to another split",
}
ENDED_BY: Mapping[str, str] = {
    ledger.INFERENCE_NOT_SEEN: "the answer's record",
    ledger.NO_CORRECTION: "a correction by its author, or what the channel's `uncorrected` makes of it in a later run",
    ledger.NO_RUN_YET: "the next run",
    ledger.SECOND_SOURCE: "somebody else who says the same, or an administrator who changes the channel's `trust`",
    ledger.DEAD_LETTER: "an administrator who redrives it",
    **dict.fromkeys(sorted(ledger.REVIEWABLE), "a reviewer, and then the next run"),
}
"""What ends a wait, and a deadline where it has one (`ledger.GIVEN_UP`)."""
ABOUT_OTHERS: Mapping[str, str] = {
    **dict.fromkeys(sorted(ledger.MERGED), "It stands behind"),
    ledger.CONTRADICTION: "It contradicts",
    ledger.SUPERSEDED: "What stands instead",
    ledger.QUARANTINED: "Alike are, among others",
}
SPLITS = {
    "train": "it is learnt from",
    "validation": "it chooses between checkpoints and is not learnt from",
    "test": "it is judged by and never learnt from",
}


Beside = Callable[[str, str], Sequence[str]]
"""Of a dataset and a feedback that is no row of it: the other feedback that this is about."""


def explain(
    tx: Connection,
    thing: str,
    window_s: float = Settings.feedback_window_s,
    beside: Beside = lambda dataset, feedback: (),
) -> list[str]:
    """Sentences that explain a feedback, a run, a release, a rollout or anything else with an id. Raises NotFound.

    `window_s` is how long feedback waits for anybody but a reviewer. What `beside` names is named with where it stands.
    """
    letter = dead_letter_rows.of_feedback(tx, thing)
    if letter is not None:
        waits = (ledger.WAITING, ledger.DEAD_LETTER)
        state, reason = (ledger.REFUSED, ledger.UNHANDLED) if letter.given_up else waits
        return [
            f"{thing} is a feedback in channel {letter.channel or 'that cannot be read'}; it is {state} ({reason}): "
            f"{EXPLAINED[reason]}.",
            f"It is {letter.name}; `thumbwheel dead-letters show {letter.name}` says why.",
            *([] if letter.given_up else [_wait(ledger.DEAD_LETTER, letter.at_ms, window_s)]),
        ]
    thing = erasure_rows.standing(tx, thing)
    kind, _ = find(tx, thing)
    if kind == "feedback":
        return _why_feedback(tx, thing, window_s, beside)
    if kind == "run":
        return _why_run(tx, release_rows.get_run(tx, thing))
    if kind == "release":
        return _why_release(tx, thing)
    if kind == "rollout":
        return _why_rollout(release_rows.get_rollout(tx, thing))
    if kind == "example":
        return _why_example(tx, thing, window_s, beside)
    if kind == "dataset":
        return [*_why_dataset(tx, thing, "It is"), f"`thumbwheel dataset show {thing[:SHOWN]}` says more."]
    return [f"{thing} is {_article(kind)}; `thumbwheel lineage {thing}` shows what it came from and what came of it."]


def _why_feedback(tx: Connection, thing: str, window_s: float, beside: Beside) -> list[str]:
    row = data_rows.feedback_row(tx, thing)
    if row is None:
        raise NotFound(f"There is no feedback {thing!r} in the store.", code="feedback_not_found")
    said = [f"a thumb {row.thumb}"] if row.thumb else []
    said += [f"a score of {row.score:g}"] if row.score is not None else []
    said += ["a correction"] if row.correction is not None else []
    by = f" by {row.author}" if row.author else ""
    nothing = "nothing any more" if row.reason == ledger.ERASED else "something without thumb, score or correction"
    what = " and ".join(said) or nothing
    told = [
        f"{thing} says {what} of answer {row.inference} in channel {row.channel}; received {as_told(row.at_ms)}{by}."
    ]
    if data_rows.status_of(tx, row.inference) == IMPORTED:
        told.append("It was imported, with its conversation: nobody was answered here.")
    if row.state == ledger.USED:
        told += _why_used(tx, thing)
    else:
        told.append(f"It is {row.state} ({row.reason}): {EXPLAINED.get(str(row.reason), 'curation refused it')}.")
        if row.reason == ledger.LEFT_OUT:
            told += _why_left_out(tx, row)
        if row.reason in ABOUT_OTHERS:
            told += _others(tx, row, beside)
        if row.state == ledger.WAITING:
            told.append(_wait(str(row.reason), row.at_ms, window_s))
    of_itself = {*ledger.ARRIVAL_REFUSALS, *ledger.GIVEN_UP.values()}
    if row.state == ledger.REFUSED and row.correction is None and row.reason not in of_itself:
        told.append("It came without a correction: what is said of one is said of the answer that its thumb judges.")
    exclusion = holding(curation_rows.of_channel(tx, row.channel, ExclusionEvent)).of(row.id, row.inference, row.author)
    if exclusion is not None:
        told.append(
            f"It is excluded from the next dataset on, by its {exclusion.what}, since {as_told(exclusion.at_ms)} "
            f"({exclusion.id}); the reason: {exclusion.reason}."
        )
    for made in curation_rows.on_feedback(tx, row.id, ProposalEvent):
        by = f"{made.model} ({made.version})"
        told.append(f"{by} proposed an answer for it as a {made.role} on {as_told(made.at_ms)}: {made.id}.")
    told += _reviewed(tx, row)
    later = [one for one in data_rows.feedback_on(tx, row.inference) if (one.at_ms, one.seq) > (row.at_ms, row.seq)]
    same = [one for one in later if one.author == row.author]
    if same:
        told.append(f"The same author's latest word on this answer is {same[-1].id}.")
    return told


def _others(tx: Connection, row: Feedback, beside: Beside) -> list[str]:
    """What its reason is about, as the channel's last dataset says, and where that stands now."""
    last = dataset_rows.last_of(tx, row.channel)
    names = () if last is None else beside(last["id"], row.id)
    others = [other for name in names if (other := data_rows.feedback_row(tx, name)) is not None]
    if not others:
        return []
    told = ", ".join(f"{one.id} ({one.state if one.reason is None else one.reason})" for one in others)
    return [f"{ABOUT_OTHERS[str(row.reason)]}: {told}."]


def _why_used(tx: Connection, feedback: str) -> list[str]:
    """The rows that are made of it, in each dataset the correction before its other wordings, and what came of them."""
    held: dict[str, list[dict[str, Any]]] = {}
    for example in dataset_rows.examples_where(tx, feedback=feedback):
        held.setdefault(example["dataset"], []).append(example)
    told = []
    for dataset in sorted(held, key=lambda one: (dataset_rows.dataset_row(tx, one)["created_ms"], one)):
        for example in sorted(held[dataset], key=lambda one: (one["kind"] == AUGMENTED, one["id"])):
            if example["kind"] == AUGMENTED:
                told.append(f"It also holds {example['id']} in its {example['split']} split: {_of_kind(example)}.")
            else:
                told.append(
                    f"It is used: dataset {dataset[:SHOWN]} holds it as {example['id']} in its {example['split']} "
                    f"split, {_of_kind(example)}."
                )
        for run in results(tx, [dataset])["runs"]:
            told += _outcome(tx, release_rows.get_run(tx, run))
    return told


def _of_kind(example: Mapping[str, Any]) -> str:
    if example["kind"] == AUGMENTED:
        return "another wording of its question, made by the channel's `augment`"
    if example["kind"] == KTO:
        return "as a judgement of the answer that was given (kto); nothing is learnt from or judged by these yet"
    return f"so {SPLITS.get(example['split'], 'it is there')}"


def _why_left_out(tx: Connection, row: Feedback) -> list[str]:
    """Which of the two it was, as the card of the channel's last dataset says; nothing where that has not seen it."""
    last = dataset_rows.last_of(tx, row.channel)
    card = {} if last is None else last["card"]
    mix, as_of_ms = card.get("mix"), card.get("as_of_ms", 0)
    if last is None or not mix or row.at_ms > as_of_ms:
        return []
    days = mix["max_age_days"]
    if days is not None and as_of_ms - row.at_ms > days * DAY_MS:
        return [f"It was older than the {days} days that the mix of dataset {last['id'][:SHOWN]} looks back."]
    parts = {**mix["shares"], **({None: mix["other"]} if mix["other"] else {})}
    part = part_of(row.tags, {tag: said["wanted"] for tag, said in parts.items()})
    if part not in parts:
        return []
    of = "no tag of the mix" if part is None else f"the tag {part}"
    return [
        f"In dataset {last['id'][:SHOWN]} it had {of}: {parts[part]['wanted']:.0%} of the mix were wanted of these, so "
        f"{parts[part]['rows']} are in it and {parts[part]['left_out']} were left out."
    ]


def _why_example(tx: Connection, thing: str, window_s: float, beside: Beside) -> list[str]:
    examples = dataset_rows.examples_where(tx, id=thing)
    kinds = {AUGMENTED: "another wording of a row, made", KTO: "a thumb without a correction,"}
    held = ", ".join(f"{one['dataset'][:SHOWN]} ({one['split']})" for one in examples)
    feedback = examples[-1]["feedback"]
    what = kinds.get(examples[-1]["kind"], "a row, made")
    return [
        f"{thing} is {what} of feedback {feedback}, in datasets: {held}.",
        *_why_feedback(tx, feedback, window_s, beside),
    ]


def _wait(reason: str, at_ms: int, window_s: float) -> str:
    """For what it waits, and until when."""
    until_ms = ledger.waits_until_ms(reason, at_ms, round(window_s * 1000))
    if until_ms is None:
        return f"It has no deadline; what ends its wait is {ENDED_BY[reason]}."
    return (
        f"What ends its wait is {ENDED_BY[reason]}. It waits until {as_told(until_ms)} at the latest; then it is "
        f"refused ({ledger.GIVEN_UP[reason]})."
    )


def _reviewed(tx: Connection, row: Feedback) -> list[str]:
    """What reviewers made of it; while one is still to speak, not what the others have said."""
    reviews = curation_rows.on_feedback(tx, row.id, ReviewEvent)
    needed = release_rows.get_channel(tx, row.channel).policies.reviews
    who = {review.id: review.reviewer for review in reviews}
    told = []
    for proposal, judged in sorted(adjudication.judge(reviews, needed, row.author).items(), key=lambda one: one[1].at):
        what = "It" if proposal is None else f"What a model proposed for it, {proposal},"
        if judged.state == adjudication.OPEN:
            told.append(f"{what} has been reviewed by {judged.spoken} of the {needed} reviewers that it takes.")
        elif judged.state == adjudication.DISAGREED:
            told.append(f"{what} has been reviewed by {judged.spoken} who said different things: it is for an arbiter.")
        else:
            said = ", ".join(f"{of} by {who[of]}" for of in judged.reviews)
            why = f", because: {judged.reason}" if judged.state == adjudication.REFUSED and judged.reason else ""
            told.append(f"{what} was {judged.state} by reviewers ({said}){why}. Runs from then on go by that.")
    return told


def _why_run(tx: Connection, run: Run) -> list[str]:
    told = [
        f"{run.id} is a run of channel {run.channel}, asked for by {run.requested_by} at {as_told(run.created_ms)}; "
        f"it is {run.state}."
    ]
    told += [f"The reason: {reason}." for reason in run.reasons]
    if run.progress:
        told.append(f"Its progress: {', '.join(f'{key} {value}' for key, value in run.progress.items())}.")
    if run.dataset is not None:
        told += _why_dataset(tx, run.dataset, "It froze")
    if run.release is not None:
        told += _why_release(tx, run.release)
    if run.report is not None:
        told.append(f"Its figures are in report {run.report[:SHOWN]}; `thumbwheel run report {run.id}` shows them.")
    return told


def _why_dataset(tx: Connection, dataset: str, begins: str) -> list[str]:
    card = dataset_rows.dataset_row(tx, dataset)["card"]
    told = [
        f"{begins} dataset {dataset[:SHOWN]}: of {card['feedback']} feedback, {card['rows']} are rows "
        f"({_counts(card['splits'])}), {card['new']} of them new to the release that was stable then."
    ]
    if thumbs := card.get("kinds", {}).get(KTO):
        told.append(f"It also holds {thumbs} thumbs without a correction, which are not trained on yet.")
    if made := card.get("augmented", {}).get("rows"):
        told.append(f"It also holds {made} other wordings of questions, which count as no correction.")
    if card.get("erased"):
        told.append(f"{card['erased']} rows went since with persons who were erased.")
    told += [f"Not in it, {n}: {EXPLAINED.get(reason, reason)}." for reason, n in card["refused"].items()]
    told += [f"Still waiting, {n}: {EXPLAINED.get(reason, reason)}." for reason, n in card["waiting"].items()]
    return told


def _outcome(tx: Connection, run: Run) -> list[str]:
    if run.release is None:
        return [f"{run.id} used that dataset and is {run.state}."]
    release = release_rows.get_release(tx, run.release)
    return [f"{run.id} used that dataset and is {run.state}; its release {release.id} is {release.state}."]


def _why_release(tx: Connection, thing: str) -> list[str]:
    release = release_rows.get_release(tx, thing)
    what = "the base alone" if release.adapter is None else f"adapter {release.adapter[:SHOWN]} on the base"
    told = [f"Release {thing} is {what} and is {release.state} in channel {release.channel}."]
    if release.reason:
        told.append(f"The reason: {release.reason}.")
    told.append(f"It was asked {data_rows.times_asked(tx, thing)} times by applications.")
    for rollout in release_rows.rollouts_of(tx, thing):
        told += _why_rollout(rollout)
    return told


def _why_rollout(rollout: Rollout) -> list[str]:
    told = [
        f"Rollout {rollout.id} of release {rollout.release} began {as_told(rollout.started_ms)} and is {rollout.state} "
        f"in stage {rollout.stage + 1} of {len(rollout.stages)}."
    ]
    reasons = rollout.analysis.get("reasons")
    if isinstance(reasons, list | tuple) and reasons:
        told.append(f"Its analysis is {rollout.analysis.get('result')}: {'; '.join(map(str, reasons))}.")
    return told


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items()))


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aei" else f"a {kind}"
