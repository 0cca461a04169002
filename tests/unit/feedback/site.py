"""A data directory whose datasets are frozen and made once more, for tests."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from feedback.consumer import take_partitions
from feedback.embedding import Embedder
from feedback.freeze import freeze
from feedback.ingest import step
from feedback.naming import Naming
from feedback.replay import Replayed, replay
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import (
    Event,
    FeedbackEvent,
    InferenceEvent,
    encode,
    place_of,
)
from thumbwheel.home import Home, prepare, read_secret
from thumbwheel.records import Policies, Release, Run
from thumbwheel.store import release_rows
from thumbwheel.store.connection import Store

WINDOW_S = 100.0
NOW_MS = 1_000_000


def inference(n: int, **fields: Any) -> InferenceEvent:
    held: dict[str, Any] = {
        "id": f"chatcmpl-{n}",
        "tenant": "shop",
        "channel": "support",
        "unit": f"u{n}",
        "at_ms": 5_000,
        "assigned": "rel",
        "role": "stable",
        "served_by": "rel",
        "status": "ok",
        "messages": [{"role": "user", "content": f"complaint {n}"}],
        "answer": "Oh dear.",
    }
    return InferenceEvent(**{**held, **fields})


def feedback(n: int, id_: str | None = None, **fields: Any) -> FeedbackEvent:
    held: dict[str, Any] = {
        "id": id_ or f"fb-{n}",
        "inference": f"chatcmpl-{n}",
        "tenant": "shop",
        "channel": "support",
        "at_ms": NOW_MS - 50_000 + n,
        "correction": f"Sorry. Free return {n}.",
    }
    return FeedbackEvent(**{**held, **fields})


class Site:
    """A data directory with channel `support`, over any log."""

    def __init__(self, root: Path, log: EventLog | None = None, store: Store | None = None) -> None:
        self.home: Home = prepare(root)
        self.store: Store = store or store_in(root)
        self.log: EventLog = log or SqliteEventLog(self.home.events)
        self.artifacts = ArtifactStore(self.home.artifacts)
        self.now_ms, self.numbers = NOW_MS, itertools.count(1)
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")

    def close(self) -> None:
        self.store.close()
        self.log.close()

    def sleep(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)

    def say(self, *events: Event) -> None:
        for event in events:
            topic, key = place_of(event)
            self.log.append(topic, [(key, encode(event))], durable=True)

    def read(self, rng: random.Random | None = None) -> None:
        """Ingest all that is there, in batches as they come."""
        at = {one.place: one for one in take_partitions(self.store, self.log)}
        left = sorted(at)
        while left:
            place = rng.choice(left) if rng else left[0]
            after = step(self.store, self.log, at[place], self.now_ms, rng.randint(1, 7) if rng else 500)
            if after.offset == at[place].offset:
                left.remove(place)
            at[place] = replace(after, streak=0)

    def freeze(self, naming: Naming | None = None, embeds: Embedder | None = None, **run: Any) -> str:
        """The sum of the dataset that a run makes now."""
        id_ = f"run-{next(self.numbers)}"
        row = Run(id_, "support", "curating", {}, None, None, None, (), {}, "test", 1, self.now_ms, self.now_ms, 1)
        with self.store.write() as tx:
            release_rows.insert_run(tx, replace(row, **run))
        clock, window_s = lambda: self.now_ms, WINDOW_S
        state = freeze(
            self.store, self.artifacts, self.home, id_, clock, self.sleep, naming, window_s=window_s, embeds=embeds
        )
        with self.store.write() as tx:
            made = release_rows.get_run(tx, id_)
            assert made.dataset is not None, (state, made.reasons)
            rollouts.finish_run(tx, made, "rejected", (), None, 1, "test")
        return made.dataset

    def promote(self, dataset: str) -> None:
        """A release that learnt from it becomes the stable one."""
        with self.store.write() as tx:
            channel = release_rows.get_channel(tx, "support")
            run = Run("run-p", "support", "candidate", {}, dataset, "rel-p", None, (), {}, "test", 1, 1, 1, 1)
            release_rows.insert_run(tx, run)
            made = Release("rel-p", "support", "stable", "main", "b", "a" * 64, "run-p", None, None, None, 1, 1)
            release_rows.insert_release(tx, made)
            release_rows.save_channel(tx, replace(channel, stable=made.id))

    def policies(self, **changes: Any) -> None:
        with self.store.write() as tx:
            channel = release_rows.get_channel(tx, "support")
            release_rows.save_channel(tx, replace(channel, policies=replace(channel.policies, **changes)))

    def replay(self, dataset: str, to: Path) -> Replayed:
        return replay(self.store, self.log, self.artifacts, read_secret(self.home), dataset, to)


def talk(numbers: range) -> list[Event]:
    return [event for n in numbers for event in (inference(n), feedback(n))]
