"""Erased persons in frozen datasets, in evaluation reports, and in the folders of the runs on them.

A dataset loses the rows that are made of what they said; of a row that merely stands for them too it loses their
feedback's id. A report loses the questions and answers of those rows, and its table of samples. Its figures stay, and
say nothing of one row. It knows of their files what retrain/ and feedback/ write: `rows.jsonl`, `card.json`,
`report.json`, `report.md`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import and_, select

from thumbwheel import reports
from thumbwheel.artifacts import SHA, ArtifactStore, Manifest
from thumbwheel.clock import Clock
from thumbwheel.dataset_figures import after_erasure, all_tags, behind, weighed
from thumbwheel.dataset_files import CARD, ROWS, line
from thumbwheel.erasure import TOMBSTONE, Erased, tombstone
from thumbwheel.records import RUN_BUSY
from thumbwheel.rollouts import finish_run
from thumbwheel.store import dataset_rows, erasure_rows, fleet_rows, release_rows, schema
from thumbwheel.store.connection import Store
from thumbwheel.store.erasure_rows import Theirs

DATASET = "dataset"
HOLDING_TEXT = ("dataset", "report", "evaluation")
"""Of a run's folder: what was frozen, what was reported, and what the releases answered."""
SAMPLES = "## Answers before and after"
WHO = "erasure"
WITHOUT = "A person whose words the channel has learnt from was erased meanwhile; start a new run."
QUEUED = "queued"
REMOVED = "The samples are gone: somebody whose words were among them was erased."

TagsOf = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
"""The tags that feedback came with, by its id."""


@dataclass(frozen=True)
class Losing:
    """A dataset that loses rows: its artifact, what is left of it, the ids of what goes, and whose that was."""

    manifest: Manifest
    rows: tuple[Mapping[str, Any], ...]
    card: Mapping[str, Any]
    gone: frozenset[str]
    persons: frozenset[str]


def losing(artifacts: ArtifactStore, manifest: Manifest, erased: Erased, own: Theirs, tags_of: TagsOf) -> Losing | None:
    """What the dataset, which is whole, loses; None where nothing of it is theirs."""
    folder = artifacts.path(manifest.sha)
    held = [json.loads(one) for one in (folder / ROWS).read_bytes().splitlines()]
    kept, gone, persons = [], set(), set[str]()
    for row in held:
        whose = _whose(row, erased, own)
        persons |= whose
        if whose:
            gone.add(row["id"])
            continue
        merged = [one for one in row.get("merged", []) if one not in own.feedback]
        left = len(row.get("merged", [])) - len(merged)
        if left:
            persons |= {person for one in row["merged"] for person in own.feedback.get(one, ())}
            row = {**row, "merged": merged, "sources": max(1, row["sources"] - left)}
        kept.append(row)
    if kept == held:
        return None
    kept = weighed(kept)
    said = tags_of(sorted({one for row in kept for one in behind(row)}))
    tags = {row["id"]: all_tags(behind(row), said) for row in kept}
    card = after_erasure(json.loads((folder / CARD).read_bytes()), kept, tags, len(gone))
    return Losing(manifest, tuple(kept), card, frozenset(gone), frozenset(persons))


def _whose(row: Mapping[str, Any], erased: Erased, own: Theirs) -> frozenset[str]:
    """The erased persons who said the row's correction, or asked its question."""
    found = set(own.feedback.get(row["feedback"], ()))
    found |= {own.inferences[row["inference"]]} if row["inference"] in own.inferences else set()
    name = erased.renamed(row["author"])
    if name != row["author"]:
        found.add(name.removeprefix(TOMBSTONE))
    return frozenset(found)


def end_runs(store: Store, dataset: str, clock: Clock) -> list[str]:
    """End what its channel is curating, training or judging; the ids of all runs on the dataset.

    What is not on the dataset itself goes by it all the same: it says of each row in which dataset it was first.
    """
    r = schema.runs.c
    with store.write() as tx:
        on_it = list(tx.execute(select(r.id).where(r.dataset == dataset)).scalars())
        channels = select(schema.datasets.c.channel).where(schema.datasets.c.id == dataset)
        busy = and_(r.channel.in_(channels), r.state.in_(RUN_BUSY), r.state != QUEUED)
        for id_ in tx.execute(select(r.id).where(busy)).scalars().all():
            finish_run(tx, release_rows.get_run(tx, id_), "failed", (WITHOUT,), None, clock(), WHO)
    return on_it


