from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyarrow import parquet

from feedback.consumer import take_partitions
from feedback.ingest import step
from tests.partitioned_log import PartitionedLog
from tests.stores import store_in
from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import ArtifactError, LostRace
from thumbwheel.events import FEEDBACK, INFERENCE, Event, encode, place_of
from thumbwheel.home import Home, prepare
from thumbwheel.ids import DAY_MS, mint_inference_id
from thumbwheel.store import segments
from thumbwheel.store.connection import Store
from thumbwheel.store.retention import retain
from thumbwheel.store.segments import Archive, Segment

DAY = 20_000
START = DAY * DAY_MS
WINDOW_S = 30 * 86_400
SECRET = b"s" * 32


@dataclass
class Place:
    """A store with what `retain` takes, over a log of one partition a topic, and a clock to turn."""

    store: Store
    home: Home
    log: PartitionedLog
    artifacts: ArtifactStore
    now_ms: int = START

    def say(self, *events: Event) -> None:
        """And have it read."""
        for event in events:
            topic, key = place_of(event)
            self.log.append(topic, [(key, encode(event))], durable=True)
        for at in take_partitions(self.store, self.log):
            before = -1
            while before != at.offset:
                before = at.offset
                at = step(self.store, self.log, at, self.now_ms, 2)

    def serve(self, at_ms: int) -> str:
        id_ = mint_inference_id("chatcmpl", "support", "shop", at_ms, SECRET)
        self.say(inference(id_, at_ms=at_ms))
        return id_

    def retain(self) -> None:
        retain(self.store, self.log, self.artifacts, self.home, WINDOW_S, lambda: self.now_ms, lambda _: None)

    def held(self) -> list[Segment]:
        with self.store.read() as tx:
            return segments.segments(tx)

    def archive(self) -> Archive:
        return Archive(self.artifacts, self.held())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = prepare(tmp_path)
    made = Place(store_in(tmp_path), home, PartitionedLog(), ArtifactStore(home.artifacts))
    yield made
    made.store.close()


def test_records_are_kept_as_they_lie_once_their_feedback_window_is_over(place: Place) -> None:
    rated, unrated, young = place.serve(START), place.serve(START + 1), place.serve(START + DAY_MS)
    place.say(
        feedback("fb-1", rated, at_ms=START + 5), feedback("fb-2", young), feedback("fb-1", rated, at_ms=START + 9)
    )
    place.now_ms = START + DAY_MS + WINDOW_S * 1000 - 1
    place.retain()
    assert place.held() == []
    place.now_ms += 1
    place.retain()
    said, served = place.held()
    # A segment has no holes: the third feedback waits behind the second, whose window is open.
    assert (said.topic, said.after, said.last) == (FEEDBACK, 0, 1)
    assert (served.topic, served.after, served.last) == (INFERENCE, 0, 2)
    archive = place.archive()
    assert archive.read(FEEDBACK, 0, 0, 9) == place.log.read(FEEDBACK, 0, 0, 1)
    assert archive.read(INFERENCE, 0, 0, 9) == place.log.read(INFERENCE, 0, 0, 1), unrated
    assert archive.read(INFERENCE, 0, 1, 9) == [] and archive.end(INFERENCE, 0) == 2
    manifest = place.artifacts.manifest(str(served.artifact))
    assert (manifest.kind, manifest.meta) == ("events", {"topic": INFERENCE, "partition": 0, "after": 0, "last": 2})
    place.retain()
    assert place.held() == [said, served]


def test_it_goes_on_where_it_was(place: Place) -> None:
    first, second = place.serve(START), place.serve(START + DAY_MS)
    place.say(feedback("fb-1", first), feedback("fb-2", second), feedback("fb-1", first, at_ms=START + 9))
    for days in (1, 2):
        place.now_ms = START + days * DAY_MS + WINDOW_S * 1000
        place.retain()
    assert [(one.topic, one.after, one.last) for one in place.held()] == [
        (FEEDBACK, 0, 1),
        (FEEDBACK, 1, 3),
        (INFERENCE, 0, 1),
        (INFERENCE, 1, 2),
    ]
    archive, whole = place.archive(), place.log.read(FEEDBACK, 0, 0, 9)
    assert archive.read(FEEDBACK, 0, 0, 9) + archive.read(FEEDBACK, 0, 1, 9) == whole
    assert archive.read(FEEDBACK, 0, 1, 1) == whole[1:2]


def test_where_nothing_is_worth_keeping_there_is_no_file(place: Place) -> None:
    place.serve(START)
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    assert place.held() == [Segment(INFERENCE, 0, 0, 1, None)]
    assert list(place.artifacts.root.glob("*/events.parquet")) == []


def test_what_has_expired_already_leaves_a_hole_and_stops_nothing(place: Place) -> None:
    rated = [place.serve(START + n) for n in range(3)]
    place.say(*[feedback(f"fb-{id_}", id_) for id_ in rated])
    place.log.forget(INFERENCE, 0, 1)
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    assert [(one.after, one.last) for one in place.held() if one.topic == INFERENCE] == [(1, 3)]


def test_a_clock_that_is_ahead_holds_up_nothing(place: Place) -> None:
    ahead, rated = place.serve(START + 900 * DAY_MS), place.serve(START)
    place.say(feedback("fb-1", rated), feedback("fb-2", ahead))
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    assert {(one.topic, one.last) for one in place.held()} == {(FEEDBACK, 2), (INFERENCE, 2)}


def test_two_who_keep_the_same_keep_it_once(place: Place) -> None:
    place.say(feedback("fb-1", place.serve(START)))
    place.now_ms = START + 40 * DAY_MS
    closed_ms, scratch = place.now_ms - WINDOW_S * 1000, place.home.runs / "scratch"
    ahead = segments.pending(place.store, place.log, closed_ms, place.now_ms)
    segments.keep(place.store, place.log, place.artifacts, scratch, ahead, closed_ms, place.now_ms)
    held = place.held()
    with pytest.raises(LostRace):
        segments.keep(place.store, place.log, place.artifacts, scratch, ahead, closed_ms, place.now_ms)
    assert place.held() == held and not scratch.exists()


def test_a_damaged_segment_is_not_read(place: Place) -> None:
    place.say(feedback("fb-1", place.serve(START)))
    place.now_ms = START + 40 * DAY_MS
    place.retain()
    file = place.artifacts.path(str(place.held()[0].artifact)) / segments.FILE
    assert parquet.read_table(file).num_rows == 1
    file.chmod(0o600)
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ArtifactError):
        place.archive().read(FEEDBACK, 0, 0, 9)
