"""Erasing where the rows are in PostgreSQL. On SQLite, in every detail, in tests/unit/thumbwheel/erasing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.unit.thumbwheel.erasing.test_job import HER, HERS, HIM, HIS, Place, everywhere
from thumbwheel.erasing.job import Forgotten
from thumbwheel.erasing.verb import learnt
from thumbwheel.erasure import person_of
from thumbwheel.store import data_rows, schema
from thumbwheel.store.connection import Store


@pytest.fixture
def place(tmp_path: Path, stores: Callable[..., Store]) -> Iterator[Place]:
    made = Place(tmp_path / "home", stores())
    with closing(made.log):
        yield made


def rows_with(store: Store, needle: str) -> list[str]:
    """The tables that hold it, in whatever column."""
    with store.read() as tx:
        found = {name: repr(tx.execute(select(table)).all()) for name, table in schema.metadata.tables.items()}
    return sorted(name for name, rows in found.items() if needle in rows)


def test_nothing_is_left_in_any_row_or_file_and_the_ledger_adds_up(place: Place) -> None:
    everywhere(place)
    tables = ["audit", "curations", "dead_letters", "examples", "feedback", "inferences"]
    assert sorted({*rows_with(place.store, HERS), *rows_with(place.store, HER)}) == tables
    with place.store.read() as tx:
        before = data_rows.ledger(tx, "support")
    place.erase()
    assert rows_with(place.store, HERS) == rows_with(place.store, HER) == [] == place.files_with(HERS, HER)
    assert rows_with(place.store, HIS) == ["feedback", "inferences"]
    assert rows_with(place.store, HIM) == ["examples", "feedback", "inferences"]
    with place.store.read() as tx:
        after = data_rows.ledger(tx, "support")
        assert learnt(tx, person_of(place.secret, "shop", HER))["runs"] == ["run-1"]
    assert after["acknowledged"] == before["acknowledged"] and after["refused"] == {"erased": 3}
    assert place.erase() == Forgotten()


def test_what_comes_late_is_not_brought_back(place: Place) -> None:
    everywhere(place)
    place.erase()
    late = place.answer(HER, HERS, 9)
    place.write(place.feedback(late, "fb-early", HERS))
    place.read()
    place.write(late, place.feedback(late, "fb-after", HERS), place.feedback(place.his, "fb-author", HERS, author=HER))
    place.read()
    assert {place.states()[one] for one in ("fb-early", "fb-after", "fb-author")} == {("refused", "erased")}
    assert rows_with(place.store, HERS) == rows_with(place.store, HER) == []
