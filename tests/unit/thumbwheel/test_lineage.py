from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from thumbwheel import ledger, rollouts
from thumbwheel.errors import NotFound
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.lineage import EXPLAINED, lineage, why
from thumbwheel.records import Policies, Release, Run
from thumbwheel.store import data_rows, dataset_rows, release_rows
from thumbwheel.store.connection import Store, open_store
from thumbwheel.store.dataset_rows import ExampleRow

DATASET, ADAPTER, REPORT = "d" * 64, "a" * 64, "e" * 64


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A whole way: an answer of the base, a correction, a dataset, a run, a release that is rolling out."""
    opened = open_store(tmp_path_factory.mktemp("lineage") / "store.db")
    with opened.write() as tx:
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
        data_rows.ingest(tx, inferences, list(enumerate(said, 1)))
        run = Run("run-1", "support", "training", {}, DATASET, None, None, (), {"step": "x"}, "ann", 1, 4_000, 4_000, 1)
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
        dataset_rows.insert_dataset(tx, DATASET, "support", "run-1", card, rows, {"g": "train"}, 4_000)
        made = Release("rel-2", "support", "draft", "main", "base", ADAPTER, "run-1", channel.stable, None, None, 1, 1)
        release_rows.insert_release(tx, made)
        run = release_rows.save_run(tx, replace(run, release="rel-2", state="evaluating"))
        rollouts.finish_run(tx, run, "candidate", ("it is better",), REPORT, 5_000, "evaluator")
        rollouts.start_rollout(tx, release_rows.get_release(tx, "rel-2"), None, 6_000, "ann")
        later = Run("run-2", "support", "queued", {}, None, None, None, ("too little",), {}, "ann", 0, 7_000, 7_000, 1)
        release_rows.insert_run(tx, later)
    yield opened
    opened.close()


def base_of(store: Store) -> str:
    with store.read() as tx:
        return release_rows.get_channel(tx, "support").stable


def rollout_of(store: Store) -> str:
    with store.read() as tx:
        return str(release_rows.get_channel(tx, "support").rollout)


def test_from_a_thumb_to_a_release(store: Store) -> None:
    with store.read() as tx:
        found = lineage(tx, "fb-1")
    assert found["kind"] == "feedback" and found["is"]["state"] == "used"
    base = base_of(store)
    assert found["from"] == {"inferences": ["inf-1"], "answered_by": [base], "assigned": [base]}
    assert found["to"] == {
        "examples": ["ex-1"],
        "datasets": [DATASET],
        "runs": ["run-1"],
        "releases": ["rel-2"],
        "rollouts": [rollout_of(store)],
    }
    assert [row["action"] for row in found["audit"]] == ["finish_run", "start_rollout"]


def test_and_back(store: Store) -> None:
    with store.read() as tx:
        found = lineage(tx, rollout_of(store))
    assert found["kind"] == "rollout"
    assert found["from"] == {
        "releases": ["rel-2"],
        "runs": ["run-1"],
        "datasets": [DATASET],
        "judged_beside": [base_of(store)],
        "feedback": ["fb-1"],
        "inferences": ["inf-1"],
        "answered_by": [base_of(store)],
    }
    assert found["to"] == {}
    assert [row["action"] for row in found["audit"]] == ["start_rollout"]


@pytest.mark.parametrize(
    ("thing", "kind", "before", "after"),
    [
        ("inf-1", "inference", {"answered_by"}, {"feedback", "examples", "datasets", "runs", "releases", "rollouts"}),
        ("inf-2", "inference", {"answered_by"}, {"feedback"}),
        ("fb-4", "feedback", {"inferences"}, set()),
        ("ex-1", "example", {"feedback", "inferences"}, {"datasets", "runs", "releases", "rollouts"}),
        (DATASET, "dataset", {"feedback", "inferences", "answered_by"}, {"runs", "releases", "rollouts"}),
        ("run-1", "run", {"datasets", "feedback", "inferences", "answered_by"}, {"releases", "rollouts"}),
        ("run-2", "run", set(), set()),
        ("rel-2", "release", {"runs", "datasets", "feedback", "judged_beside"}, {"rollouts"}),
        (ADAPTER, "adapter", {"runs", "datasets", "feedback", "judged_beside"}, {"releases", "rollouts"}),
        (REPORT, "report", {"runs", "datasets", "feedback"}, {"releases", "rollouts"}),
        ("support", "channel", {"releases"}, {"datasets", "runs", "releases", "rollouts"}),
    ],
)
def test_both_ways_of_everything(store: Store, thing: str, kind: str, before: set[str], after: set[str]) -> None:
    with store.read() as tx:
        found = lineage(tx, thing)
    assert (found["id"], found["kind"]) == (thing, kind)
    assert before <= set(found["from"])
    assert after == set(found["to"])
    assert all(ids for way in ("from", "to") for ids in found[way].values())


def test_no_users_text_is_in_it(store: Store) -> None:
    with store.read() as tx:
        assert "Free return." not in str([lineage(tx, thing) for thing in ("fb-1", "inf-1", "ex-1", DATASET, "run-1")])


def test_an_unknown_id(store: Store) -> None:
    with store.read() as tx:
        for ask in (lineage, why):
            with pytest.raises(NotFound, match="nothing-9"):
                ask(tx, "nothing-9")


def test_why_a_feedback_is_used(store: Store) -> None:
    with store.read() as tx:
        told = why(tx, "fb-1")
    assert told == [
        "fb-1 says a thumb down and a correction of answer inf-1 in channel support; "
        "received 1970-01-01 00:00:03 UTC by u1.",
        "It is used: dataset dddddddddddd holds it as ex-1 in its train split, so it is learnt from.",
        "run-1 used that dataset and is candidate; its release rel-2 is candidate.",
    ]


@pytest.mark.parametrize(
    ("feedback", "words"),
    [
        ("fb-2", ["refused (superseded)", "latest word on this answer is fb-3"]),
        ("fb-3", ["a score of 0.5", "waiting (no_correction)", "is not guessed"]),
        ("fb-4", ["something without", "waiting (inference_not_seen)"]),
    ],
)
def test_why_a_feedback_is_not(store: Store, feedback: str, words: list[str]) -> None:
    with store.read() as tx:
        told = " ".join(why(tx, feedback))
    assert all(word in told for word in words)


def test_why_a_run(store: Store) -> None:
    with store.read() as tx:
        told = why(tx, "run-1")
        short = why(tx, "run-2")
    assert "it is candidate" in told[0] and "asked for by ann" in told[0]
    text = " ".join(told)
    assert "The reason: it is better." in text
    assert "of 4 feedback, 1 are rows (1 train), 1 of them new" in text
    assert "Not in it, 1: its author said something else later, and the latest counts." in text
    assert "Release rel-2 is adapter aaaaaaaaaaaa on the base and is candidate" in text
    assert "is running in stage 1 of 4" in text and "the smoke test has not passed yet" in text
    assert "report eeeeeeeeeeee" in text
    assert short[1] == "The reason: too little."


def test_why_anything_else_points_to_the_lineage(store: Store) -> None:
    with store.read() as tx:
        assert "is an inference" in why(tx, "inf-1")[0]
        assert "is a dataset" in why(tx, DATASET)[0]
        assert "the base alone" in why(tx, base_of(store))[0]


def test_every_reason_that_follows_from_arrival_has_its_words() -> None:
    waiting = {ledger.INFERENCE_NOT_SEEN, ledger.NO_CORRECTION, ledger.NO_RUN_YET}
    assert ledger.ARRIVAL_REFUSALS | waiting <= set(EXPLAINED)
