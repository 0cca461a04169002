"""Opening the store, and what its errors say; the suite of any store is in test_store.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import update

from tests.stores import store_in
from thumbwheel.errors import NotRunning, StoreUnavailable
from thumbwheel.home import Home
from thumbwheel.settings import Settings
from thumbwheel.store import schema
from thumbwheel.store.connection import existing_store


@pytest.mark.parametrize(("version", "advice"), [("1", "thumbwheel migrate"), ("9", "update Thumbwheel")])
def test_a_store_of_another_schema_is_not_touched(tmp_path: Path, version: str, advice: str) -> None:
    store = store_in(tmp_path)
    with store.write() as tx:
        tx.execute(update(schema.meta).where(schema.meta.c.key == "schema").values(value=version))
    store.close()
    with pytest.raises(StoreUnavailable, match=f"has schema {version}.*{advice}"):
        store_in(tmp_path)


def test_who_only_looks_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no store"):
        existing_store(Settings(home=tmp_path), Home(tmp_path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "store.db").touch(0o600)
    with pytest.raises(NotRunning, match="no tables"):
        existing_store(Settings(home=tmp_path), Home(tmp_path))


def test_an_open_store_is_opened_while_another_writes(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    with store.write():
        store_in(tmp_path, busy_ms=1).close()
    store.close()
