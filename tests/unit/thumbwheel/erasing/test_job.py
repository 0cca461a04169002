"""A home in which people have talked, one of them erased: nothing of hers is left in any file, and all else is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyarrow import parquet
from sqlalchemy import func, select

from feedback.consumer import take_partitions
from feedback.ingest import step
from serving.spool import Spool
from tests.stores import store_in
from thumbwheel import events, rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.erasing.job import Forgotten, forget, read_notes
from thumbwheel.erasing.verb import ask, learnt
from thumbwheel.erasure import person_of, tombstone
from thumbwheel.errors import ArtifactCorrupt, LostRace
from thumbwheel.eventlog import references
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import (
    CURATION,
    DEAD_LETTER,
    FEEDBACK,
    INFERENCE,
    ComputedEvent,
    DeadLetterEvent,
    ExclusionEvent,
    FeedbackEvent,
    InferenceEvent,
    ProposalEvent,
    ReviewEvent,
)
from thumbwheel.home import prepare, read_secret
from thumbwheel.ids import DAY_MS, mint_inference_id
from thumbwheel.lineage import lineage
from thumbwheel.records import Policies, Run
from thumbwheel.store import data_rows, dataset_rows, fleet_rows, release_rows, retention, schema
from thumbwheel.store.connection import Store
from thumbwheel.store.dataset_rows import ExampleRow
from thumbwheel.why import explain

NOW = 20_000 * DAY_MS
HER, HIM = "mallow-user-77", "bramble-user-12"
HERS, HIS = "zinnia", "quince"  # words that are in every text of each


class Place:
    """A home in which both talk, are heard, and are learnt from."""

    def __init__(self, root: Path, store: Store | None = None) -> None:
        self.home = prepare(root)
        self.secret = read_secret(self.home)
        self.store = store or store_in(self.home.root)
        self.log = SqliteEventLog(self.home.events)
        self.artifacts = ArtifactStore(self.home.artifacts)
        with self.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
        self.hers = self.answer(HER, HERS)
        self.his = self.answer(HIM, HIS)
        self.said: dict[str, str] = {}

    def clock(self) -> int:
        return NOW

    def answer(self, unit: str, word: str, n: int = 0) -> InferenceEvent:
        return InferenceEvent(
            id=mint_inference_id("chatcmpl", "support", "shop", NOW - 90 * DAY_MS + n, self.secret),
            tenant="shop",
            channel="support",
            unit=unit,
            at_ms=NOW - 90 * DAY_MS + n,
            assigned="rel",
            role="stable",
            served_by="rel",
            status="ok",
            messages=[{"role": "user", "content": f"My {word} is late."}],
            answer=f"Your {word} is lost.",
            error=f"{word}?",
        )

    def feedback(self, of: InferenceEvent, id_: str, word: str, author: str | None = None) -> FeedbackEvent:
        return FeedbackEvent(
            id=id_,
            inference=of.id,
            tenant="shop",
            channel="support",
            at_ms=NOW,
            author=author,
            thumb="down",
            comment=f"No {word}!",
            correction=f"We look for your {word}.",
            tags=[word],
            metrics={word: 1.0},
        )

    def write(self, *said: events.Event) -> None:
        for event in said:
            topic, key = events.place_of(event)
            self.log.append(topic, [(key, events.encode(event))], durable=True)

    def read(self) -> None:
        """As the consumer reads, all there is."""
        for at in take_partitions(self.store, self.log):
            while (after := step(self.store, self.log, at, NOW, secret=self.secret)).offset != at.offset:
                at = after

    def freeze(self, run: str, *rows: Mapping[str, Any], state: str = "candidate") -> str:
        """A dataset of these rows, and a run on it."""
        folder = self.home.runs / run / "dataset"
        folder.mkdir(parents=True)
        lines = [msgspec.json.encode(row) + b"\n" for row in rows]
        (folder / "rows.jsonl").write_bytes(b"".join(lines))
        card = {"feedback": len(rows), "rows": len(rows), "new": len(rows), "splits": {"train": len(rows)}}
        (folder / "card.json").write_text(json.dumps({**card, "refused": {}, "waiting": {}, "run": run}))
        sha = self.artifacts.publish(folder, "dataset", {"rows": len(rows)})
        made = Run(run, "support", state, {}, sha, None, None, (), {}, "ann", 1, NOW, NOW, 1)
        examples = [ExampleRow(row["id"], row["feedback"], row["inference"], row["author"], "test") for row in rows]
        with self.store.write() as tx:
            release_rows.insert_run(tx, made)
            dataset_rows.insert_dataset(tx, sha, "support", run, card, examples, {}, NOW)
        return sha

    def row(
        self, id_: str, of: InferenceEvent, feedback: str, word: str, merged: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        return {
            "id": id_,
            "kind": "sft",
            "messages": [{"role": "user", "content": f"My {word} is late."}],
            "completion": f"We look for your {word}.",
            "rejected": None,
            "group": f"group-{id_}",
            "split": "test",
            "feedback": feedback,
            "inference": of.id,
            "author": of.unit,
            "role": "user",
            "merged": list(merged),
            "sources": 1 + len(merged),
            "since": None,
        }

    def report(self, run: str) -> str:
        """A report on the run's dataset."""
        folder = self.home.runs / run / "report"
        folder.mkdir(parents=True)
        tests = [
            {"id": id_, "question": f"My {word}?", "accepted": word, "draft": [word], "incumbent": [word]}
            for id_, word in (("ex-1", HERS), ("ex-2", HIS))
        ]
        (folder / "report.json").write_text(json.dumps({"tests": tests, "run": run}))
        (folder / "report.md").write_text(f"# Report\n\nfigures\n\n## Answers before and after\n\n| {HERS} | {HIS} |\n")
        (self.home.runs / run / "evaluation").mkdir()
        (self.home.runs / run / "evaluation" / "answers.jsonl").write_text(f'{{"key": "k", "value": "{HERS}"}}\n')
        sha = self.artifacts.publish(folder, "report", {"run": run})
        with self.store.write() as tx:
            run_row = release_rows.get_run(tx, run)
            release_rows.save_run(tx, replace(run_row, report=sha))
        return sha

    def erase(self, who: str = HER) -> Forgotten:
        ask(self.store, self.log, "shop", person_of(self.secret, "shop", who), self.clock)
        return self.go_on()

    def go_on(self) -> Forgotten:
        return forget(self.store, self.log, self.artifacts, self.home, self.secret, self.clock)

    def states(self) -> dict[str, tuple[str, str | None]]:
        f = schema.feedback.c
        with self.store.read() as tx:
            return {id_: (state, reason) for id_, state, reason in tx.execute(select(f.id, f.state, f.reason))}

    def files_with(self, *needles: str) -> list[str]:
        """As `grep -a` through every file of the home; Parquet, which is packed, by its values."""
        found = []
        for path in sorted(self.home.root.rglob("*")):
            if not path.is_file():
                continue
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += repr(parquet.read_table(path).to_pylist()).encode()
            found += [f"{path.relative_to(self.home.root)}: {one}" for one in needles if one.encode() in content]
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    with closing(made.store), closing(made.log):
        yield made


