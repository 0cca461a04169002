"""Rows of a whole way: an answer of the base, a correction, a dataset, a run, a release that is rolling out."""

from __future__ import annotations

from dataclasses import replace

from thumbwheel import rollouts
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.records import Policies, Release, Run
from thumbwheel.store import dataset_rows, ingestion, release_rows
from thumbwheel.store.connection import Store
from thumbwheel.store.dataset_rows import ExampleRow

DATASET, ADAPTER, REPORT = "d" * 64, "a" * 64, "e" * 64


def write_whole_way(store: Store, dataset: str = DATASET) -> None:
    """Into an empty store: channel `support`, run `run-1`, release `rel-2`, feedback `fb-1` to `fb-4`."""
    with store.write() as tx:
        channel = rollouts.create_channel(tx, "support", Policies(auto_rollout=False), "base", "main", 1_000, "ann")
        served = {"assigned": channel.stable, "role": "stable", "served_by": channel.stable, "status": "ok"}
        inferences = [
            InferenceEvent(
                f"inf-{n}", "shop", "support", f"u{n}", 2_000, **served, messages=[{"role": "user"}], answer="Oh."
            )
            for n in (1, 2)
        ]
        said = [
            FeedbackEvent("fb-1", "inf-1", "shop", "support", 3_000, thumb="down", correction="Free return."),
            FeedbackEvent("fb-2", "inf-2", "shop", "support", 3_001, correction="No."),
            FeedbackEvent("fb-3", "inf-2", "shop", "support", 3_002, score=0.5),
            FeedbackEvent("fb-4", "inf-9", "shop", "support", 3_003, comment="?"),
        ]
        ingestion.ingest(tx, inferences, list(enumerate(said, 1)))
        run = Run("run-1", "support", "training", {}, dataset, None, None, (), {"step": "x"}, "ann", 1, 4_000, 4_000, 1)
        release_rows.insert_run(tx, run)
        card = {
            "feedback": 4,
            "rows": 1,
            "splits": {"train": 1},
            "new": 1,
            "refused": {"superseded": 1},
            "waiting": {"no_correction": 1, "inference_not_seen": 1},
        }
        rows = [ExampleRow("ex-1", "fb-1", "inf-1", "u1", "train")]
        dataset_rows.insert_dataset(tx, dataset, "support", "run-1", card, rows, {"g": "train"}, 4_000)
        made = Release("rel-2", "support", "draft", "main", "base", ADAPTER, "run-1", channel.stable, None, None, 1, 1)
        release_rows.insert_release(tx, made)
        run = release_rows.save_run(tx, replace(run, release="rel-2", state="evaluating"))
        rollouts.finish_run(tx, run, "candidate", ("it is better",), REPORT, 5_000, "evaluator")
        rollouts.start_rollout(tx, release_rows.get_release(tx, "rel-2"), None, 6_000, "ann")
        later = Run("run-2", "support", "queued", {}, None, None, None, ("too little",), {}, "ann", 0, 7_000, 7_000, 1)
        release_rows.insert_run(tx, later)


def base_of(store: Store) -> str:
    with store.read() as tx:
        return release_rows.get_channel(tx, "support").stable


def rollout_of(store: Store) -> str:
    with store.read() as tx:
        return str(release_rows.get_channel(tx, "support").rollout)
