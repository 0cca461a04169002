"""From every released schema to the present one, with what is in it.

Run on SQLite here and on PostgreSQL in tests/integration/postgres.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select, text

from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import Home
from thumbwheel.ids import day_of, mint_inference_id
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, fleet_rows, ingestion, migrate, schema
from thumbwheel.store.connection import connect, get_meta, open_store, put_meta

DAY_MS = 86_400_000
NOON = 20_000 * DAY_MS + DAY_MS // 2
SECRET = b"s" * 32


@pytest.fixture
def place(tmp_path: Path) -> tuple[Settings, Home]:
    """Where no store is yet."""
    return Settings(home=tmp_path), Home(tmp_path)


def old(place: tuple[Settings, Home], revision: int) -> None:
    """A store of the released schema `revision`, made by its own migrations."""
    store = connect(*place)
    with store.write() as tx:
        migrate.upgrade(tx, None, revision)
    store.close()


def shape(place: tuple[Settings, Home]) -> dict[str, Any]:
    """What the tables are, apart from Alembic's own."""
    store = connect(*place)
    with store.read() as tx:
        found = inspect(tx)
        tables = sorted(set(found.get_table_names()) - {"alembic_version"})
        made = {
            name: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(name)],
                found.get_pk_constraint(name)["constrained_columns"],
                sorted(
                    (index["name"], tuple(index["column_names"]), index["unique"]) for index in found.get_indexes(name)
                ),
                sorted(tuple(unique["column_names"]) for unique in found.get_unique_constraints(name)),
            )
            for name in tables
        }
    store.close()
    return made


def test_a_new_store_and_a_migrated_one_are_the_same(
    place: tuple[Settings, Home], another: tuple[Settings, Home]
) -> None:
    old(place, 1)
    assert shape(place) != shape_of_new(another)
    assert migrate.migrate(*place) == (1, schema.VERSION)
    assert shape(place) == shape(another)
    open_store(*place).close()


def shape_of_new(place: tuple[Settings, Home]) -> dict[str, Any]:
    assert migrate.migrate(*place) == (None, schema.VERSION)
    return shape(place)


@pytest.fixture
def another(tmp_path: Path) -> tuple[Settings, Home]:
    """Where no store is yet either."""
    (tmp_path / "another").mkdir()
    return Settings(home=tmp_path / "another"), Home(tmp_path / "another")


def test_what_is_in_an_old_store_stays(place: tuple[Settings, Home]) -> None:
    old(place, 1)
    minted = [
        mint_inference_id(kind, "support", "shop", at_ms, SECRET)
        for kind in ("chatcmpl", "cmpl")
        for at_ms in (NOON, NOON + 1, NOON + 3 * DAY_MS, NOON + 700 * DAY_MS)
    ]
    ids = sorted([*minted, "inf-1", "inf-2", "chatcmpl-"])
    store = connect(*place)
    names = [name for name in ingestion.INFERENCE_FIELDS if name != "day"]
    with store.write() as tx:
        put_meta(tx, "generation", "41")
        for id_ in ids:
            event = inference(id_, answer=f"of {id_}", prompt_tokens=7)
            row = {name: getattr(event, name) for name in names}
            row = {key: json.dumps(value) if isinstance(value, list) else value for key, value in row.items()}
            if id_ == "inf-2":
                row["messages"] = "null"  # as it was written where no text was logged
            marks = ", ".join(f":{name}" for name in names)
            tx.execute(text(f"insert into inferences ({', '.join(names)}) values ({marks})"), row)
        event = feedback("fb-1", ids[0])
        row = {name: getattr(event, name, None) for name in ingestion.FEEDBACK_FIELDS}
        tx.execute(insert(schema.feedback).values({**row, "seq": 3, "state": "waiting", "reason": "no_run_yet"}))
    store.close()
    with pytest.raises(StoreUnavailable, match=r"has schema 1.*migrate"):
        open_store(*place)

    migrate.migrate(*place)
    store = open_store(*place)
    c = schema.inferences.c
    with store.read() as tx:
        rows = tx.execute(select(c.id, c.answer, c.messages, c.prompt_tokens, c.day).order_by(c.id)).all()
        assert [row.id for row in rows] == ids
        assert all(row.answer == f"of {row.id}" and row.day == day_of(row.id) for row in rows)
        logged = [{"role": "user", "content": "it faded"}]
        assert [row.messages for row in rows] == [None if row.id == "inf-2" else logged for row in rows]
        unlogged = select(c.id).where(c.messages.is_(None))
        assert tx.execute(unlogged).scalars().all() == ["inf-2"]
        assert all(row.prompt_tokens == 7 for row in rows)
        assert get_meta(tx, "generation") == "41"
        assert data_rows.feedback_row(tx, "fb-1") is not None
    with store.write() as tx:  # and it goes on
        ingestion.ingest(tx, [inference(ids[0], answer="another")], [(9, feedback("fb-1", ids[0], at_ms=900))])
        assert tx.execute(select(c.answer).where(c.id == ids[0])).scalar_one() == f"of {ids[0]}"
        assert data_rows.ledger(tx, "support")["waiting"] == {"no_run_yet": 1}
    store.close()


def test_administrators_go_on_to_see_what_is_to_be_seen(place: tuple[Settings, Home]) -> None:
    old(place, 3)
    store = connect(*place)
    with store.write() as tx:
        for kind, rights in (("admin", "[]"), ("app", '["expert"]')):
            row = {"id": kind, "hash": kind, "kind": kind, "tenant": "t", "rights": rights}
            tx.execute(text("insert into keys values (:id, :hash, :kind, :tenant, :rights, 1)"), row)
    store.close()
    migrate.migrate(*place)
    store = open_store(*place)
    with store.read() as tx:
        found = {key.id: key.rights for key in fleet_rows.all_keys(tx)}
    store.close()
    assert found == {"admin": {"raw", "arbiter"}, "app": {"expert"}}


def test_migrating_again_changes_nothing_and_a_later_store_is_refused(place: tuple[Settings, Home]) -> None:
    migrate.migrate(*place)
    assert migrate.migrate(*place) == (schema.VERSION, schema.VERSION)
    store = connect(*place)
    with store.write() as tx:
        put_meta(tx, "schema", str(schema.VERSION + 1))
    store.close()
    with pytest.raises(StoreUnavailable, match="update Thumbwheel"):
        migrate.migrate(*place)


def test_the_last_migration_is_the_present_schema() -> None:
    files = sorted((migrate.SCRIPTS / "versions").glob("r*.py"))
    assert [int(file.name[1:5]) for file in files] == list(range(1, schema.VERSION + 1))


def test_an_interrupted_migration_leaves_the_old_store(
    place: tuple[Settings, Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    old(place, 1)
    before = shape(place)
    upgrade: Callable[..., None] = migrate.upgrade

    def killed(*arguments: Any) -> None:
        upgrade(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(migrate, "upgrade", killed)
    with pytest.raises(KeyboardInterrupt):
        migrate.migrate(*place)
    assert shape(place) == before
