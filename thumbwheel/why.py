"""Why a feedback, a run, a release or a rollout is where it is, in sentences.

They are made of the rows that the steps themselves wrote; nothing is guessed. No text of a user is in them.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from thumbwheel import ledger, reviewing
from thumbwheel.clock import as_told
from thumbwheel.errors import NotFound
from thumbwheel.events import IMPORTED, ExclusionEvent, ProposalEvent, ReviewEvent
from thumbwheel.exclusions import holding
from thumbwheel.lineage import find, results
from thumbwheel.records import Feedback, Rollout, Run
from thumbwheel.settings import Settings
from thumbwheel.store import curation_rows, data_rows, dataset_rows, dead_letter_rows, release_rows

SHOWN = 12  # characters of a sum that a sentence shows

EXPLAINED: Mapping[str, str] = {
    ledger.INFERENCE_NOT_SEEN: "the answer that it is about has not reached the store yet",
    ledger.INFERENCE_UNKNOWN: "the answer that it is about has not reached the store within a feedback window; it is "
    "taken up again should the answer still arrive",
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
    ledger.NO_CORRECTION: "a correction by its author, or what the channel's `uncorrected` makes of it in a later run",
    ledger.NO_RUN_YET: "the next run",
    ledger.SECOND_SOURCE: "somebody else who says the same, or an administrator who changes the channel's `trust`",
    ledger.DEAD_LETTER: "an administrator who redrives it",
    **dict.fromkeys(sorted(ledger.REVIEWABLE), "a reviewer, and then the next run"),
}
"""What ends a wait that has no deadline."""
SPLITS = {
    "train": "it is learnt from",
    "validation": "it chooses between checkpoints and is not learnt from",
    "test": "it is judged by and never learnt from",
}


def explain(tx: Connection, thing: str, window_s: float = Settings.feedback_window_s) -> list[str]:
    """Sentences that explain a feedback, a run, a release, a rollout or anything else with an id. Raises NotFound.

    `window_s` is how long feedback waits for its inference.
    """
    letter = dead_letter_rows.of_feedback(tx, thing)
    if letter is not None:
        return [
            f"{thing} is a feedback in channel {letter.channel or 'that cannot be read'}; it is waiting (dead_letter): "
            f"{EXPLAINED[ledger.DEAD_LETTER]}.",
            f"It is {letter.name}; `thumbwheel dead-letters show {letter.name}` says why.",
            f"It has no deadline; what ends its wait is {ENDED_BY[ledger.DEAD_LETTER]}.",
        ]
    kind, _ = find(tx, thing)
    if kind == "feedback":
        return _why_feedback(tx, thing, window_s)
    if kind == "run":
        return _why_run(tx, release_rows.get_run(tx, thing))
    if kind == "release":
        return _why_release(tx, thing)
    if kind == "rollout":
        return _why_rollout(release_rows.get_rollout(tx, thing))
    return [f"{thing} is {_article(kind)}; `thumbwheel lineage {thing}` shows what it came from and what came of it."]


def _why_feedback(tx: Connection, thing: str, window_s: float) -> list[str]:
    row = data_rows.feedback_row(tx, thing)
    if row is None:
        raise NotFound(f"There is no feedback {thing!r} in the store.", code="feedback_not_found")
    said = [f"a thumb {row.thumb}"] if row.thumb else []
    said += [f"a score of {row.score:g}"] if row.score is not None else []
    said += ["a correction"] if row.correction is not None else []
    by = f" by {row.author}" if row.author else ""
    what = " and ".join(said) or "something without thumb, score or correction"
    told = [
        f"{thing} says {what} of answer {row.inference} in channel {row.channel}; received {as_told(row.at_ms)}{by}."
    ]
    if data_rows.status_of(tx, row.inference) == IMPORTED:
        told.append("It was imported, with its conversation: nobody was answered here.")
    if row.state == ledger.USED:
        for example in dataset_rows.examples_where(tx, feedback=thing):
            if example["kind"] == "augmented":
                told.append(
                    f"Dataset {example['dataset'][:SHOWN]} also holds {example['id']} in its {example['split']} split: "
                    "another wording of its question, made by the channel's `augment`."
                )
                continue
            so = f"so {SPLITS.get(example['split'], 'it is there')}"
            if example["kind"] == "kto":
                so = "as a judgement of the answer that was given (kto); nothing is learnt from or judged by these yet"
            told.append(
                f"It is used: dataset {example['dataset'][:SHOWN]} holds it as {example['id']} in its "
                f"{example['split']} split, {so}."
            )
            for run in results(tx, [example["dataset"]])["runs"]:
                told += _outcome(tx, release_rows.get_run(tx, run))
    else:
        told.append(f"It is {row.state} ({row.reason}): {EXPLAINED.get(str(row.reason), 'curation refused it')}.")
        if row.state == ledger.WAITING:
            told.append(_wait(row, window_s))
    if row.state == ledger.REFUSED and row.correction is None and row.reason not in ledger.ARRIVAL_REFUSALS:
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


def _wait(row: Feedback, window_s: float) -> str:
    """Until when it waits, or for whom."""
    until_ms = ledger.waits_until_ms(row.reason, row.at_ms, round(window_s * 1000))
    if until_ms is not None:
        return f"It waits until {as_told(until_ms)} at the latest; then it is refused ({ledger.INFERENCE_UNKNOWN})."
    return f"It has no deadline; what ends its wait is {ENDED_BY.get(str(row.reason), 'the next run')}."


def _reviewed(tx: Connection, row: Feedback) -> list[str]:
    """What reviewers made of it; while one is still to speak, not what the others have said."""
    reviews = curation_rows.on_feedback(tx, row.id, ReviewEvent)
    needed = release_rows.get_channel(tx, row.channel).policies.reviews
    who = {review.id: review.reviewer for review in reviews}
    told = []
    for proposal, judged in sorted(reviewing.judge(reviews, needed, row.author).items(), key=lambda one: one[1].at):
        what = "It" if proposal is None else f"What a model proposed for it, {proposal},"
        if judged.state == reviewing.OPEN:
            told.append(f"{what} has been reviewed by {judged.spoken} of the {needed} reviewers that it takes.")
        elif judged.state == reviewing.DISAGREED:
            told.append(f"{what} has been reviewed by {judged.spoken} who said different things: it is for an arbiter.")
        else:
            said = ", ".join(f"{of} by {who[of]}" for of in judged.reviews)
            why = f", because: {judged.reason}" if judged.state == reviewing.REFUSED and judged.reason else ""
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
        card = dataset_rows.dataset_row(tx, run.dataset)["card"]
        told.append(
            f"It froze dataset {run.dataset[:SHOWN]}: of {card['feedback']} feedback, {card['rows']} are rows "
            f"({_counts(card['splits'])}), {card['new']} of them new to the release that was stable then."
        )
        if thumbs := card.get("kinds", {}).get("kto"):
            told.append(f"It also holds {thumbs} thumbs without a correction, which are not trained on yet.")
        told += [f"Not in it, {n}: {EXPLAINED.get(reason, reason)}." for reason, n in card["refused"].items()]
        told += [f"Still waiting, {n}: {EXPLAINED.get(reason, reason)}." for reason, n in card["waiting"].items()]
    if run.release is not None:
        told += _why_release(tx, run.release)
    if run.report is not None:
        told.append(f"Its figures are in report {run.report[:SHOWN]}; `thumbwheel run report {run.id}` shows them.")
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
