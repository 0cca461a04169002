"""What is said of a feedback, a run, a release and a rollout."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.whole_way import DATASET, base_of, rollout_of, write_whole_way
from thumbwheel import ledger
from thumbwheel.errors import NotFound
from thumbwheel.store.connection import Store
from thumbwheel.why import EXPLAINED, explain


@pytest.fixture(scope="module")
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    write_whole_way(opened)
    yield opened
    opened.close()


def test_why_a_feedback_is_used(store: Store) -> None:
    with store.read() as tx:
        told = explain(tx, "fb-1")
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
        told = " ".join(explain(tx, feedback))
    assert all(word in told for word in words)


def test_why_a_run(store: Store) -> None:
    with store.read() as tx:
        told = explain(tx, "run-1")
        short = explain(tx, "run-2")
    assert "it is candidate" in told[0] and "asked for by ann" in told[0]
    text = " ".join(told)
    assert "The reason: it is better." in text
    assert "of 4 feedback, 1 are rows (1 train), 1 of them new" in text
    assert f"Not in it, 1: {EXPLAINED[ledger.SUPERSEDED]}." in text
    assert "Release rel-2 is adapter aaaaaaaaaaaa on the base and is candidate" in text
    assert "is running in stage 1 of 4" in text and "the smoke test has not passed yet" in text
    assert "report eeeeeeeeeeee" in text
    assert short[1] == "The reason: too little."


def test_why_anything_else_points_to_the_lineage(store: Store) -> None:
    with store.read() as tx:
        assert "is an inference" in explain(tx, "inf-1")[0]
        assert "is a dataset" in explain(tx, DATASET)[0]
        assert explain(tx, rollout_of(store))[0].startswith(f"Rollout {rollout_of(store)} of release rel-2 began")
        assert "the base alone" in explain(tx, base_of(store))[0]


def test_every_reason_that_follows_from_arrival_has_its_words() -> None:
    waiting = {ledger.INFERENCE_NOT_SEEN, ledger.NO_CORRECTION, ledger.NO_RUN_YET}
    assert ledger.ARRIVAL_REFUSALS | waiting <= set(EXPLAINED)


def test_an_unknown_id(store: Store) -> None:
    with store.read() as tx, pytest.raises(NotFound, match="nothing-9"):
        explain(tx, "nothing-9")
