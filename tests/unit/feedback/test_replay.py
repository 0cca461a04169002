"""A snapshot is a vector of log positions: whatever else happens, the same positions give the same bytes."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from feedback.capture import take_snapshot
from feedback.consumer import give_up
from feedback.curate import Curation, curate
from feedback.freeze import _rulings
from feedback.names import By, NameFinder
from feedback.naming import Naming
from feedback.past import Past
from feedback.replay import DIFFERS, GONE, SAME, Replayed, read_all, run
from feedback.snapshot import Limits
from tests.partitioned_log import PartitionedLog
from tests.unit.feedback.site import NOW_MS, Site, feedback, inference, talk
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import main
from thumbwheel.erasure import Erased
from thumbwheel.errors import InvalidRequest
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import (
    FEEDBACK,
    Event,
    ExclusionEvent,
    FeedbackEvent,
    ReviewEvent,
    encode,
    place_of,
)
from thumbwheel.home import Home
from thumbwheel.records import Clean
from thumbwheel.store import data_rows, dataset_rows, ingestion, release_rows, schema
from thumbwheel.store.segments import Archive


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "home")
    yield made
    made.close()


def test_a_replay_gives_the_same_bytes(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    done = place.replay(dataset, tmp_path / "again")
    assert done == Replayed(dataset, dataset, (), (), 0) and done.status == SAME
    again = ArtifactStore(Home(tmp_path / "again").artifacts)
    for name in ("rows.jsonl", "reasons.jsonl", "card.json"):
        assert (again.path(dataset) / name).read_bytes() == (place.artifacts.path(dataset) / name).read_bytes()


def test_what_comes_after_the_snapshot_does_not_matter(place: Site, tmp_path: Path) -> None:
    """More feedback, second thoughts, an inference at last, other policies, other datasets, another stable release."""
    place.say(*talk(range(60)), feedback(60), feedback(61), inference(61, trainable=False))
    place.read()
    first = place.freeze()
    place.say(*talk(range(70, 120)), feedback(3, "fb-else", at_ms=NOW_MS), inference(60), feedback(4, at_ms=NOW_MS))
    place.policies(trust="reviewed", clean=Clean(blocked_terms=("Return",)))
    place.policies(trust="single-user", clean=Clean())
    place.now_ms += 500_000
    place.read()
    second = place.freeze()
    place.promote(second)
    place.policies(clean=Clean(blocked_terms=("Return",), allow=("Return 9",)))
    assert place.replay(first, tmp_path / "first").status == SAME
    assert place.replay(second, tmp_path / "second").status == SAME


def test_since_and_splits_come_from_the_datasets_before(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    first = place.freeze()
    place.promote(first)
    place.say(*talk(range(60, 120)))
    place.read()
    place.now_ms += 1
    second = place.freeze()
    card = json.loads((place.artifacts.path(second) / "card.json").read_text())
    assert (card["before"], card["incumbent"], card["new"]) == ([first], first, 60)
    assert place.replay(second, tmp_path / "again").status == SAME


def test_that_an_inference_is_no_longer_waited_for_follows_from_the_moment(place: Site, tmp_path: Path) -> None:
    """Whether the consumer has given it up by then, or not yet, or has but was wrong."""
    place.say(*talk(range(60)), *[feedback(n, at_ms=NOW_MS - n) for n in (99_999, 100_000)])
    place.read()
    dataset = place.freeze()
    card = json.loads((place.artifacts.path(dataset) / "card.json").read_text())
    assert card["refused"] == {"inference_unknown": 1} and card["waiting"] == {"inference_not_seen": 1}
    with place.store.read() as tx:
        assert data_rows.ledger(tx, "support")["refused"] == {"inference_unknown": 1}, "the ledger says so too"
    assert place.replay(dataset, tmp_path / "again").status == SAME
    with place.store.write() as tx:
        c = schema.feedback.c
        tx.execute(
            update(schema.feedback).where(c.id == "fb-99999").values(state="refused", reason="inference_unknown")
        )
    other = place.freeze()
    assert json.loads((place.artifacts.path(other) / "card.json").read_text())["refused"] == card["refused"]


def test_that_a_wait_is_over_follows_from_the_moment(place: Site, tmp_path: Path) -> None:
    """Whether the consumer has given it up by then, or has not, or does so afterwards."""
    place.policies(trust="two-sources")
    others = [
        inference(n) if kind == "inference" else feedback(n, **{"author": "ann", **fields})
        for n, fields in (
            (60, {"at_ms": NOW_MS - 100_000, "correction": None, "thumb": "down"}),
            (61, {"at_ms": NOW_MS - 99_999, "correction": None, "thumb": "down"}),
            (62, {"at_ms": NOW_MS - 100_000}),
            (63, {"at_ms": NOW_MS - 99_999}),
        )
        for kind in ("inference", "feedback")
    ]
    again = [feedback(n, f"fb-second-{n}", author="bob") for n in range(60)]
    place.say(*talk(range(60)), *again, *others)
    place.read()
    dataset = place.freeze()
    card = json.loads((place.artifacts.path(dataset) / "card.json").read_text())
    assert card["waiting"] == {"no_correction": 1, "second_source": 1}
    assert card["refused"] == {"duplicate": 60, "unconfirmed": 1, "uncorrected": 1}
    with place.store.read() as tx:
        assert data_rows.ledger(tx, "support")["waiting"] == card["waiting"], "the ledger says so too"
    with place.store.write() as tx:
        ingestion.give_up(tx, NOW_MS)
        assert data_rows.ledger(tx, "support")["waiting"] == {}
    assert place.replay(dataset, tmp_path / "again").status == SAME
    same = place.freeze()
    told = json.loads((place.artifacts.path(same) / "card.json").read_text())
    assert (told["waiting"], told["refused"]) == (card["waiting"], card["refused"])


def test_a_permission_is_the_inferences_and_no_state_of_the_store(place: Site, tmp_path: Path) -> None:
    """An expert's word that the same author's own later one superseded, on arrival, of what may not be learnt from."""
    place.say(
        *talk(range(60)),
        inference(60, trainable=False),
        feedback(60, "fb-x", role="expert"),
        feedback(60, "fb-y", at_ms=NOW_MS),
        inference(61, messages=None),
        feedback(61),
        inference(62, channel="other"),
        feedback(62),
    )
    place.read()
    dataset = place.freeze()
    card = json.loads((place.artifacts.path(dataset) / "card.json").read_text())
    assert card["refused"] == {"training_not_permitted": 2, "no_text": 1, "foreign": 1}
    assert place.replay(dataset, tmp_path / "again").status == SAME


def test_names_are_taken_from_what_was_recorded(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()

    class Reading(SqliteEventLog):
        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            super().append(topic, records, durable=durable)
            place.read()

    log = Reading(place.home.events)
    finder = NameFinder(By("model", "7"), lambda text: [(0, 9)] if text.startswith("complaint") else [])
    dataset = place.freeze(Naming(finder, log))
    log.close()
    assert "[NAME_1]" in (place.artifacts.path(dataset) / "rows.jsonl").read_text()
    assert place.replay(dataset, tmp_path / "again").status == SAME


def test_dead_letters_stay_dead_and_are_told_nobody(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.log.append(FEEDBACK, [("k", b"junk")] * 25, durable=True)
    place.say(*talk(range(60, 70)))
    place.read()
    dataset, ends = place.freeze(), place.log.ends()
    assert place.replay(dataset, tmp_path / "again").status == SAME
    assert place.log.ends() == ends


# what is not the same


def forge(log: SqliteEventLog, event: Event) -> None:
    """Another event lies where the one of its key lay."""
    with log._lock:
        log._durable.execute(
            "update records set value = ? where topic = ? and key = ?", (encode(event), *place_of(event))
        )


def test_a_changed_event_is_found_and_named(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    assert isinstance(place.log, SqliteEventLog)
    forge(place.log, feedback(7, correction="Sorry. No return."))
    done = place.replay(dataset, tmp_path / "again")
    assert done.status == DIFFERS and done.made != dataset
    rows = [one for one in done.differences if "row" in one]
    assert {(one["what"], one["feedback"]) for one in rows} == {("added", "fb-7"), ("removed", "fb-7")}


def test_a_changed_author_is_named_by_its_field(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    assert isinstance(place.log, SqliteEventLog)
    forge(place.log, inference(7, unit="somebody"))
    (row,) = [one for one in place.replay(dataset, tmp_path / "again").differences if "row" in one]
    assert (row["what"], row["feedback"], row["fields"]) == ("changed", "fb-7", ["author"])


def test_where_feedback_stands_is_compared_too(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)), inference(60), feedback(60, correction="?"))
    place.read()
    dataset = place.freeze()
    assert isinstance(place.log, SqliteEventLog)
    forge(place.log, feedback(60, correction=None))
    done = place.replay(dataset, tmp_path / "again")
    assert {"feedback": "fb-60", "was": "refused (degenerate)", "is": "waiting (no_correction)"} in done.differences


def test_the_folder_has_to_be_empty(place: Site, tmp_path: Path) -> None:
    place.say(*talk(range(60)))
    place.read()
    with pytest.raises(InvalidRequest, match="not empty"):
        place.replay(place.freeze(), place.home.root)


def told(place: Site, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """What a person is told, and the exit status."""
    status = run([*words, "--home", str(place.home.root)])
    said = capsys.readouterr()
    return status, said.out + said.err


def test_what_a_person_is_told(place: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    assert told(place, capsys, dataset[:12], "--to", str(tmp_path / "a")) == (SAME, f"same {dataset}\n")
    status, said = told(place, capsys, dataset, "--json", "--to", str(tmp_path / "b"))
    found = json.loads(said)
    assert (status, found["same"], found["made"], found["gone"]) == (SAME, True, dataset, [])
    assert isinstance(place.log, SqliteEventLog)
    forge(place.log, inference(7, unit="somebody"))
    status, said = told(place, capsys, dataset, "--to", str(tmp_path / "c"))
    assert status == DIFFERS and said.startswith(f"{dataset} is not the same: ")
    assert "of fb-7 changed in author\n" in said
    status, said = told(place, capsys, dataset, "--json", "--to", str(tmp_path / "d"))
    assert status == DIFFERS and [one["fields"] for one in json.loads(said)["differences"]] == [["author"]]


def test_a_place_that_cannot_be_written_is_no_dataset_that_is_gone(
    place: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place.say(*talk(range(60)))
    place.read()
    dataset = place.freeze()
    (tmp_path / "file").write_text("x")
    for to in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("x" * 300), Path("/proc/none")):
        assert main(["replay", dataset, "--to", str(to), "--home", str(place.home.root)]) == DIFFERS
        said = capsys.readouterr().err
        assert said.startswith(f"thumbwheel: {to} ") and said.count("\n") == 1


def test_a_dataset_before_that_is_lost_is_said(place: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place.say(*talk(range(60)))
    place.read()
    first = place.freeze()
    place.promote(first)
    place.say(*talk(range(60, 120)))
    place.read()
    second = place.freeze()
    shutil.rmtree(place.artifacts.path(first))
    status, said = told(place, capsys, second, "--to", str(tmp_path / "a"))
    assert status == GONE and "learnt from cannot be read" in said


def test_positions_are_of_the_same_moment_as_the_rows(place: Site) -> None:
    """The consumer goes on while a snapshot is being read."""
    place.say(*talk(range(60)))
    place.read()
    with place.store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        place.say(*talk(range(60, 70)))
        place.read()
        snapshot = take_snapshot(tx, place.artifacts, channel, None, as_of_ms=NOW_MS, window_ms=1)
    assert len(snapshot.rows) == 60 and snapshot.positions[FEEDBACK] == {0: 60}
    with place.store.read() as tx:
        later = take_snapshot(tx, place.artifacts, channel, None, as_of_ms=NOW_MS, window_ms=1)
    assert len(later.rows) == 70 and later.positions[FEEDBACK] == {0: 70}


# whatever the order


Said = tuple[int, str, dict[str, Any]]


def history(said: Sequence[Said]) -> list[Event]:
    """The events of a drawn history, each feedback with the id that its content makes."""
    events: list[Event] = []
    for at, (n, kind, fields) in enumerate(said):
        about = [event.id for event in events if isinstance(event, FeedbackEvent)]
        place = {"id": f"{kind}-{at}", "at_ms": NOW_MS - 90_000 + at, "channel": "support"}
        if kind == "inference":
            events.append(inference(n, **fields))
        elif kind == "exclusion":
            events.append(ExclusionEvent(**place, **fields, by="test", reason="test"))
        elif kind == "review":
            events.append(ReviewEvent(**place, **fields, feedback=about[n % len(about)] if about else "fb-?"))
        else:
            content = json.dumps(fields, sort_keys=True)
            events.append(feedback(n, f"fb-{n}-{content}", at_ms=NOW_MS - 90_000 + at // 3, **fields))
    return events


# An inference is made once, and may be told several times.
SERVED = {
    0: {},
    1: {},
    2: {"trainable": False},
    3: {"messages": None},
    4: {"channel": "other"},
    5: {"messages": [{"role": "user", "content": "complaint 0"}]},
    6: {"messages": [{"role": "user", "content": "Complaint  1"}]},
    7: {},
}
SPOKEN = st.fixed_dictionaries(
    {
        "author": st.sampled_from([None, "ann", "ben"]),
        "role": st.sampled_from(["user", "expert"]),
        "correction": st.sampled_from(["Free return.", "free  return.", "No.", "?", None]),
    }
)
REVIEWED = st.fixed_dictionaries(
    {
        "reviewer": st.sampled_from(["rita", "rolf"]),
        "verdict": st.sampled_from(["approve", "edit", "refuse"]),
        "target": st.sampled_from(["Free return, sent back within days.", None]),
    }
)
EXCLUDED = st.fixed_dictionaries(
    {
        "what": st.just("author"),
        "value": st.sampled_from(["ann", "u0"]),
        "withdrawn": st.booleans(),
    }
)
HISTORY = st.lists(
    st.one_of(
        st.sampled_from(sorted(SERVED)).map(lambda n: (n, "inference", SERVED[n])),
        st.tuples(st.integers(0, 8), st.just("feedback"), SPOKEN),
        st.tuples(st.integers(0, 8), st.just("review"), REVIEWED),
        st.tuples(st.integers(0, 8), st.just("exclusion"), EXCLUDED),
    ),
    max_size=40,
)


def curated(place: Site) -> Curation:
    with place.store.read() as tx:
        channel = release_rows.get_channel(tx, "support")
        snapshot = take_snapshot(tx, place.artifacts, channel, None, as_of_ms=NOW_MS, window_ms=89_995)
    return curate(replace(snapshot, limits=Limits(min_train=0, min_test=0)))


def rule(place: Site) -> None:
    """As a run does that curates and then has too little."""
    with place.store.write() as tx:
        channel = release_rows.get_channel(tx, "support")
        snapshot = take_snapshot(tx, place.artifacts, channel, None, as_of_ms=NOW_MS - 1, window_ms=1)
        dataset_rows.rule(tx, _rulings(snapshot, curate(snapshot), {}))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=HISTORY, seed=st.integers(0, 10_000), later=HISTORY)
def test_the_bytes_follow_from_the_log_alone(
    tmp_path_factory: pytest.TempPathFactory, said: list[Said], seed: int, later: list[Said]
) -> None:
    """In whatever batches, in whatever order of partitions, and whatever was given up or curated on the way."""
    rng = random.Random(seed)
    log = PartitionedLog(3)
    live = Site(tmp_path_factory.mktemp("live"), log)
    for event in history(said):
        live.say(event)
        if rng.random() < 0.2:
            live.read(rng)
        if rng.random() < 0.1:
            give_up(live.store, log, [], 0.0, NOW_MS)
        if rng.random() < 0.1:
            rule(live)
    live.read(rng)
    made, ends = curated(live), log.ends()
    plain = Site(tmp_path_factory.mktemp("plain"), log)
    plain.read()
    assert curated(plain).card == made.card and curated(plain).rows == made.rows
    assert curated(plain).verdicts == made.verdicts
    live.say(*history(later))
    live.read(rng)
    past = Past(log, Archive(live.artifacts, ()), ends, Erased())
    again = Site(tmp_path_factory.mktemp("again"), log)
    read_all(again.store, past)
    assert curated(again).card == made.card and curated(again).rows == made.rows
    for place in (live, plain, again):
        place.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=HISTORY)
def test_nothing_depends_on_which_partition_it_was_in(
    tmp_path_factory: pytest.TempPathFactory, said: list[Said]
) -> None:
    made = []
    for partitions in (1, 4):
        place = Site(tmp_path_factory.mktemp("home"), PartitionedLog(partitions))
        place.say(*history(said))
        place.read()
        curation = curated(place)
        made.append((curation.rows, curation.verdicts))
        place.close()
    assert made[0] == made[1]


def test_of_what_was_received_in_one_moment_no_offset_says_which_was_first(tmp_path: Path) -> None:
    """Two inferences with one question, answered alike: in one partition, and each in one of its own."""
    kept = []
    for partitions in (1, 4):
        place = Site(tmp_path / f"{partitions}", PartitionedLog(partitions))
        place.say(inference(0), inference(5, messages=[{"role": "user", "content": "complaint 0"}]))
        place.say(feedback(5, "fb-b", at_ms=7, correction="Free."), feedback(0, "fb-a", at_ms=7, correction="Free."))
        place.read()
        ends = place.log.ends()[FEEDBACK]
        assert sorted(ends.values()) == ([2] if partitions == 1 else [0, 0, 1, 1])
        kept += [row.proposal.source.feedback for row in curated(place).examples]
        place.close()
    assert kept == ["fb-a", "fb-a"]
