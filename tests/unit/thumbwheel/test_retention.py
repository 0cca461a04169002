"""What becomes of inferences past the feedback window. On SQLite here, on PostgreSQL in tests/integration/postgres."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from sqlalchemy import select

from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import INFERENCE
from thumbwheel.home import Home, prepare
from thumbwheel.ids import DAY_MS, mint_inference_id
from thumbwheel.records import DEFAULT_STAGES, Rollout
from thumbwheel.store import data_rows, ingestion, release_rows, retention, schema
from thumbwheel.store.connection import Store
from thumbwheel.store.partitions import make_ahead, name_of, partitioned_days

DAY = 20_000
START = DAY * DAY_MS
WINDOW_S = 30 * 86_400
SECRET = b"s" * 32


@dataclass
class Place:
    """A store with the parts that retention takes, and a clock to turn."""

    store: Store
    home: Home
    log: SqliteEventLog
    artifacts: ArtifactStore
    now_ms: int = START
    slept: list[float] = field(default_factory=list)

    def retain(self) -> list[int]:
        return retention.retain(
            self.store, self.log, self.artifacts, self.home, WINDOW_S, lambda: self.now_ms, self.slept.append
        )

    def serve(self, at_ms: int, kind: str = "chatcmpl", **fields: Any) -> str:
        """An inference of that moment, in the store."""
        id_ = mint_inference_id(kind, "support", "shop", at_ms, SECRET)
        with self.store.write() as tx:
            ingestion.ingest(tx, [inference(id_, at_ms=at_ms, **fields)], [])
        return id_

    def say(self, on: str) -> None:
        with self.store.write() as tx:
            ingestion.ingest(tx, [], [(1, feedback(f"fb-{on}", on))])

    def ids(self) -> set[str]:
        with self.store.read() as tx:
            return set(tx.execute(select(schema.inferences.c.id)).scalars())

    def archives(self) -> list[tuple[int, str, int]]:
        with self.store.read() as tx:
            a = schema.archives.c
            return [tuple(row) for row in tx.execute(select(a.day, a.artifact, a.rows).order_by(a.day, a.at_ms))]

    def archived(self, artifact: str) -> list[dict[str, Any]]:
        self.artifacts.verify(artifact)
        return parquet.read_table(self.artifacts.path(artifact) / retention.FILE).to_pylist()


@pytest.fixture
def place(stores: Callable[..., Store], tmp_path: Path) -> Iterator[Place]:
    home = prepare(tmp_path / "home")
    made = Place(stores(), home, SqliteEventLog(home.events), ArtifactStore(home.artifacts))
    yield made
    made.log.close()
    made.store.close()


def test_a_day_is_archived_once_nobody_can_say_anything_of_it_any_more(place: Place) -> None:
    place.retain()
    gone = [place.serve(START + 5, answer="Oh.", ttft_ms=1.5), place.serve(START + DAY_MS - 1, "cmpl", messages=None)]
    stays = place.serve(START + DAY_MS)
    place.now_ms = START + DAY_MS + WINDOW_S * 1000 - 1
    assert place.retain() == [] and place.ids() == {*gone, stays}
    place.now_ms += 1
    assert place.retain() == [DAY] and place.ids() == {stays}
    ((day, artifact, rows),) = place.archives()
    assert (day, rows) == (DAY, 2)
    manifest = place.artifacts.manifest(artifact)
    assert (manifest.kind, manifest.meta) == ("inferences", {"day": "2024-10-04", "rows": 2})
    chat, completion = place.archived(artifact)
    assert [chat["id"], completion["id"]] == gone
    assert (chat["answer"], chat["ttft_ms"], chat["trainable"], chat["day"]) == ("Oh.", 1.5, True, DAY)
    assert json.loads(chat["messages"]) == [{"role": "user", "content": "it faded"}] and chat["flags"] == "[]"
    assert completion["messages"] is None
    assert place.retain() == []
    assert not (place.home.runs / retention.SCRATCH).exists()


def test_what_somebody_said_something_of_stays_and_is_archived_too(place: Place) -> None:
    place.retain()
    rated, unrated = place.serve(START), place.serve(START + 1)
    place.say(rated)
    place.now_ms = START + 40 * DAY_MS
    assert place.retain() == [DAY]
    assert place.ids() == {rated}
    assert [row["id"] for row in place.archived(place.archives()[0][1])] == sorted([rated, unrated])
    with place.store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == {"no_run_yet": 1}
    assert place.retain() == []
    place.say(rated)  # the same again, from a log that is read anew
    with place.store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == {"no_run_yet": 1}


def test_what_comes_after_its_day_is_archived_by_itself(place: Place) -> None:
    place.retain()
    rated, _ = place.serve(START), place.serve(START + 1)
    place.say(rated)
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    late = place.serve(START + 2)
    place.now_ms += 1
    assert place.retain() == [DAY]
    assert [row["id"] for row in place.archived(place.archives()[1][1])] == [late]
    assert place.ids() == {rated}


def test_a_rollout_in_progress_keeps_what_it_is_judged_by(place: Place) -> None:
    place.retain()
    served = place.serve(START + 2 * DAY_MS)
    began = START + 2 * DAY_MS
    rollout = Rollout("ro-1", "support", "rel-2", "paused", 0, DEFAULT_STAGES, 5.0, {}, began, began, None, 1)
    with place.store.write() as tx:
        release_rows.insert_rollout(tx, rollout)
    place.now_ms = START + 90 * DAY_MS
    place.retain()
    assert place.ids() == {served}
    with place.store.write() as tx:
        release_rows.save_rollout(tx, Rollout(**{**vars(rollout), "state": "aborted"}))
    place.retain()
    assert place.ids() == set()


def test_nothing_goes_while_the_log_is_unread(place: Place) -> None:
    served = place.serve(START)
    place.log.append(INFERENCE, [("k", b"{}")], durable=True)
    place.now_ms = START + 40 * DAY_MS
    with pytest.raises(StoreUnavailable, match="consumer"):
        place.retain()
    assert place.ids() == {served} and sum(place.slept) == pytest.approx(retention.CATCH_UP_S)
    with place.store.write() as tx:
        _, at = data_rows.take_partition(tx, INFERENCE, 0)
        data_rows.advance(tx, INFERENCE, 0, 1, at, 1)
    assert place.retain() == [DAY]


def test_a_row_that_comes_while_its_day_is_archived_is_not_lost(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.retain()
    place.serve(START)
    publish, late = place.artifacts.publish, []

    def slowly(*arguments: Any) -> str:
        if not late:
            late.append(place.serve(START + 1))
        return publish(*arguments)

    monkeypatch.setattr(place.artifacts, "publish", slowly)
    place.now_ms = START + 40 * DAY_MS
    with pytest.raises(LostRace):
        place.retain()
    assert late[0] in place.ids() and place.archives() == []
    assert place.retain() == [DAY]
    assert place.ids() == set() and place.archives()[0][2] == 2


def test_days_are_made_ahead_and_take_what_came_before_them(place: Place) -> None:
    early = place.serve(START + 3 * DAY_MS)
    with place.store.write() as tx:
        made = make_ahead(tx, START)
        assert make_ahead(tx, START + DAY_MS - 1) == []
        assert partitioned_days(tx) == made
        if tx.dialect.name == "postgresql":
            assert made == list(range(DAY, DAY + 8)) and name_of(DAY) == "inferences_20241004"
            where = "select tableoid::regclass::text from inferences"
            assert tx.exec_driver_sql(where).scalars().all() == [name_of(DAY + 3)]
    assert place.ids() == {early}
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    with place.store.read() as tx:
        assert all(day >= DAY + 10 for day in partitioned_days(tx))
