"""What anything came from and what came of it, both ways, and the same of feedback, runs and releases in sentences.

Every answer is read from the rows that the steps themselves wrote; nothing is guessed. It names ids and states only: no
text of a user is in it. It knows nothing of an adapter's inside, nor of what a release would have been without a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, or_, select

from thumbwheel import ledger
from thumbwheel.errors import NotFound
from thumbwheel.records import Run
from thumbwheel.store import data_rows, dataset_rows, fleet_rows, release_rows, schema

SHOWN = 12  # characters of a sum that a sentence shows

EXPLAINED: Mapping[str, str] = {
    ledger.INFERENCE_NOT_SEEN: "the answer that it is about has not reached the store yet",
    ledger.INFERENCE_UNKNOWN: "the answer that it is about has not reached the store within a feedback window; it is "
    "taken up again should the answer still arrive",
    ledger.NO_CORRECTION: "it has no correction, and what the right answer is is not guessed",
    ledger.NO_RUN_YET: "no run has used it yet",
    ledger.SUPERSEDED: "its author said something else later, and the latest counts",
    ledger.TRAINING_NOT_PERMITTED: "the channel, or the request itself, did not permit training on the answer",
    ledger.NO_TEXT: "the answer was logged without its text",
    ledger.FOREIGN: "the answer belongs to another tenant or channel",
    "not_chat": "the answer completes a text; only answers in a conversation are learnt from",
    "not_text": "the conversation holds something that is no text, such as an image or a tool call",
    "no_user_turn": "the answered turn is not a user's",
    "empty": "nothing is left of the correction without blanks and invisible characters",
    "too_short": "the correction is too short",
    "too_long": "the correction, or its conversation, is too long",
    "degenerate": "the correction says nothing: no letter or digit, or a loop",
    "self_identical": "the correction is the model's own answer",
    "duplicate": "the same correction of the same conversation is there already",
    "contradiction": "different authors want different answers in the same conversation, so none is taken",
    "author_cap": "its author has as many rows as one author may have in a dataset",
    "split_conflict": "its conversation passes through a question that belongs to another split",
}
SPLITS = {
    "train": "it is learnt from",
    "validation": "it chooses between checkpoints and is not learnt from",
    "test": "it is judged by and never learnt from",
}


def lineage(tx: Connection, thing: str) -> dict[str, Any]:
    """`{"id", "kind", "is", "from", "to", "audit"}`: what it is, what it came from, what came of it. Raises NotFound.

    `thing` is the id of a feedback, an inference, an example, a dataset, a run, a release or a rollout, the sum of an
    adapter or a report, or a channel's name. `from` and `to` hold lists of ids by kind.
    """
    kind, is_ = _find(tx, thing)
    before, after = _WAYS[kind](tx, thing)
    line = [thing, *(id_ for name in ("runs", "releases", "rollouts") for id_ in after.get(name, []))]
    return {
        "id": thing,
        "kind": kind,
        "is": is_,
        "from": {name: ids for name, ids in before.items() if ids},
        "to": {name: ids for name, ids in after.items() if ids},
        "audit": [row for subject in dict.fromkeys(line) for row in fleet_rows.audit_of(tx, subject)],
    }


_Ids = dict[str, list[str]]
_Found = tuple[str, dict[str, Any]]

# The columns that say what a thing is; texts stay out.
_SHOWN: tuple[tuple[str, Any, str, tuple[str, ...]], ...] = (
    (
        "feedback",
        schema.feedback,
        "id",
        ("channel", "inference", "author", "role", "at_ms", "thumb", "score", "state", "reason", "dataset"),
    ),
    (
        "inference",
        schema.inferences,
        "id",
        ("channel", "unit", "at_ms", "assigned", "role", "served_by", "rollout", "status", "trainable"),
    ),
    ("dataset", schema.datasets, "id", ("channel", "run", "card", "created_ms")),
    ("run", schema.runs, "id", ("channel", "state", "dataset", "release", "report", "reasons", "requested_by")),
    ("release", schema.releases, "id", ("channel", "state", "base", "adapter", "run", "parent", "report", "reason")),
    ("rollout", schema.rollouts, "id", ("channel", "release", "state", "stage", "weight", "analysis", "started_ms")),
    ("channel", schema.channels, "name", ("stable", "rollout", "history", "created_ms")),
)


def _find(tx: Connection, thing: str) -> _Found:
    for kind, table, key, columns in _SHOWN:
        row = tx.execute(select(*(table.c[name] for name in columns)).where(table.c[key] == thing)).first()
        if row is not None:
            return kind, dict(row._mapping)
    examples = dataset_rows.examples_where(tx, id=thing)
    if examples:
        return "example", {"author": examples[-1]["author"], "split": examples[-1]["split"]}
    for kind in ("adapter", "report"):
        found = _ids(tx, schema.releases.c.id, schema.releases.c[kind] == thing)
        if found:
            return kind, {"releases": found}
    raise NotFound(f"Nothing here has the id {thing!r}. `thumbwheel status` shows some that are.", code="unknown_id")


def _ids(tx: Connection, column: Any, *where: Any) -> list[str]:
    return list(tx.execute(select(column).where(*where).distinct().order_by(column)).scalars())


def _sources(tx: Connection, datasets: Iterable[str]) -> _Ids:
    """What is in these datasets: feedback, the answers that it is about, and the releases that gave them."""
    e, i = schema.examples.c, schema.inferences.c
    held = e.dataset.in_(list(datasets))
    answers = select(e.inference).where(held)
    return {
        "feedback": _ids(tx, e.feedback, held),
        "inferences": _ids(tx, e.inference, held),
        "answered_by": _ids(tx, i.served_by, i.id.in_(answers)),
    }


def _results(tx: Connection, datasets: Iterable[str]) -> _Ids:
    """What came of these datasets: the runs on them, the releases that those made, and their rollouts."""
    runs = _ids(tx, schema.runs.c.id, schema.runs.c.dataset.in_(list(datasets)))
    releases = _ids(tx, schema.releases.c.id, schema.releases.c.run.in_(runs))
    return {"runs": runs, "releases": releases, **_rollouts(tx, releases)}


def _rollouts(tx: Connection, releases: Iterable[str]) -> _Ids:
    wanted = list(releases)
    return {
        "rollouts": _ids(tx, schema.rollouts.c.id, schema.rollouts.c.release.in_(wanted)),
        "stable_in": _ids(tx, schema.channels.c.name, schema.channels.c.stable.in_(wanted)),
    }


def _of_feedback(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    row = data_rows.feedback_row(tx, thing)
    inference = "" if row is None else row.inference
    examples = dataset_rows.examples_where(tx, feedback=thing)
    return {"inferences": [inference], **_answered(tx, inference)}, _of_examples(tx, examples)


def _of_inference(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    examples = dataset_rows.examples_where(tx, inference=thing)
    said = _ids(tx, schema.feedback.c.id, schema.feedback.c.inference == thing)
    return _answered(tx, thing), {"feedback": said, **_of_examples(tx, examples)}


def _answered(tx: Connection, inference: str) -> _Ids:
    i = schema.inferences.c
    row = tx.execute(select(i.assigned, i.served_by, i.rollout).where(i.id == inference)).first()
    if row is None:
        return {}
    return {
        "answered_by": [row.served_by],
        "assigned": [row.assigned],
        "rollouts": [row.rollout] if row.rollout else [],
    }


def _of_examples(tx: Connection, examples: list[dict[str, Any]]) -> _Ids:
    datasets = sorted({row["dataset"] for row in examples})
    return {"examples": sorted({row["id"] for row in examples}), "datasets": datasets, **_results(tx, datasets)}


def _of_example(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    examples = dataset_rows.examples_where(tx, id=thing)
    before = {
        "feedback": sorted({row["feedback"] for row in examples}),
        "inferences": sorted({row["inference"] for row in examples}),
    }
    return before, {**_of_examples(tx, examples), "examples": []}


def _of_dataset(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    return _sources(tx, [thing]), _results(tx, [thing])


def _of_run(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    run = release_rows.get_run(tx, thing)
    datasets = [] if run.dataset is None else [run.dataset]
    made = _ids(tx, schema.releases.c.id, schema.releases.c.run == thing)
    judged = [] if run.release is None or run.release in made else [run.release]
    return {"datasets": datasets, "releases": judged, **_sources(tx, datasets)}, {
        "releases": made,
        **_rollouts(tx, made),
    }


def _of_release(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    release = release_rows.get_release(tx, thing)
    runs = [] if release.run is None else [release.run]
    datasets = [] if (dataset := dataset_rows.learnt_from(tx, thing)) is None else [dataset]
    parent = [] if release.parent is None else [release.parent]
    return {"runs": runs, "datasets": datasets, "judged_beside": parent, **_sources(tx, datasets)}, _rollouts(
        tx, [thing]
    )


def _of_rollout(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    release = release_rows.get_rollout(tx, thing).release
    before, after = _of_release(tx, release)
    return {"releases": [release], **before}, {"stable_in": after["stable_in"]}


def _of_channel(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    channel = release_rows.get_channel(tx, thing)
    before, _ = _of_release(tx, channel.stable)
    after = {
        name: _ids(tx, table.c.id, table.c.channel == thing)
        for name, table in (
            ("datasets", schema.datasets),
            ("runs", schema.runs),
            ("releases", schema.releases),
            ("rollouts", schema.rollouts),
        )
    }
    return {"releases": [channel.stable], **before}, after


def _of_artifact(column: str) -> Callable[[Connection, str], tuple[_Ids, _Ids]]:
    def ways(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
        releases = _ids(tx, schema.releases.c.id, schema.releases.c[column] == thing)
        before = [_of_release(tx, release)[0] for release in releases]
        merged = {name: sorted({id_ for one in before for id_ in one[name]}) for name in (before[0] if before else {})}
        return merged, {"releases": releases, **_rollouts(tx, releases)}

    return ways


_WAYS: Mapping[str, Callable[[Connection, str], tuple[_Ids, _Ids]]] = {
    "feedback": _of_feedback,
    "inference": _of_inference,
    "example": _of_example,
    "dataset": _of_dataset,
    "run": _of_run,
    "release": _of_release,
    "rollout": _of_rollout,
    "channel": _of_channel,
    "adapter": _of_artifact("adapter"),
    "report": _of_artifact("report"),
}


def why(tx: Connection, thing: str) -> list[str]:
    """Sentences that explain a feedback, a run, a release, a rollout or anything else with an id. Raises NotFound."""
    kind, _ = _find(tx, thing)
    if kind == "feedback":
        return _why_feedback(tx, thing)
    if kind == "run":
        return _why_run(tx, release_rows.get_run(tx, thing))
    if kind == "release":
        return _why_release(tx, thing)
    if kind == "rollout":
        return _why_rollout(tx, thing)
    return [f"{thing} is {_article(kind)}; `thumbwheel lineage {thing}` shows what it came from and what came of it."]


def _why_feedback(tx: Connection, thing: str) -> list[str]:
    row = data_rows.feedback_row(tx, thing)
    if row is None:
        raise NotFound(f"There is no feedback {thing!r} in the store.", code="feedback_not_found")
    said = [f"a thumb {row.thumb}"] if row.thumb else []
    said += [f"a score of {row.score:g}"] if row.score is not None else []
    said += ["a correction"] if row.correction is not None else []
    by = f" by {row.author}" if row.author else ""
    what = " and ".join(said) or "something without thumb, score or correction"
    told = [f"{thing} says {what} of answer {row.inference} in channel {row.channel}; received {_time(row.at_ms)}{by}."]
    if row.state == ledger.USED:
        for example in dataset_rows.examples_where(tx, feedback=thing):
            told.append(
                f"It is used: dataset {example['dataset'][:SHOWN]} holds it as {example['id']} in its "
                f"{example['split']} split, so {SPLITS.get(example['split'], 'it is there')}."
            )
            for run in _ids(tx, schema.runs.c.id, schema.runs.c.dataset == example["dataset"]):
                told += _outcome(tx, release_rows.get_run(tx, run))
    else:
        told.append(f"It is {row.state} ({row.reason}): {EXPLAINED.get(str(row.reason), 'curation refused it')}.")
    later = [one for one in data_rows.feedback_on(tx, row.inference) if (one.at_ms, one.seq) > (row.at_ms, row.seq)]
    same = [one for one in later if one.author == row.author]
    if same:
        told.append(f"The same author's latest word on this answer is {same[-1].id}.")
    return told


def _why_run(tx: Connection, run: Run) -> list[str]:
    told = [
        f"{run.id} is a run of channel {run.channel}, asked for by {run.requested_by} at {_time(run.created_ms)}; "
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
    c = schema.inferences.c
    answered = select(func.count()).where(or_(c.served_by == thing, c.assigned == thing))
    told.append(f"It was asked {tx.execute(answered).scalar_one()} times by applications.")
    for rollout in _rollouts(tx, [thing])["rollouts"]:
        told += _why_rollout(tx, rollout)
    return told


def _why_rollout(tx: Connection, thing: str) -> list[str]:
    rollout = release_rows.get_rollout(tx, thing)
    told = [
        f"Rollout {thing} of release {rollout.release} began {_time(rollout.started_ms)} and is {rollout.state} "
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


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
