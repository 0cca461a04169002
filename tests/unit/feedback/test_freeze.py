from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from feedback.freeze import CATCH_UP_S, STRAGGLERS_S, _job, freeze
from feedback.names import By, NameFinder
from feedback.naming import Naming
from tests.full_disk import no_room
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import JobError, StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, ComputedEvent, FeedbackEvent, InferenceEvent, decode
from thumbwheel.home import Home, prepare
from thumbwheel.lineage import lineage
from thumbwheel.progress import AGAIN
from thumbwheel.records import Augment, Clean, Mix, Policies, Release, Run
from thumbwheel.settings import Settings
from thumbwheel.store import curation_rows, data_rows, dataset_rows, ingestion, release_rows, schema
from thumbwheel.store.connection import Store
from thumbwheel.why import EXPLAINED, explain


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ms = 10_000
        self.slept_s = 0.0

    def clock(self) -> int:
        return self.now_ms

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_ms += round(seconds * 1000)


class Place:
    """A channel `support` in a data directory of its own, with what a test does to it."""

    def __init__(self, root: Path, *, fresh: bool = True) -> None:
        self.home: Home = prepare(root)
        self.store = store_in(self.home.root)
        self.artifacts = ArtifactStore(self.home.artifacts)
        self.time = Time()
        if not fresh:
            return
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
            for topic in ("feedback", "inference"):
                data_rows.take_partition(tx, topic, 0)

    def say(
        self,
        *numbers: int,
        correction: str | None = "Sorry. Free return {}.",
        seen: bool = True,
        tags: Sequence[str] = (),
    ) -> None:
        """One corrected answer for each number, by an author of its own."""
        with self.store.write() as tx:
            inferences = [
                InferenceEvent(
                    id=f"inf-{n}",
                    tenant="shop",
                    channel="support",
                    unit=f"u{n}",
                    at_ms=5_000,
                    assigned="rel",
                    role="stable",
                    served_by="rel",
                    status="ok",
                    messages=[{"role": "user", "content": f"complaint {n}"}],
                    answer="Oh dear.",
                )
                for n in numbers
            ]
            feedbacks = [
                FeedbackEvent(
                    id=f"fb-{n}",
                    inference=f"inf-{n}",
                    tenant="shop",
                    channel="support",
                    at_ms=6_000 + n,
                    tags=list(tags),
                    correction=None if correction is None else correction.format(n),
                )
                for n in numbers
            ]
            ingestion.ingest(tx, inferences if seen else [], list(zip(numbers, feedbacks, strict=True)))

    def thumb(self, *numbers: int) -> None:
        """A thumb without a correction for each number: of every second answer a thumbs-up."""
        self.say(*numbers, correction=None)
        with self.store.write() as tx:
            c = schema.feedback.c
            for n in numbers:
                changed = schema.feedback.update().where(c.id == f"fb-{n}")
                tx.execute(changed.values(thumb="up" if n % 2 else "down"))

    def start(self, run: str, positions: Mapping[str, Mapping[str, int]] | None = None, **fields: Any) -> None:
        """A run that the controller has handed to its curate job."""
        row = Run(run, "support", "curating", positions or {}, None, None, None, (), {}, "test", 1, 10_000, 10_000, 1)
        with self.store.write() as tx:
            release_rows.insert_run(tx, replace(row, **fields))

    def freeze(self, run: str) -> str:
        return freeze(self.store, self.artifacts, self.home, run, self.time.clock, self.time.sleep)

    def run(self, run: str) -> Run:
        with self.store.read() as tx:
            return release_rows.get_run(tx, run)

    def ledger(self) -> dict[str, Any]:
        with self.store.read() as tx:
            return data_rows.ledger(tx, "support")

    def count(self, table: Any) -> int:
        with self.store.read() as tx:
            return tx.execute(select(func.count()).select_from(table)).scalar_one()

    def rows(self, dataset: str | None) -> list[dict[str, Any]]:
        assert dataset is not None
        self.artifacts.verify(dataset)
        return [json.loads(line) for line in (self.artifacts.path(dataset) / "rows.jsonl").read_text().splitlines()]

    def promote(self, run: str) -> None:
        """The run's release becomes the channel's stable one."""
        with self.store.write() as tx:
            channel = release_rows.get_channel(tx, "support")
            old = release_rows.get_release(tx, channel.stable)
            made = Release(f"rel-{run}", "support", "stable", "main", "base", "a" * 64, run, old.id, None, None, 1, 1)
            release_rows.insert_release(tx, made)
            release_rows.save_channel(tx, replace(channel, stable=made.id, history=(old.id,)))
            moved = replace(release_rows.get_run(tx, run), state="candidate", release=made.id)
            release_rows.save_run(tx, moved)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.store.close()


