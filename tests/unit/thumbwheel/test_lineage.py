"""What anything came from and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.whole_way import ADAPTER, DATASET, REPORT, base_of, rollout_of, write_whole_way
from thumbwheel.errors import NotFound
from thumbwheel.lineage import in_words, lineage
from thumbwheel.store.connection import Store


@pytest.fixture(scope="module")
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    write_whole_way(opened)
    yield opened
    opened.close()


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
    with store.read() as tx, pytest.raises(NotFound, match="nothing-9"):
        lineage(tx, "nothing-9")


def test_what_has_learnt_is_told_a_line_each_and_nothing_of_what_has_not() -> None:
    found = {"datasets": ["d1"], "runs": ["run-1", "run-2"], "releases": [], "rollouts": [], "stable_in": ["support"]}
    assert in_words(found, "them") == [
        "learnt from them, datasets: d1",
        "learnt from them, runs: run-1, run-2",
        "one of these releases is stable in: support",
    ]
    assert in_words({name: [] for name in found}, "it") == []
