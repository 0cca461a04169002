"""Datasets by name and in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from thumbwheel.errors import InvalidRequest, NotFound
from thumbwheel.events import FeedbackEvent
from thumbwheel.store import dataset_rows, erasure_rows, ingestion
from thumbwheel.store.connection import Store

FIRST, SECOND, ELSEWHERE = "abc" + "1" * 61, "abd" + "2" * 61, "f" * 64


@pytest.fixture(scope="module")
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    with opened.write() as tx:
        for dataset, channel, at_ms in ((SECOND, "support", 9), (ELSEWHERE, "sales", 7), (FIRST, "support", 5)):
            dataset_rows.insert_dataset(tx, dataset, channel, f"run-{at_ms}", {"rows": 1}, [], {}, at_ms)
    yield opened
    opened.close()


def test_a_beginning_is_a_name_where_it_is_one_datasets_alone(store: Store) -> None:
    with store.read() as tx:
        for name in (FIRST, "abc", "abc11"):
            assert dataset_rows.dataset_named(tx, name)["id"] == FIRST
        assert dataset_rows.dataset_named(tx, "f")["channel"] == "sales"
        with pytest.raises(InvalidRequest, match="Several datasets begin with 'ab'"):
            dataset_rows.dataset_named(tx, "ab")
        for name in ("", "abcd", "%", "ABC", FIRST + "1"):
            with pytest.raises(NotFound):
                dataset_rows.dataset_named(tx, name)


def test_an_erased_datasets_old_name_is_its_own(stores: Callable[..., Store]) -> None:
    opened = stores()
    with opened.write() as tx:
        dataset_rows.insert_dataset(tx, FIRST, "support", "run-1", {"rows": 2}, [], {}, 5)
        for old, new in ((FIRST, SECOND), (SECOND, ELSEWHERE)):
            erasure_rows.move_dataset(tx, old, new, {"rows": 1}, [], 6)
        for name in (FIRST, "abc", SECOND, "ab", ELSEWHERE):
            assert dataset_rows.dataset_named(tx, name)["id"] == ELSEWHERE
        with pytest.raises(NotFound):
            dataset_rows.dataset_named(tx, "abe")
    opened.close()


def test_the_last_dataset_of_a_channel(store: Store) -> None:
    with store.read() as tx:
        last = dataset_rows.last_of(tx, "support")
        assert last is not None and last["id"] == SECOND and dataset_rows.last_of(tx, "none") is None


def test_tags_of_feedback(stores: Callable[..., Store]) -> None:
    opened = stores()
    said = [FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", n, tags=["退货", "a"][:n]) for n in range(3)]
    with opened.write() as tx:
        ingestion.ingest(tx, [], list(enumerate(said)))
        assert dataset_rows.tags_of(tx, ["fb-0", "fb-1", "fb-2", "fb-9"]) == {"fb-1": ["退货"], "fb-2": ["退货", "a"]}
        assert dataset_rows.tags_of(tx, []) == {}
    opened.close()


def test_the_order_is_that_of_freezing(store: Store) -> None:
    with store.read() as tx:
        assert [row["id"] for row in dataset_rows.datasets_of(tx)] == [FIRST, ELSEWHERE, SECOND]
        assert [row["id"] for row in dataset_rows.datasets_of(tx, "support")] == [FIRST, SECOND]
        assert dataset_rows.datasets_of(tx, "none") == []
        assert dataset_rows.dataset_before(tx, SECOND) == FIRST
        assert dataset_rows.dataset_before(tx, FIRST) is None
        assert dataset_rows.dataset_before(tx, ELSEWHERE) is None
        with pytest.raises(NotFound):
            dataset_rows.dataset_before(tx, "abc")