def test_a_dataset_is_frozen_and_the_run_goes_on_to_training(place: Place) -> None:
    place.say(*range(60))
    place.say(60, correction="?")
    place.say(61, correction=None)
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    run = place.run("run-1")
    rows = place.rows(run.dataset)
    assert len(rows) == 60 and {row["since"] for row in rows} == {None}
    assert place.ledger() == {
        "acknowledged": 62,
        "used": 60,
        "refused": {"degenerate": 1},
        "waiting": {"no_correction": 1},
    }
    assert place.artifacts.manifest(str(run.dataset)).kind == "dataset"
    with place.store.read() as tx:
        view = data_rows.feedback_view(tx, "fb-3")
        assert len(dataset_rows.examples_where(tx, dataset=str(run.dataset))) == 60
        dataset = tx.execute(select(schema.datasets)).one()
        splits = {row.group: row.split for row in tx.execute(select(schema.splits))}
    assert view is not None and (view["state"], view["dataset"], view["runs"]) == ("used", run.dataset, ["run-1"])
    assert dataset.card == json.loads((place.artifacts.path(str(run.dataset)) / "card.json").read_text())
    assert splits == {row["group"]: row["split"] for row in rows}


def test_too_little_ends_the_run_and_uses_nothing(place: Place) -> None:
    place.say(*range(30))
    place.say(30, correction="?")
    place.start("run-1")
    assert place.freeze("run-1") == "insufficient_evidence"
    run = place.run("run-1")
    assert run.dataset is None and "about 14 more corrections" in run.reasons[1]
    assert place.ledger() == {
        "acknowledged": 31,
        "used": 0,
        "refused": {"degenerate": 1},
        "waiting": {"no_run_yet": 30},
    }
    assert place.count(schema.datasets) == place.count(schema.splits) == place.count(schema.examples) == 0
    assert list(place.home.artifacts.iterdir()) == []


def test_what_a_run_could_not_use_waits_no_longer_than_its_window(place: Place) -> None:
    """And the run that has enough takes it all the same."""
    place.say(*range(30))
    place.start("run-1")
    place.time.now_ms = 6_015 + round(Settings.feedback_window_s * 1000)
    assert place.freeze("run-1") == "insufficient_evidence"
    assert (place.ledger()["refused"], place.ledger()["waiting"]) == ({"unused": 16}, {"no_run_yet": 14})
    with place.store.write() as tx:
        ingestion.give_up(tx, 9_999)
    assert place.ledger()["waiting"] == {}
    place.say(*range(30, 60))
    place.start("run-2")
    assert place.freeze("run-2") == "training"
    assert place.ledger() == {"acknowledged": 60, "used": 60, "refused": {}, "waiting": {}}