def clear_folders(runs: Path, affected: Collection[str], erased: Erased, own: Theirs) -> int:
    """Remove what holds texts from the folders of runs that had theirs; of how many."""
    cleared = 0
    for folder in sorted(runs.iterdir()):
        draft = folder / "dataset" / ROWS
        rows = _rows(draft) if draft.is_file() else []
        theirs = rows is None or any(_whose(row, erased, own) for row in rows)  # half a draft may be anybody's
        holding = [folder / name for name in HOLDING_TEXT if (folder / name).exists()]
        if holding and (theirs or folder.name in affected):
            for path in holding:
                shutil.rmtree(path)
            cleared += 1
    return cleared


def rewrite_dataset(store: Store, artifacts: ArtifactStore, one: Losing, scratch: Path, clock: Clock) -> str:
    """Put what is left of the dataset in its place; its new sum. Raises ArtifactError, StoreUnavailable.

    The new artifact first, then the rows that name it, then the old one goes: killed between, it is done again.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(artifacts.path(one.manifest.sha), scratch, ignore=shutil.ignore_patterns("manifest.json"))
    for name, content in ((ROWS, b"".join(map(line, one.rows))), (CARD, line(one.card))):
        (scratch / name).chmod(0o600)
        (scratch / name).write_bytes(content)
    kind, old = one.manifest.kind, one.manifest.sha
    meta = {**one.manifest.meta, "rows": sum("augmented" not in row for row in one.rows)}  # as it was published
    new = artifacts.publish(scratch, kind, meta)
    with store.write() as tx:
        if erasure_rows.move_dataset(tx, old, new, one.card, one.gone, clock()):
            for person in sorted(one.persons):
                told = {"dataset": new, "rows": len(one.gone)}
                fleet_rows.record(tx, clock(), WHO, "erase", tombstone(person), {"dataset": old}, told)
    artifacts.replace(old, scratch, kind, meta, clock())
    shutil.rmtree(scratch)
    return new


def catch_up(store: Store, artifacts: ArtifactStore, clock: Clock) -> int:
    """Have rows that name an artifact which has been replaced name its successor: they were restored from before.

    How many there were. Raises ArtifactError, StoreUnavailable.
    """
    with store.read() as tx:
        old = [sum_ for sum_ in erasure_rows.named(tx) if SHA.fullmatch(sum_) and artifacts.standing(sum_) != sum_]
    for sum_ in old:
        now = artifacts.manifest(sum_)
        with store.write() as tx:
            if now.kind == DATASET:
                folder, examples = artifacts.path(sum_), dataset_rows.examples_where(tx, dataset=sum_)
                left = {json.loads(line)["id"] for line in (folder / ROWS).read_bytes().splitlines()}
                card = json.loads((folder / CARD).read_bytes())
                erasure_rows.move_dataset(tx, sum_, now.sha, card, {one["id"] for one in examples} - left, clock())
            else:
                erasure_rows.move_report(tx, sum_, now.sha, clock())
                erasure_rows.move_archive(tx, sum_, now.sha)
                erasure_rows.move_segment(tx, sum_, now.sha)
    return len(old)


def rewrite_report(
    store: Store, artifacts: ArtifactStore, manifest: Manifest, gone: Collection[str], scratch: Path, clock: Clock
) -> bool:
    """Take the texts of the examples `gone` out of a report; False where it holds none."""
    folder = artifacts.path(manifest.sha)
    content = json.loads((folder / reports.JSON).read_bytes())
    tests = [_without_text(one) if one["id"] in gone else one for one in content["tests"]]
    if tests == content["tests"]:
        return False
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch, ignore=shutil.ignore_patterns("manifest.json"))
    told, _, _ = (folder / reports.MARKDOWN).read_text(encoding="utf-8").partition(SAMPLES)
    text = json.dumps({**content, "tests": tests}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    for name, body in ((reports.JSON, text), (reports.MARKDOWN, f"{told}{SAMPLES}\n\n{REMOVED}\n")):
        (scratch / name).chmod(0o600)
        (scratch / name).write_text(body, encoding="utf-8")
    new = artifacts.publish(scratch, manifest.kind, manifest.meta)
    with store.write() as tx:
        erasure_rows.move_report(tx, manifest.sha, new, clock())
    artifacts.replace(manifest.sha, scratch, manifest.kind, manifest.meta, clock())
    shutil.rmtree(scratch)
    return True


def _without_text(test: Mapping[str, Any]) -> dict[str, Any]:
    return {**test, "question": None, "accepted": None, "draft": [], "incumbent": [], "erased": True}


def _rows(file: Path) -> list[dict[str, Any]] | None:
    """The lines of a draft's `rows.jsonl`; None where it was not written to the end."""
    try:
        return [json.loads(line) for line in file.read_bytes().splitlines()]
    except ValueError:
        return None