def everywhere(place: Place) -> tuple[str, str]:
    """Both have talked and were learnt from, in every place that there is; her dataset, and the report on it."""
    unrated, big = place.answer(HER, HERS, 1), place.answer(HER, HERS, 2)
    his_unrated = place.answer(HIM, HIS, 3)
    place.write(place.hers, place.his, unrated, his_unrated)
    place.write(place.feedback(place.hers, "fb-hers", HERS), place.feedback(place.his, "fb-his", HIS))
    place.write(place.feedback(place.his, "fb-merged", HERS, author=HER))
    place.write(place.feedback(place.hers, "fb-expert", HERS, author="the-expert"))
    place.write(
        ReviewEvent("review-1", "fb-hers", "support", NOW, "ann", "edit", target=HERS, reason=HERS),
        ProposalEvent("proposal-1", "fb-hers", "support", NOW, HERS, "teacher", "m", "1"),
        ComputedEvent("computed-1", "fb-hers", "support", NOW, "names", "m", "1", [HERS]),
        ExclusionEvent("exclusion-1", NOW, "ann", "author", HER, "support", "because"),
    )
    bad = events.encode(place.feedback(place.hers, "fb-bad", HERS)).replace(b'"thumb"', b'"thumb":1,"thumb"')
    place.log.append(FEEDBACK, [(place.hers.id, bad.replace(b'"at_ms":', b'"at_ms":"x",'))], durable=True)
    letter = DeadLetterEvent(FEEDBACK, 0, 5, place.hers.id, bad, f"bad {place.hers.id}", NOW)
    place.log.append(DEAD_LETTER, [("k", events.encode(letter))], durable=True)
    place.read()
    dataset = place.freeze(
        "run-1",
        place.row("ex-1", place.hers, "fb-hers", HERS),
        place.row("ex-2", place.his, "fb-his", HIS, ("fb-merged",)),
    )
    report = place.report("run-1")
    retention.retain(place.store, place.log, place.artifacts, place.home, 30 * 86_400, place.clock, lambda _: None)
    reference = references.outline(place.artifacts, events.encode(big), most=10)
    place.log.append(INFERENCE, [(big.id, reference)], durable=True)
    spool = Spool(place.home.spool, 1 << 20)
    assert all(spool.add([events.encode(place.answer(who, word, 5)) for who, word in ((HER, HERS), (HIM, HIS))]))
    with place.store.write() as tx:
        fleet_rows.record(tx, NOW, "ann", "test", "support", {"names": [HER]}, None)
    return dataset, report


