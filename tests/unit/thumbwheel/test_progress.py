"""How far a run is, in its row."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.full_disk import no_room
from thumbwheel.progress import note, seconds_left
from thumbwheel.records import Run
from thumbwheel.store import release_rows
from thumbwheel.store.connection import Store


@pytest.fixture
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    with opened.write() as tx:
        run = Run("run-1", "support", "training", {}, None, None, None, (), {}, "test", 1, 10, 10, 1)
        release_rows.insert_run(tx, run)
    yield opened
    opened.close()


def row(store: Store) -> Run:
    with store.read() as tx:
        return release_rows.get_run(tx, "run-1")


def test_it_is_written_while_the_run_is_in_that_state(store: Store) -> None:
    assert note(store, "run-1", "training", {"step": "x", "done": 1, "of": 2}, lambda: 99)
    assert (row(store).progress, row(store).updated_ms) == ({"step": "x", "done": 1, "of": 2}, 99)
    assert not note(store, "run-1", "curating", {"step": "late"}, lambda: 100)
    assert row(store).progress["step"] == "x"


def test_a_store_that_takes_no_writes_costs_the_note_alone(store: Store) -> None:
    with no_room():
        assert note(store, "run-1", "training", {"step": "x"}, lambda: 99)
    assert row(store).progress == {}


def test_the_pace_says_how_long_it_still_takes() -> None:
    began = time.monotonic() - 10.0
    assert seconds_left((began, 5), 10, 20) == pytest.approx(20.0, abs=2.0)
    assert seconds_left((began, 5), 5, 20) is None
    assert seconds_left((began, 5), 9, None) is None
