"""What a replay reads where the log has expired, was erased, or is gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from feedback.replay import DIFFERS, GONE, SAME
from tests.partitioned_log import PartitionedLog
from tests.unit.feedback.site import NOW_MS, WINDOW_S, Site, feedback, inference, talk
from thumbwheel.erasing.job import forget
from thumbwheel.erasure import person_of
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.eventlog.trimming import trim
from thumbwheel.events import (
    FEEDBACK,
    INFERENCE,
    ErasureEvent,
)
from thumbwheel.home import read_secret
from thumbwheel.ids import DAY_MS, mint_inference_id
from thumbwheel.store import data_rows, dataset_rows, schema, segments
from thumbwheel.store.retention import retain


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "home")
    yield made
    made.close()


def test_somebody_who_was_erased_is_not_brought_back(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    person = person_of(read_secret(place.home), "shop", "u7")
    place.say(ErasureEvent("er-1", NOW_MS, "test", "shop", person))
    place.read()
    done = place.replay(dataset, tmp_path / "again")
    assert done.status == DIFFERS and done.erased == 2
    removed = [one["feedback"] for one in done.differences if one.get("what") == "removed"]
    assert removed == ["fb-7"]
    held = b"".join(path.read_bytes() for path in (tmp_path / "again").rglob("*") if path.is_file())
    assert b"complaint 8" in held and b'complaint 7"' not in held


def test_what_erasing_left_of_a_dataset_is_what_the_log_makes_without_them(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)), feedback(8, "fb-of-u7", author="u7", correction="Sorry. Free return 8."))
    place.read()
    place.freeze()
    secret = read_secret(place.home)
    place.say(ErasureEvent("er-1", NOW_MS, "test", "shop", person_of(secret, "shop", "u7")))
    place.read()
    forget(place.store, place.log, place.artifacts, place.home, secret, lambda: NOW_MS)
    with place.store.read() as tx:
        (left,) = dataset_rows.datasets_of(tx, "support")
    done = place.replay(left["id"], tmp_path / "again")
    assert done.erased == 3 and done.differences and not done.rows_differ
    place.now_ms += 1
    assert place.replay(place.freeze(), tmp_path / "later").status == SAME


def test_records_that_are_nowhere_are_said(tmp_path: Path) -> None:
    log = PartitionedLog()
    place = Site(tmp_path / "home", log)
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    log.forget(FEEDBACK, 0, 5)
    done = place.replay(dataset, tmp_path / "again")
    assert done.status == GONE and [gap.told for gap in done.gaps] == ["feedback/0: records 1 to 5"]
    assert {one["feedback"] for one in done.differences if "row" in one} >= {f"fb-{n}" for n in range(5)}
    place.close()


def test_a_replay_reads_the_archive_where_the_log_has_expired(tmp_path: Path) -> None:
    log = PartitionedLog(3)
    place = Site(tmp_path / "home", log)
    place.say(*talk(range(60)), *map(inference, range(500, 600)))
    place.read()
    dataset = place.freeze()
    place.say(*talk(range(60, 90)), feedback(7, at_ms=NOW_MS))
    place.read()
    ahead = segments.pending(place.store, log, DAY_MS, NOW_MS)
    kept = segments.keep(place.store, log, place.artifacts, place.home.runs / "scratch", ahead, DAY_MS, NOW_MS)
    assert len(kept) == 6 and sum(one.last - one.after for one in kept) == 60 * 2 + 100 + 30 * 2 + 1
    for one in kept:
        log.forget(one.topic, one.partition, one.last)
    assert place.replay(dataset, tmp_path / "again").status == SAME
    with place.store.write() as tx:
        tx.execute(
            schema.segments.delete().where(schema.segments.c.topic == INFERENCE, schema.segments.c.partition == 1)
        )
    done = place.replay(dataset, tmp_path / "gone")
    assert done.status == GONE and [(gap.topic, gap.partition, gap.after) for gap in done.gaps] == [(INFERENCE, 1, 0)]
    place.close()


def test_the_trimmed_log_of_a_data_directory_and_its_archive_are_enough(place: Site, tmp_path: Path) -> None:
    """With ids as the service mints them, through the job that archives and trims."""
    secret, long_s = read_secret(place.home), 400 * 86_400
    ids = [mint_inference_id("chatcmpl", "support", "shop", NOW_MS + n, secret) for n in range(70)]
    place.say(*[inference(n, id=id_) for n, id_ in enumerate(ids)])
    place.say(*[feedback(n, inference=id_) for n, id_ in enumerate(ids[:60])])
    place.read()
    dataset = place.freeze()
    place.now_ms += long_s * 1000
    place.say(inference(99, id=mint_inference_id("chatcmpl", "support", "shop", place.now_ms, secret)))
    place.read()
    retain(place.store, place.log, place.artifacts, place.home, WINDOW_S, lambda: place.now_ms, place.sleep)
    with place.store.read() as tx:
        held = data_rows.positions(tx)
    assert isinstance(place.log, SqliteEventLog)
    trim(place.log, held, WINDOW_S, {}, place.now_ms)
    assert place.log.starts()[INFERENCE] == {0: 70} and place.log.starts()[FEEDBACK] == {0: 59}, "the last one stays"
    assert place.replay(dataset, tmp_path / "again").status == SAME
