"""Training data from elsewhere, as events in a log and rows in a store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feedback.forms import Row
from feedback.imports import BATCH, FAULTS, Destination, as_events, bring_in, read_files, tenant_of
from feedback.ingest import Position, step
from tests.stores import store_in
from thumbwheel import keys, rollouts
from thumbwheel.errors import Conflict, InvalidRequest, NotFound, StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, InferenceEvent, decode
from thumbwheel.home import prepare
from thumbwheel.ids import DAY_MS, day_of, read_inference_id
from thumbwheel.records import Policies
from thumbwheel.store import data_rows, fleet_rows, ingestion, release_rows
from thumbwheel.store.retention import due
from thumbwheel.why import explain

SECRET = b"s" * 32
TO = Destination("support", "shop", None, "user", SECRET)
NOW = 40 * DAY_MS


def asked(number: int, target: str = "可以退，运费我们承担。", rejected: str | None = None) -> Row:
    return Row(({"role": "user", "content": f"第{number}单能退吗"},), target, rejected)


class Place:
    """A data directory with a channel `support`, and the consumer's own steps."""

    def __init__(self, root: Path) -> None:
        self.home = prepare(root)
        self.store = store_in(root)
        self.log = SqliteEventLog(self.home.events)
        self.positions: dict[str, Position] = {}
        with self.store.write() as tx:
            self.stable = rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test").stable
            for topic in (INFERENCE, FEEDBACK):
                self.positions[topic] = Position(topic, 0, *data_rows.take_partition(tx, topic, 0))

    def bring_in(self, *rows: Row, **to: Any) -> int:
        return bring_in(self.store, self.log, rows, replace(TO, **to), lambda: NOW).new

    def consume(self) -> None:
        for topic, at in self.positions.items():
            self.positions[topic] = step(self.store, self.log, at, NOW)

    def ledger(self) -> dict[str, Any]:
        with self.store.read() as tx:
            return data_rows.ledger(tx, "support")

    def in_log(self) -> list[int]:
        return [len(self.log.read(topic, 0, 0, 10_000)) for topic in (INFERENCE, FEEDBACK)]

    def put(self, **policies: Any) -> None:
        with self.store.write() as tx:
            channel = release_rows.get_channel(tx, "support")
            release_rows.save_channel(tx, replace(channel, policies=replace(channel.policies, **policies)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    made.log.close()
    made.store.close()


# events


def test_a_row_is_an_inference_that_nobody_was_answered_and_a_correction_of_it() -> None:
    inference, said = as_events(asked(1, rejected="不能退。"), TO, 7)
    assert {inference.assigned, inference.role, inference.served_by, inference.status} == {"imported"}
    assert (inference.messages, inference.answer) == ([{"role": "user", "content": "第1单能退吗"}], "不能退。")
    assert (said.correction, said.inference, said.role) == ("可以退，运费我们承担。", inference.id, "user")
    assert said.thumb is said.score is said.author is None and inference.trainable
    assert {inference.channel, said.channel} == {"support"} and {inference.tenant, said.tenant} == {"shop"}
    assert read_inference_id(inference.id, SECRET).logged, "it is sealed like any other"


def test_ids_are_made_of_content_and_not_of_the_time() -> None:
    first, again = (as_events(asked(1), TO, now_ms) for now_ms in (7, 8_000_000))
    assert (first[0].id, first[1].id) == (again[0].id, again[1].id)
    others = [
        as_events(asked(2), TO, 7),
        as_events(asked(1, "不可以退。"), TO, 7),
        as_events(asked(1, rejected="不"), TO, 7),
        as_events(asked(1), replace(TO, author="阿丽"), 7),
        as_events(asked(1), replace(TO, channel="sales"), 7),
        as_events(asked(1), replace(TO, tenant="other"), 7),
        as_events(asked(1), replace(TO, secret=b"t" * 32), 7),
    ]
    assert len({first[0].id, *(inference.id for inference, _ in others)}) == len(others) + 1
    expert = as_events(asked(1), replace(TO, role="expert"), 7)
    assert expert[0].id == first[0].id and expert[1].id != first[1].id, "an expert's word beside the user's"
    tagged = as_events(asked(1), replace(TO, tags=("售后",)), 7)
    assert tagged[0].id == first[0].id and tagged[1].id != first[1].id and tagged[1].tags == ["售后"]


def test_each_conversation_is_an_author_of_its_own_unless_one_is_named() -> None:
    units = [as_events(asked(n), TO, 7)[0].unit for n in (1, 2, 1)]
    assert units[0] == units[2] != units[1] and units[0].startswith("imported-")
    greeting = ({"role": "user", "content": "在吗"}, {"role": "assistant", "content": "您好"})
    greeted = [Row((*greeting, *asked(n).messages), "可以退。") for n in (1, 2)]
    assert len({as_events(row, TO, 7)[0].unit for row in greeted}) == 2, "though they begin alike"
    assert {as_events(asked(n), replace(TO, author="阿丽"), 7)[0].unit for n in (1, 2)} == {"阿丽"}


# the way through log and store


def test_what_is_imported_waits_for_a_run_like_any_correction(place: Place) -> None:
    assert place.bring_in(asked(1), asked(2)) == 2
    place.consume()
    assert place.ledger() == {"acknowledged": 2, "used": 0, "refused": {}, "waiting": {"no_run_yet": 2}}
    with place.store.read() as tx:
        assert data_rows.train_due(tx, "support") == 2
        told = explain(tx, as_events(asked(1), TO, 0)[1].id)
    assert "It was imported, with its conversation: nobody was answered here." in told
    assert any("waiting (no_run_yet)" in one for one in told)


def test_the_same_again_adds_nothing(place: Place) -> None:
    assert place.bring_in(asked(1), asked(2), asked(1)) == 2
    place.consume()
    assert place.bring_in(asked(2), asked(1)) == 0
    assert place.in_log() == [2, 2]
    assert place.bring_in(asked(2), asked(3)) == 1
    place.consume()
    assert place.ledger()["acknowledged"] == 3


def test_rows_that_say_the_same_are_counted_as_such(place: Place) -> None:
    done = bring_in(place.store, place.log, [asked(1), asked(2), asked(1), asked(1)], TO, lambda: NOW)
    assert (done.rows, done.new, done.repeated) == (4, 2, 2)


def test_the_same_again_before_the_consumer_has_read_it_counts_once(place: Place) -> None:
    place.bring_in(asked(1))
    place.bring_in(asked(1))
    place.consume()
    assert place.in_log() == [2, 2] and place.ledger()["acknowledged"] == 1


def test_a_long_file_is_appended_in_parts_and_whole(place: Place) -> None:
    assert place.bring_in(*(asked(n) for n in range(2 * BATCH + 1))) == 2 * BATCH + 1
    assert place.in_log() == [2 * BATCH + 1] * 2


def test_an_inference_is_in_the_log_before_what_is_said_of_it(place: Place) -> None:
    class Torn:
        """A log that dies after its first append."""

        def __init__(self, log: SqliteEventLog) -> None:
            self.log, self.appends = log, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.log, name)

        def append(self, topic: str, records: Any, *, durable: bool) -> None:
            assert durable
            if self.appends:
                raise StoreUnavailable("away")
            self.appends += 1
            self.log.append(topic, records, durable=durable)

    with pytest.raises(StoreUnavailable):
        bring_in(place.store, Torn(place.log), [asked(1)], TO, lambda: NOW)  # type: ignore[arg-type]
    assert place.in_log() == [1, 0]
    assert place.bring_in(asked(1)) == 1, "the next import adds the rest"
    place.consume()
    assert place.ledger()["acknowledged"] == 1


def test_no_rollout_no_release_and_no_thumb_counts_it(place: Place) -> None:
    place.bring_in(asked(1), asked(2, rejected="不能退。"))
    with place.store.write() as tx:
        release = rollouts.make_draft(tx, release_rows.get_channel(tx, "support"), "a" * 64, None, 1)
        started = rollouts.start_rollout(tx, release, None, 1, "test")
        served = {"assigned": release.id, "role": "candidate", "served_by": release.id, "status": "ok"}
        event = InferenceEvent("inf-1", "shop", "support", "u1", NOW - 1, **served, rollout=started.id)
        ingestion.ingest(tx, [event], [])
    place.consume()
    with place.store.read() as tx:
        assert [one.id for one in data_rows.rollout_outcomes(tx, started.id)] == ["inf-1"]
        assert data_rows.thumb_counts(tx) == {}
        assert data_rows.times_asked(tx, place.stable) == 0


def test_retention_never_takes_it_for_an_old_answer(place: Place) -> None:
    place.bring_in(asked(1))
    inference, _ = as_events(asked(1), TO, 0)
    assert day_of(inference.id) == 0
    for topic in (INFERENCE,):  # as it is between the two topics: the answer without what is said of it
        place.positions[topic] = step(place.store, place.log, place.positions[topic], NOW)
    with place.store.write() as tx:
        assert due(tx, NOW) == []


def test_it_is_audited_without_its_text(place: Place) -> None:
    place.bring_in(asked(1), author="阿丽", role="expert")
    with place.store.read() as tx:
        (row,) = [row for row in fleet_rows.audit_of(tx, "support") if row["action"] == "import_dataset"]
    assert row["after"] == {"rows": 1, "new": 1, "author": "阿丽", "role": "expert", "tags": []}


@pytest.mark.parametrize(
    ("policies", "word"), [({"log": "metadata"}, "metadata"), ({"log": "off"}, "off"), ({"train": False}, "train")]
)
def test_a_channels_policies_hold(place: Place, policies: dict[str, Any], word: str) -> None:
    place.put(**policies)
    with pytest.raises(Conflict, match=word):
        place.bring_in(asked(1))
    assert place.in_log() == [0, 0]


def test_a_channel_that_is_not_there(place: Place) -> None:
    with pytest.raises(NotFound):
        place.bring_in(asked(1), channel="sales")


def a_key(place: Place, tenant: str, kind: str = "app") -> None:
    with place.store.write() as tx:
        fleet_rows.insert_key(tx, keys.as_record(keys.mint(kind), kind, tenant, frozenset(), 1), 1)


def test_whose_the_rows_become(place: Place) -> None:
    with pytest.raises(InvalidRequest, match="--tenant says whose the rows become: no tenant is here yet"):
        tenant_of(place.store, None)
    for tenant, kind in (("shop", "app"), ("ops", "admin"), ("shop", "app")):
        a_key(place, tenant, kind)
    assert tenant_of(place.store, None) == tenant_of(place.store, "shop") == "shop"
    a_key(place, "other")
    assert tenant_of(place.store, "other") == "other"
    with pytest.raises(InvalidRequest, match="the tenants here are other, shop"):
        tenant_of(place.store, None)


@pytest.mark.parametrize("asked", ["shpo", "ops", "Shop", "shop "])
def test_a_tenant_without_an_applications_key_is_a_slip(place: Place, asked: str) -> None:
    a_key(place, "shop")
    a_key(place, "ops", "admin")
    with pytest.raises(InvalidRequest, match=f"No application key is of the tenant {asked}: .* are shop") as refused:
        tenant_of(place.store, asked)
    assert f"`thumbwheel keys create --tenant {asked}` makes it one" in str(refused.value)


# files


def test_one_bad_line_refuses_a_whole_folder(tmp_path: Path) -> None:
    good = {"instruction": "能退吗", "output": "能"}
    (tmp_path / "a.json").write_text(json.dumps([good, good]))
    assert len(read_files(tmp_path, None)) == 2
    (tmp_path / "b.jsonl").write_text(f"{json.dumps(good)}\n\n{json.dumps({'instruction': '能退吗'})}\n{{\n")
    with pytest.raises(InvalidRequest) as refused:
        read_files(tmp_path, None)
    told = str(refused.value)
    assert told.startswith("Nothing was imported.")
    assert "b.jsonl line 3: its last turn is not an answer" in told and "b.jsonl line 4: it is no JSON" in told
    assert "a.json" not in told and "能退吗" not in told


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"messages": [], "completion": "能退。"}, "it has no question"),
        ({"messages": [{"role": "system", "content": "你是客服。"}], "completion": "能退。"}, "it has no question"),
        ({"conversations": [{"from": "gpt", "value": "能退。"}]}, "it has no question"),
        ({"prompt": [], "completion": "能退。"}, "it has no question"),
        ({"prompt": [], "chosen": "能退。", "rejected": "不能。"}, "it has no question"),
        ({"prompt": " ", "completion": "能退。"}, "its question is blank"),
        ({"instruction": "", "input": "", "output": "能退。"}, "its question is blank"),
        ({"instruction": "\u3000\n", "output": "能退。", "history": [["在吗", "在"]]}, "its question is blank"),
    ],
)
def test_a_row_without_a_question_is_named_and_nothing_is_taken(tmp_path: Path, row: Any, fault: str) -> None:
    good = {"instruction": "能退吗", "output": "能"}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(good)}\n{json.dumps(row)}\n")
    with pytest.raises(InvalidRequest, match=f"a.jsonl line 2: {fault}"):
        read_files(tmp_path / "a.jsonl", None)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("x\n" * (FAULTS + 3))
    with pytest.raises(InvalidRequest, match=rf"line {FAULTS}: .*\n.*and 3 more"):
        read_files(tmp_path / "a.jsonl", None)


def test_a_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidRequest, match="holds no row"):
        read_files(tmp_path / "a.json", None)


def test_a_named_form_is_asked_of_every_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "能退吗", "output": "能"}]))
    assert len(read_files(tmp_path / "a.json", "alpaca")) == 1
    with pytest.raises(InvalidRequest, match="line 1: it is not of the form hf"):
        read_files(tmp_path / "a.json", "hf")


def test_events_can_be_read_again(place: Place) -> None:
    place.bring_in(asked(1, rejected="不能退。"))
    with closing(SqliteEventLog(place.home.events)) as log:
        (record,) = log.read(INFERENCE, 0, 0, 10)
    event = decode(record.value)
    assert isinstance(event, InferenceEvent) and record.key == event.id and event.answer == "不能退。"
