"""What anything came from and what came of it, both ways (thumbwheel/why.py says it in sentences).

Every answer is read from the rows that the steps themselves wrote; nothing is guessed. It names ids and states only: no
text of a user is in it. It knows nothing of an adapter's inside, nor of what a release would have been without one
example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from thumbwheel.errors import NotFound
from thumbwheel.store import data_rows, dataset_rows, erasure_rows, fleet_rows, release_rows, schema


def lineage(tx: Connection, thing: str) -> dict[str, Any]:
    """`{"id", "kind", "is", "from", "to", "audit"}`: what it is, what it came from, what came of it. Raises NotFound.

    `thing` is the id of a feedback, an inference, an example, a dataset, a run, a release or a rollout, the sum of an
    adapter or a report, or a channel's name. Of a dataset or report that an erasure has replaced
    it is the successor. `from` and `to` hold lists of ids by kind.
    """
    thing = erasure_rows.standing(tx, thing)
    kind, is_ = find(tx, thing)
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


def find(tx: Connection, thing: str) -> _Found:
    """The kind of the thing with this id, and what it is. Raises NotFound."""
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


def results(tx: Connection, datasets: Iterable[str]) -> _Ids:
    """What came of these datasets: the runs on them, the releases that those made, and their rollouts."""
    runs = _ids(tx, schema.runs.c.id, schema.runs.c.dataset.in_(list(datasets)))
    releases = _ids(tx, schema.releases.c.id, schema.releases.c.run.in_(runs))
    return {"runs": runs, "releases": releases, **_rollouts(tx, releases)}


def in_words(learnt: Mapping[str, Sequence[str]], whom: str) -> list[str]:
    """A line each for datasets and their `results`, of what has learnt from `whom`."""
    words = [
        f"learnt from {whom}, {name}: {', '.join(learnt[name])}"
        for name in ("datasets", "runs", "releases", "rollouts")
        if learnt[name]
    ]
    stable = [f"one of these releases is stable in: {', '.join(learnt['stable_in'])}"] if learnt["stable_in"] else []
    return words + stable


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
    return {"examples": sorted({row["id"] for row in examples}), "datasets": datasets, **results(tx, datasets)}


def _of_example(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    examples = dataset_rows.examples_where(tx, id=thing)
    before = {
        "feedback": sorted({row["feedback"] for row in examples}),
        "inferences": sorted({row["inference"] for row in examples}),
    }
    return before, {**_of_examples(tx, examples), "examples": []}


def _of_dataset(tx: Connection, thing: str) -> tuple[_Ids, _Ids]:
    return _sources(tx, [thing]), results(tx, [thing])


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