def test_nothing_of_an_erased_person_is_left_in_any_file_and_all_else_is(place: Place) -> None:
    everywhere(place)
    held = {one.partition(".")[0].partition("/")[0] for one in place.files_with(HERS, HER)}
    assert held == {"artifacts", "events", "runs", "spool", "store"}
    before = his_records(place)
    done = place.erase()
    assert place.files_with(HERS, HER) == []
    assert (done.datasets, done.reports, done.folders, done.spooled) == (1, 1, 1, 1)
    assert done.archives == 4  # a day, a segment of each of two topics, and the big event
    assert sorted(his_records(place)) == sorted(before) and len(before) >= 6
    held = b"".join(path.read_bytes() for path in place.home.artifacts.rglob("rows.jsonl"))
    assert held.count(HIS.encode()) == 2 and b"fb-merged" not in held and json.loads(held)["sources"] == 1


def his_records(place: Place) -> list[bytes]:
    """What the log, the spool and the archive hold that is not hers, byte for byte."""
    records = [one.value for topic in (INFERENCE, FEEDBACK) for one in place.log.read(topic, 0, 0, 100)]
    lines = [line for path in place.home.spool.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    tables = [parquet.read_table(path).to_pylist() for path in place.home.artifacts.rglob("*.parquet")]
    archived = [repr(row).encode() for rows in tables for row in rows]
    return [one for one in (*records, *lines, *archived) if HIS.encode() in one and HER.encode() not in one]


def test_the_ledger_adds_up_and_other_peoples_rows_stay(place: Place) -> None:
    everywhere(place)
    with place.store.read() as tx:
        before = data_rows.ledger(tx, "support")
    place.erase()
    with place.store.read() as tx:
        after = data_rows.ledger(tx, "support")
        mine = tx.execute(select(schema.inferences).where(schema.inferences.c.unit == HIM)).mappings().all()
        counted = tx.execute(select(func.count()).select_from(schema.inferences)).scalar_one()
    assert after["acknowledged"] == before["acknowledged"] == 5
    assert (after["used"], after["refused"]) == (1, {"erased": 3})
    assert place.states()["fb-his"] == ("used", None)
    assert counted == 2 and [row["answer"] for row in mine] == [f"Your {HIS} is lost."]


def test_it_is_idempotent_and_an_hour_with_nothing_new_changes_nothing(place: Place) -> None:
    everywhere(place)
    place.erase()
    listed = sorted(path.name for path in place.home.artifacts.iterdir())
    with place.store.read() as tx:
        audit = tx.execute(select(func.count()).select_from(schema.audit)).scalar_one()
    assert place.erase() == Forgotten()
    assert place.go_on() == Forgotten()
    assert sorted(path.name for path in place.home.artifacts.iterdir()) == listed
    with place.store.read() as tx:
        assert tx.execute(select(func.count()).select_from(schema.audit)).scalar_one() == audit
    assert place.log.ends()[CURATION] == {0: 5}


def test_what_named_the_old_dataset_and_report_finds_the_new_ones(place: Place) -> None:
    dataset, report = everywhere(place)
    place.erase()
    with place.store.read() as tx:
        run = release_rows.get_run(tx, "run-1")
        found = learnt(tx, person_of(place.secret, "shop", HER))
        assert lineage(tx, dataset)["id"] == run.dataset
        assert dataset_rows.dataset_row(tx, str(run.dataset))["card"]["erased"] == 1
        rows = dataset_rows.examples_where(tx, dataset=str(run.dataset))
    assert run.dataset != dataset and run.report != report
    assert (found["datasets"], found["runs"]) == ([run.dataset], ["run-1"])
    assert [row["feedback"] for row in rows] == ["fb-his"]
    assert place.artifacts.path(dataset) == place.artifacts.path(str(run.dataset))
    place.artifacts.verify(dataset)
    mark = json.loads((place.home.artifacts / f"{dataset}.tombstone").read_bytes())
    assert mark == {"replaced": dataset, "by": run.dataset, "at_ms": NOW}


@pytest.mark.parametrize("last", range(24))
def test_killed_anywhere_it_goes_on(place: Place, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere(place)
    steps = Steps(last)
    for owner, name in STEPS:
        monkeypatch.setattr(owner, name, steps.counted(getattr(owner, name)))
    with pytest.raises(Killed):
        place.erase()
        raise Killed
    monkeypatch.undo()
    place.erase()
    assert place.files_with(HERS, HER) == []
    assert place.states()["fb-his"] == ("used", None)
    with place.store.read() as tx:
        assert learnt(tx, person_of(place.secret, "shop", HER))["runs"] == ["run-1"]


class Killed(Exception):
    pass


class Steps:
    """Counts calls and lets none of them but the first few happen."""

    def __init__(self, last: int) -> None:
        self.last, self.made = last, 0

    def counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            if self.made == self.last:
                raise Killed
            self.made += 1
            return act(*args, **kwargs)

        return counting


STEPS = [
    (ArtifactStore, "publish"),
    (ArtifactStore, "replace"),
    (ArtifactStore, "_remove"),
    (SqliteEventLog, "rewrite"),
    (SqliteEventLog, "compact"),
]


def test_what_comes_late_or_again_is_not_brought_back(place: Place) -> None:
    everywhere(place)
    place.erase()
    late = place.answer(HER, HERS, 9)
    place.write(place.feedback(late, "fb-early", HERS))
    place.read()
    assert place.states()["fb-early"] == ("waiting", "inference_not_seen")
    place.write(late, place.feedback(late, "fb-after", HERS), place.hers, place.feedback(place.hers, "fb-new", HERS))
    place.write(place.feedback(place.his, "fb-author", HERS, author=HER))
    place.write(ReviewEvent("review-2", "fb-hers", "support", NOW, "ann", "refuse", reason=HERS))
    place.read()
    assert {place.states()[one] for one in ("fb-early", "fb-after", "fb-new", "fb-author")} == {("refused", "erased")}
    with place.store.read() as tx:
        texts = str(tx.execute(select(schema.feedback)).all()) + str(tx.execute(select(schema.inferences)).all())
        texts += str(tx.execute(select(schema.curations)).all())
    assert HERS not in texts and HER not in texts
    assert place.files_with(HERS) != []  # the log has them still
    place.go_on()
    assert place.files_with(HERS, HER) == []


def test_a_replay_into_an_empty_store_gives_the_same_and_brings_nothing_back(place: Place, tmp_path: Path) -> None:
    everywhere(place)
    place.erase()
    held = place.states()
    place.store.close()
    for path in place.home.root.glob("store.db*"):
        path.unlink()
    place.store = store_in(place.home.root)
    with place.store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
    place.read()
    again = place.states()
    assert {one for one, (_, reason) in again.items() if reason == "erased"} == {
        one for one, (_, reason) in held.items() if reason == "erased"
    }
    assert place.files_with(HERS, HER) == []


def test_an_erasure_that_the_consumer_reads_from_an_older_log_takes_effect_there_and_then(place: Place) -> None:
    place.write(place.hers, place.feedback(place.hers, "fb-hers", HERS), place.his)
    place.read()
    person = person_of(place.secret, "shop", HER)
    place.write(events.ErasureEvent("erasure-1", NOW, "ann", "shop", person))
    place.read()
    with place.store.read() as tx:
        row = tx.execute(select(schema.inferences).where(schema.inferences.c.id == place.hers.id)).one()
        kept = tx.execute(select(schema.inferences).where(schema.inferences.c.id == place.his.id)).one()
    assert (row.messages, row.answer, row.error, row.unit) == (None, None, None, tombstone(person))
    assert kept.unit == HIM and kept.messages is not None
    assert place.states() == {"fb-hers": ("refused", "erased")}


def test_another_tenants_user_of_the_same_name_is_another_person(place: Place) -> None:
    other = msgspec.structs.replace(place.answer(HER, HERS, 7), tenant="bank")
    place.write(other, msgspec.structs.replace(place.feedback(other, "fb-bank", HERS), tenant="bank"))
    place.read()
    place.erase()
    assert place.states() == {"fb-bank": ("waiting", "no_run_yet")}


def test_a_run_that_has_begun_on_their_words_ends_and_one_in_the_making_begins_anew(place: Place) -> None:
    place.write(place.hers, place.feedback(place.hers, "fb-hers", HERS))
    place.read()
    place.freeze("run-1", place.row("ex-1", place.hers, "fb-hers", HERS), state="training")
    with place.store.write() as tx:
        for id_, state in (("run-8", "curating"), ("run-9", "queued")):
            made = Run(id_, "support", state, {}, None, None, None, (), {}, "ann", 0, NOW, NOW, 1)
            release_rows.insert_run(tx, made)
    place.erase()
    with place.store.read() as tx:
        run = release_rows.get_run(tx, "run-1")
        others = [release_rows.get_run(tx, id_).state for id_ in ("run-8", "run-9")]
    assert run.state == "failed" and "erased" in run.reasons[0]
    assert others == ["failed", "queued"]  # what is curated meanwhile says of rows that they were in her dataset
    with pytest.raises(LostRace, match="erased meanwhile"):
        place.freeze("run-2", place.row("ex-1", place.hers, "fb-hers", HERS))


def test_what_was_made_of_their_rows_goes_with_them_and_counts_nowhere(place: Place) -> None:
    place.write(place.hers, place.feedback(place.hers, "fb-hers", HERS), place.his)
    place.write(place.feedback(place.his, "fb-his", HIS))
    place.read()
    pairs = (("ex-1", place.hers, "fb-hers", HERS), ("ex-2", place.his, "fb-his", HIS))
    rows = [place.row(*pair) for pair in pairs]
    varied = [{**row, "id": row["id"] + "-a", "augmented": {"from": row["id"], "kind": "synonyms"}} for row in rows]
    dataset = place.freeze("run-1", *rows, *varied)
    place.erase()
    folder = place.artifacts.path(dataset)
    left = [json.loads(line)["id"] for line in (folder / "rows.jsonl").read_bytes().splitlines()]
    card = json.loads((folder / "card.json").read_bytes())
    assert (left, card["rows"], card["splits"], card["erased"]) == (["ex-2", "ex-2-a"], 1, {"test": 1}, 2)
    assert card["new"] == 1, "no more are new than there are"


def test_the_card_counts_what_is_left(place: Place) -> None:
    rows = [place.row("ex-1", place.hers, "fb-hers", HERS), place.row("ex-2", place.his, "fb-his", HIS)]
    rows += [{**row, "id": row["id"] + "-a", "augmented": {"from": row["id"], "kind": "noise"}} for row in rows]
    folder = place.home.runs / "run-9"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    of = {"kinds": {"sft": 2}, "authors": 2, "groups": 2, "augmented": {"rows": 2, "kinds": {"noise": 2}}}
    (folder / "card.json").write_text(json.dumps({"new": 2, "new_by_split": {"test": 2}, "roles": {"user": 2}, **of}))
    dataset = place.artifacts.publish(folder, "dataset", {"rows": 4})
    place.write(place.hers, place.his)
    place.read()
    place.erase()
    card = json.loads((place.artifacts.path(dataset) / "card.json").read_bytes())
    assert (card["new"], card["new_by_split"], card["roles"]) == (1, {"test": 1}, {"user": 1})
    assert (card["kinds"], card["authors"], card["groups"]) == ({"sft": 1}, 1, 1)
    assert card["augmented"] == {"rows": 1, "kinds": {"noise": 1}}


def test_a_draft_that_was_not_written_to_the_end_goes_as_a_whole(place: Place) -> None:
    """The curate job was killed as it wrote."""
    everywhere(place)
    draft = place.home.runs / "run-half" / "dataset"
    draft.mkdir(parents=True)
    whole = msgspec.json.encode(place.row("ex-9", place.hers, "fb-hers", HERS))
    (draft / "rows.jsonl").write_bytes(whole[: whole.index(HERS.encode()) + len(HERS)])
    assert place.erase().folders == 2
    assert place.files_with(HERS, HER) == []


def test_a_damaged_dataset_is_named_with_what_to_do(place: Place) -> None:
    dataset, _ = everywhere(place)
    file = place.artifacts.path(dataset) / "rows.jsonl"
    whole = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(whole[:-20])
    with pytest.raises(ArtifactCorrupt, match="dataset's folder back from a backup, or remove it"):
        place.erase()
    held = {one.partition(".")[0].partition("/")[0] for one in place.files_with(HERS)}
    assert held == {"artifacts", "runs"}, "store, log and spool need no artifact"
    file.write_bytes(whole)
    place.go_on()
    assert place.files_with(HERS, HER) == []


def test_a_dataset_that_nothing_names_is_found_too(place: Place) -> None:
    """A curator may have been at it when the erasure came."""
    place.write(place.hers, place.feedback(place.hers, "fb-hers", HERS))
    place.read()
    place.erase()
    with pytest.raises(LostRace):
        place.freeze("run-2", place.row("ex-1", place.hers, "fb-hers", HERS))
    assert place.files_with(HERS) != []
    assert place.go_on().datasets == 1
    assert place.files_with(HERS) == []


def test_a_dataset_that_is_published_while_others_are_rewritten_is_looked_at_next_time(place: Place) -> None:
    everywhere(place)
    late = place.home.runs / "run-late"

    def clock() -> int:  # asked for between the look at what there is and the end
        if not late.exists():
            late.mkdir()
            row = place.row("ex-9", place.hers, "fb-hers", HERS)
            (late / "rows.jsonl").write_bytes(msgspec.json.encode(row) + b"\n")
            (late / "card.json").write_text("{}")
            place.artifacts.publish(late, "dataset", {"rows": 1})
            (late / "rows.jsonl").unlink()
        return NOW

    ask(place.store, place.log, "shop", person_of(place.secret, "shop", HER), place.clock)
    forget(place.store, place.log, place.artifacts, place.home, place.secret, clock)
    assert place.files_with(HERS) != []
    assert place.go_on().datasets == 1
    assert place.files_with(HERS) == []


def test_notes_that_are_damaged_have_everything_looked_at_again(place: Place) -> None:
    everywhere(place)
    place.erase()
    assert read_notes(place.home).offsets[FEEDBACK] > 0
    (place.home.root / "erasures.json").write_text("{")
    assert place.go_on() == Forgotten()
    assert read_notes(place.home).offsets[FEEDBACK] > 0


def test_a_store_and_a_log_that_were_brought_back_from_before_are_erased_again(place: Place) -> None:
    """The home's notes know of it still."""
    everywhere(place)
    for one in (place.store, place.log):
        one.close()
    kept = {path.name: path.read_bytes() for path in place.home.root.iterdir() if path.name.startswith(("store", "ev"))}
    place.store, place.log = store_in(place.home.root), SqliteEventLog(place.home.events)
    place.erase()
    for one in (place.store, place.log):
        one.close()
    for name, content in kept.items():
        (place.home.root / name).write_bytes(content)
    place.store, place.log = store_in(place.home.root), SqliteEventLog(place.home.events)
    assert place.files_with(HERS, HER) != []
    assert place.go_on().rows > 0
    assert place.files_with(HERS, HER) == []
    with place.store.read() as tx:
        rows = dataset_rows.examples_where(tx, dataset=str(release_rows.get_run(tx, "run-1").dataset))
    assert [row["feedback"] for row in rows] == ["fb-his"]
    place.write(place.answer(HER, HERS, 9))
    place.read()
    with place.store.read() as tx:
        assert HERS not in repr(tx.execute(select(schema.inferences)).all())


def test_why_says_that_it_was_erased(place: Place) -> None:
    place.write(place.hers, place.feedback(place.hers, "fb-hers", HERS))
    place.read()
    place.erase()
    with place.store.read() as tx:
        assert "was erased" in " ".join(explain(tx, "fb-hers"))