def test_the_next_dataset_holds_all_and_says_what_is_new(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    first = {row["id"]: row for row in place.rows(place.run("run-1").dataset)}
    place.promote("run-1")
    place.say(*range(100, 140))
    place.start("run-2")
    assert place.freeze("run-2") == "training"
    second = place.rows(place.run("run-2").dataset)
    assert len(second) == 100
    assert {row["since"] for row in second if row["id"] in first} == {place.run("run-1").dataset}
    assert {row["since"] for row in second if row["id"] not in first} == {None}
    assert all(row["split"] == first[row["id"]]["split"] for row in second if row["id"] in first)
    place.promote("run-2")
    place.say(*range(200, 230))
    place.start("run-3")
    place.freeze("run-3")
    since = {row["since"] for row in place.rows(place.run("run-3").dataset) if row["id"] in first}
    assert since == {place.run("run-1").dataset}


def test_nothing_new_since_the_stable_releases_dataset_is_no_run(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    place.promote("run-1")
    place.start("run-2")
    assert place.freeze("run-2") == "insufficient_evidence"
    assert "no new corrections since dataset" in place.run("run-2").reasons[0]
    assert place.ledger()["used"] == 60


def test_a_run_whose_release_was_not_promoted_may_be_repeated(place: Place) -> None:
    place.say(*range(60))
    for run in ("run-1", "run-2"):
        place.start(run)
        assert place.freeze(run) == "training"
        with place.store.write() as tx:
            rollouts.finish_run(tx, release_rows.get_run(tx, run), "rejected", (), None, 1, "test")
        place.time.now_ms += 5_000
    first, second = place.run("run-1").dataset, place.run("run-2").dataset
    assert first != second and place.rows(first) == place.rows(second), "another moment, the same rows"
    with place.store.read() as tx:
        view = data_rows.feedback_view(tx, "fb-1")
        cards = [dataset_rows.dataset_row(tx, str(dataset))["card"] for dataset in (first, second)]
    assert [(card["as_of_ms"], card["before"]) for card in cards] == [(10_000, []), (15_000, [first])]
    assert view is not None and view["runs"] == ["run-1", "run-2"]


def test_since_follows_the_line_of_the_stable_release(place: Place) -> None:
    place.say(*range(60))
    for run in ("run-0", "run-1"):  # the first one's release is rejected, so nobody learnt from its dataset
        if run == "run-1":
            place.say(*range(100, 140))
        place.start(run)
        place.freeze(run)
        with place.store.write() as tx:
            rollouts.finish_run(tx, release_rows.get_run(tx, run), "rejected", (), None, 1, "test")
    place.promote("run-1")
    place.say(*range(200, 240))
    place.start("run-2")
    place.freeze("run-2")
    assert {row["since"] for row in place.rows(place.run("run-2").dataset)} == {place.run("run-1").dataset, None}


def test_a_lost_dataset_of_the_stable_release_fails_the_run(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    place.promote("run-1")
    shutil.rmtree(place.artifacts.path(str(place.run("run-1").dataset)))
    place.start("run-2")
    with pytest.raises(JobError, match="cannot be read"):
        place.freeze("run-2")


def test_a_draft_to_be_judged_goes_on_to_evaluation_without_anything_new(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    place.promote("run-1")
    place.start("run-2", release="rel-run-1")
    assert place.freeze("run-2") == "evaluating"


def test_what_a_dataset_holds_stays_used_when_its_author_says_something_else(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    place.promote("run-1")
    place.say(*range(100, 140))
    later = FeedbackEvent("fb-other", "inf-3", "shop", "support", 9_000, correction="Call us.")
    with place.store.write() as tx:
        ingestion.ingest(tx, [], [(900, later)])
    place.start("run-2")
    place.freeze("run-2")
    held = {row["feedback"] for row in place.rows(place.run("run-2").dataset)}
    assert "fb-other" in held and "fb-3" not in held
    assert place.ledger() == {"acknowledged": 101, "used": 101, "refused": {}, "waiting": {}}


@pytest.mark.parametrize(("trust", "reason"), [("two-sources", "second_source"), ("reviewed", "needs_review")])
def test_the_channels_trust_says_what_waits(place: Place, trust: str, reason: str) -> None:
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(channel, policies=replace(channel.policies, trust=trust)))
    place.say(*range(62))
    with place.store.write() as tx:
        more = [
            FeedbackEvent(f"fb-x{n}", f"inf-{n}", "shop", "support", 9_000, f"other-{n}", role="expert",
                          correction=f"Sorry. Free return {n}.")
            for n in range(60)
        ]  # fmt: skip
        ingestion.ingest(tx, [], [(900 + n, event) for n, event in enumerate(more)])
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    assert place.ledger() == {
        "acknowledged": 122,
        "used": 60,
        "refused": {"duplicate": 60},
        "waiting": {reason: 2},
    }
    assert {(row["role"], row["sources"]) for row in place.rows(place.run("run-1").dataset)} == {("expert", 2)}
    with place.store.read() as tx:
        (told,) = [line for line in explain(tx, "fb-61") if reason in line]
    assert EXPLAINED[reason] in told


def test_a_refusal_that_no_longer_holds_is_taken_back(place: Place) -> None:
    place.say(*range(60))
    with place.store.write() as tx:
        tx.execute(schema.feedback.update().where(schema.feedback.c.id == "fb-3").values(state="refused", reason="x"))
    place.start("run-1")
    place.freeze("run-1")
    assert place.ledger()["used"] == 60


def test_it_waits_for_the_consumer(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1", {"feedback": {"0": 5}})
    sleep = place.time.sleep

    def consumer_moves(seconds: float) -> None:
        sleep(seconds)
        if place.time.slept_s > 1:
            with place.store.write() as tx:
                if not data_rows.caught_up(tx, {"feedback": {"0": 5}}):
                    data_rows.advance(tx, "feedback", 0, 1, 0, 5)

    place.time.sleep = consumer_moves  # type: ignore[method-assign]
    assert place.freeze("run-1") == "training"
    assert 1 < place.time.slept_s < 2


def test_a_consumer_that_never_comes_fails_the_run(place: Place) -> None:
    place.start("run-1", {"feedback": {"0": 5}})
    with pytest.raises(JobError, match="consumer"):
        place.freeze("run-1")
    assert CATCH_UP_S <= place.time.slept_s < CATCH_UP_S + 1


def test_it_waits_a_moment_for_inferences_on_their_way(place: Place) -> None:
    place.say(*range(60))
    place.say(60, seen=False)
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    assert place.time.slept_s == pytest.approx(STRAGGLERS_S)
    assert place.ledger()["waiting"] == {"inference_not_seen": 1}


def test_it_does_not_wait_for_inferences_that_are_long_lost(place: Place) -> None:
    place.say(*range(60))
    place.say(60, seen=False)
    place.start("run-1", created_ms=500_000)
    place.freeze("run-1")
    assert place.time.slept_s == 0


def test_how_far_it_is_stands_in_the_run(place: Place) -> None:
    place.say(*range(60))
    place.say(60, seen=False)
    place.start("run-1", {"feedback": {"0": 5}})
    told: list[Mapping[str, object]] = []
    sleep = place.time.sleep

    def watched(seconds: float) -> None:
        sleep(seconds)
        progress = place.run("run-1").progress
        if not told or told[-1] != progress:
            told.append(progress)
        done = {1.0: 2, 2.0: 5}.get(round(place.time.slept_s, 3))
        if done is not None:
            with place.store.write() as tx:
                before = data_rows.positions(tx)["feedback"][0]
                data_rows.advance(tx, "feedback", 0, 1, before, done)
        if place.time.slept_s > 4:
            with place.store.write() as tx:
                tx.execute(schema.feedback.update().where(schema.feedback.c.id == "fb-60").values(reason="x"))

    class Watched(ArtifactStore):
        """Looks at the run while it publishes."""

        def publish(self, source: Path, kind: str, meta: Mapping[str, object]) -> str:
            told.append(place.run("run-1").progress)
            return super().publish(source, kind, meta)

    artifacts = Watched(place.home.artifacts)
    assert freeze(place.store, artifacts, place.home, "run-1", place.time.clock, watched) == "training"
    assert [(note["step"], note["done"], note["of"]) for note in told] == [
        ("waiting for the consumer", 0, 5),
        ("waiting for the consumer", 2, 5),
        ("waiting for inferences", 0, 1),
        ("writing the dataset", 0, 60),
    ]
    assert all("eta_s" in note for note in told) and told[1]["eta_s"] is not None
    assert place.run("run-1").progress == {}


def test_while_it_curates_the_run_says_so(place: Place) -> None:
    place.say(*range(30))
    place.start("run-1")
    assert place.freeze("run-1") == "insufficient_evidence"
    assert place.run("run-1").progress == {"step": "curating", "done": 0, "of": 30, "eta_s": None}


def job(place: Place, run: str) -> int:
    return _job(place.store, place.home, run, place.time.clock, place.time.sleep)


def test_a_full_disk_is_waited_for_and_spends_no_attempt(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")
    with no_room():
        assert job(place, "run-1") == AGAIN
    assert place.run("run-1").state == "curating" and place.ledger()["used"] == 0
    assert list(place.home.artifacts.iterdir()) == []
    assert job(place, "run-1") == 0
    assert place.run("run-1").state == "training" and place.ledger()["used"] == 60


def test_room_for_the_store_and_none_for_the_dataset(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")

    class Full(ArtifactStore):
        """On a disk of its own, which is full."""

        def publish(self, source: Path, kind: str, meta: Mapping[str, object]) -> str:
            with no_room(100):
                return super().publish(source, kind, meta)

    with pytest.raises(StoreUnavailable):
        freeze(place.store, Full(place.home.artifacts), place.home, "run-1", place.time.clock, place.time.sleep)
    assert list(place.home.artifacts.iterdir()) == [] and place.run("run-1").state == "curating"
    assert place.freeze("run-1") == "training"


def test_a_channel_that_may_not_train(place: Place) -> None:
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        release_rows.save_channel(tx, replace(channel, policies=Policies(train=False)))
    place.start("run-1")
    with pytest.raises(JobError, match="does not permit training"):
        place.freeze("run-1")


@pytest.mark.parametrize("state", ["queued", "training", "failed"])
def test_a_run_in_another_state_is_left_alone(place: Place, state: str) -> None:
    place.say(*range(60))
    place.start("run-1", state=state)
    assert place.freeze("run-1") == state
    assert place.count(schema.datasets) == 0


# killed between any two steps


class Killed(BaseException):
    """Stands for a SIGKILL: nothing of ours may catch it."""


class Fate:
    """Kills at the `fatal`-th step that is reported to it."""

    def __init__(self, fatal: int) -> None:
        self.left = fatal

    def step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


class MortalStore(Store):
    """A real store that may be killed before and after each transaction, and before its commit."""

    def __init__(self, path: Path, fate: Fate) -> None:
        super().__init__(f"sqlite:///{path}")
        self.fate = fate

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self.fate.step()
        with super().read() as tx:
            yield tx
        self.fate.step()

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.fate.step()
        with super().write() as tx:
            yield tx
            self.fate.step()
        self.fate.step()


class MortalArtifacts(ArtifactStore):
    """A real artifact store that may be killed before and after a publication."""

    def __init__(self, root: Path, fate: Fate) -> None:
        super().__init__(root)
        self.fate = fate

    def publish(self, source: Path, kind: str, meta: Mapping[str, object]) -> str:
        self.fate.step()
        sha = super().publish(source, kind, meta)
        self.fate.step()
        return sha


def survives(place: Place, run: str, fatal: int) -> bool:
    """Start the job, to be killed at step `fatal`; whether it ended before."""
    fate = Fate(fatal)
    store = MortalStore(place.home.store, fate)
    try:
        freeze(store, MortalArtifacts(place.home.artifacts, fate), place.home, run, place.time.clock, place.time.sleep)
    except Killed:
        return False
    finally:
        store.close()
    return True


@pytest.mark.parametrize("corrections", [60, 30])
def test_killed_between_any_two_steps_it_ends_the_same(tmp_path: Path, corrections: int) -> None:
    template = Place(tmp_path / "template")
    template.say(*range(corrections))
    template.say(corrections, correction="?")
    template.start("run-1")
    template.store.close()
    outcomes = []
    for fatal in range(100):
        place = Place(shutil.copytree(tmp_path / "template", tmp_path / str(fatal)), fresh=False)
        whole = survives(place, "run-1", fatal)
        ledger = place.ledger()
        assert ledger["used"] in (0, corrections)
        assert ledger["used"] == place.count(schema.examples)
        final = place.freeze("run-1")
        run = place.run("run-1")
        outcomes.append((final, run.dataset, place.ledger(), place.count(schema.datasets), place.count(schema.splits)))
        place.store.close()
        if whole:
            break
    assert fatal > 10
    assert all(outcome == outcomes[0] for outcome in outcomes)


def test_of_two_jobs_of_one_run_one_wins(place: Place) -> None:
    place.say(*range(60))
    place.start("run-1")

    class Slow(ArtifactStore):
        """Lets the other job end while this one publishes."""

        def publish(self, source: Path, kind: str, meta: Mapping[str, object]) -> str:
            sha = super().publish(source, kind, meta)
            place.freeze("run-1")
            self.first = place.run("run-1")
            return sha

    slow = Slow(place.home.artifacts)
    assert freeze(place.store, slow, place.home, "run-1", place.time.clock, place.time.sleep) == "training"
    assert place.count(schema.datasets) == 1
    assert place.run("run-1") == slow.first


def test_a_jobs_words_on_a_full_disk_change_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path)
    with place.store.write() as tx:
        run = rollouts.start_run(tx, "support", {}, None, 2, "test")
        rollouts.advance_run(tx, run, "training", 3)
    command = [sys.executable, "-m", "thumbwheel", "curate", run.id, "--home", str(tmp_path)]
    with open("/dev/full", "wb") as full:
        assert subprocess.run(command, stdout=full, stderr=full).returncode == 0
    place.store.close()


def test_what_the_channel_adds_to_cleaning_counts(place: Place) -> None:
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        wanted = replace(channel.policies, clean=Clean(blocked_terms=("Return 3",), allow=("help@shop.example",)))
        rollouts.change_policies(tx, channel, wanted, 1, "test")
    place.say(*range(60))
    place.start("run-1")
    place.freeze("run-1")
    assert place.ledger()["refused"] == {"blocked_term": 1}


def test_a_mix_leaves_out_what_comes_back_when_there_is_room(place: Place) -> None:
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        wanted = replace(channel.policies, mix=Mix({"reasoning": 0.25, "dialogue": 0.75}))
        rollouts.change_policies(tx, channel, wanted, 1, "test")
    place.say(*range(60), tags=["reasoning"])
    place.say(*range(60, 120), tags=["dialogue"])
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    left = place.ledger()["refused"]["left_out"]
    assert left > 10 and place.ledger()["used"] == 120 - left
    place.say(*range(120, 300), tags=["dialogue"])
    place.start("run-2")
    place.freeze("run-2")
    rows = place.rows(place.run("run-2").dataset)
    assert sum(int(row["feedback"][3:]) < 60 for row in rows) == 60, "those of the first run are all back"
    tags = Counter(int(row["feedback"][3:]) < 60 for row in rows if row["split"] == "train")
    assert abs(tags[True] * 3 - tags[False]) <= 3


def test_other_wordings_are_found_by_their_source_and_by_themselves(place: Place) -> None:
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        wanted = replace(channel.policies, augment=Augment(("terms",), terms=(("complaint", "grievance"),)))
        rollouts.change_policies(tx, channel, wanted, 1, "test")
    place.say(*range(60))
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    assert place.ledger()["used"] == 60, "another wording is no feedback"
    held = place.rows(place.run("run-1").dataset)
    other = next(row for row in held if "augmented" in row)
    with place.store.read() as tx:
        (told,) = [line for line in explain(tx, other["feedback"]) if other["id"] in line]
        assert "another wording of its question" in told
        found = lineage(tx, other["id"])
        assert (found["kind"], found["from"]["feedback"]) == ("example", [other["feedback"]])
        assert len(dataset_rows.examples_where(tx, kind="augmented")) == sum("augmented" in row for row in held) > 20
    place.promote("run-1")
    place.say(*range(60, 120))
    place.start("run-2")
    assert place.freeze("run-2") == "training"
    since = {bool(row["since"]) for row in place.rows(place.run("run-2").dataset) if row["id"] == other["id"]}
    assert since == {True}, "it is as old as its source"


COMPLAINT = re.compile("complaint")


class Finder:
    """Takes the word `complaint` for a name, and counts what it is asked."""

    def __init__(self, version: str = "1.0") -> None:
        self.asked = 0
        self.names = NameFinder(By("model", version), self.find)

    def find(self, text: str) -> list[tuple[int, int]]:
        self.asked += 1
        return [found.span() for found in COMPLAINT.finditer(text)]


class Reading(SqliteEventLog):
    """A log whose consumer reads what is appended at once, but for `unread`, which comes first."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.home.events)
        self.place, self.between = place, lambda: None
        with place.store.write() as tx:
            data_rows.take_partition(tx, CURATION, 0)

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        super().append(topic, records, durable=durable)
        self.between()
        with self.place.store.write() as tx:
            before = data_rows.positions(tx)[topic][0]
            read = self.read(topic, 0, before, 1_000)
            ingestion.ingest(tx, [], [], [(one.offset, decode(one.value)) for one in read])  # type: ignore[misc]
            data_rows.advance(tx, topic, 0, 1, before, read[-1].offset)


def name(place: Place, run: str, finder: Finder, log: Reading) -> dict[str, Any]:
    place.start(run)
    naming = Naming(finder.names, log)
    assert freeze(place.store, place.artifacts, place.home, run, place.time.clock, place.time.sleep, naming)
    with place.store.write() as tx:
        rollouts.finish_run(tx, release_rows.get_run(tx, run), "rejected", (), None, 1, "test")
    card: dict[str, Any] = json.loads((place.artifacts.path(str(place.run(run).dataset)) / "card.json").read_text())
    return card


def test_names_that_a_model_found_are_in_no_row_and_are_recorded_before_it_is_frozen(place: Place) -> None:
    place.say(*range(60), correction="Sorry about complaint {}.")
    place.say(60, correction="Sorry about complaint {}.", seen=False)
    finder, log = Finder(), Reading(place)
    card = name(place, "run-1", finder, log)
    for line in place.rows(place.run("run-1").dataset):
        assert line["completion"].startswith("Sorry about [NAME_1] ")
        assert line["messages"][0]["content"].startswith("[NAME_1] ")
    assert card["names_by"] == {"model": "model", "version": "1.0"}
    assert card["positions"][CURATION] == {"0": 60}
    with place.store.read() as tx:
        events = curation_rows.of_channel(tx, "support", ComputedEvent)
    assert len(events) == 60 and "complaint" not in str(events)
    assert {(event.what, event.model, event.version) for event in events} == {("names", "model", "1.0")}
    log.close()


def test_what_a_model_has_found_is_not_computed_again(place: Place) -> None:
    place.say(*range(60), correction="Sorry about complaint {}.")
    finder, log = Finder(), Reading(place)
    name(place, "run-1", finder, log)
    asked = finder.asked
    assert asked == 60 * 3
    name(place, "run-2", finder, log)
    assert finder.asked == asked
    newer = Finder("2.0")
    assert name(place, "run-3", newer, log)["names_by"]["version"] == "2.0" and newer.asked == asked
    log.close()


def test_what_comes_while_names_are_looked_for_is_looked_at_too_or_waits(place: Place) -> None:
    place.say(*range(60), correction="Sorry about complaint {}.")
    finder, log, numbers = Finder(), Reading(place), itertools.count(100)
    log.between = lambda: place.say(next(numbers), correction="Sorry about complaint {}.")
    card = name(place, "run-1", finder, log)
    assert card["rows"] == 60 + 2 and card["waiting"] == {"no_run_yet": 1}
    log.close()


def test_thumbs_without_a_correction_are_rows_of_their_own_and_used(place: Place) -> None:
    place.say(*range(60))
    place.thumb(*range(100, 110))
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        policies = replace(channel.policies, uncorrected="kto")
        release_rows.save_channel(tx, replace(channel, policies=policies))
    place.start("run-1")
    assert place.freeze("run-1") == "training"
    rows = place.rows(place.run("run-1").dataset)
    assert {row["feedback"] for row in rows if row["kind"] == "kto"} == {f"fb-{n}" for n in range(100, 110)}
    assert place.ledger()["used"] == 70
    with place.store.read() as tx:
        told = " ".join(explain(tx, "fb-103"))
        assert "10 thumbs without a correction" in " ".join(explain(tx, "run-1"))
        (example,) = dataset_rows.examples_where(tx, feedback="fb-103")
    assert example["kind"] == "kto" and "nothing is learnt from or judged by these yet" in told


def test_too_few_corrections_end_a_run_however_many_thumbs_there_are(place: Place) -> None:
    place.say(*range(30))
    place.thumb(*range(100, 190))
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        policies = replace(channel.policies, uncorrected="kto")
        release_rows.save_channel(tx, replace(channel, policies=policies))
    place.start("run-1")
    assert place.freeze("run-1") == "insufficient_evidence"
    assert place.run("run-1").reasons[0].startswith("30 accepted corrections")
    assert place.ledger()["waiting"] == {"no_run_yet": 120}
    with place.store.write() as tx:
        tx.execute(schema.runs.update().values(created_ms=1))
        assert data_rows.train_due(tx, "support") == 30, "a thumb asks for no run"
