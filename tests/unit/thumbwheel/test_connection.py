"""Opening the store, and what its errors say."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from thumbwheel.errors import StoreUnavailable
from thumbwheel.store import schema
from thumbwheel.store.connection import open_store


def test_a_store_of_another_schema_is_not_touched(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    with store.write() as tx:
        tx.execute(update(schema.meta).where(schema.meta.c.key == "schema").values(value="2"))
    store.close()
    with pytest.raises(StoreUnavailable, match="has schema 2"):
        open_store(tmp_path / "store.db")


def test_no_error_repeats_what_a_user_said(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    with pytest.raises(StoreUnavailable) as caught, store.write() as tx:
        tx.execute(insert(schema.feedback).values(id="fb-1", correction="my address is"))
    assert "NOT NULL" in str(caught.value) and caught.value.__cause__ is not None
    assert "my address is" not in str(caught.value) + str(caught.value.__cause__)
    store.close()
