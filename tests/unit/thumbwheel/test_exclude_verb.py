"""The command, on a store and a log in a data directory, with the consumer's own step behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from feedback.consumer import take_partitions
from feedback.ingest import step
from tests.stores import store_in
from tests.whole_way import DATASET, write_whole_way
from thumbwheel.cli import main
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, ExclusionEvent
from thumbwheel.home import Home, prepare
from thumbwheel.store import curation_rows, schema
from thumbwheel.why import explain


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = prepare(tmp_path / "home")
    with closing(store_in(made.root)) as store:
        write_whole_way(store)
    yield made


def told(capsys: pytest.CaptureFixture[str], home: Home, *words: str) -> Any:
    common = ["--channel", "support", "--reason", "a test", "--home", str(home.root), "--json"]
    assert main(["exclude", *words, *common]) == 0
    return json.loads(capsys.readouterr().out)


def read(home: Home) -> None:
    with closing(store_in(home.root)) as store, closing(SqliteEventLog(home.events)) as log:
        for at in take_partitions(store, log):
            step(store, log, at, 9)


def test_it_is_an_event_and_what_learnt_from_it_is_listed(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    found = told(capsys, home, "--author", "u1")
    assert (found["feedback"], found["datasets"]) == (["fb-1"], [DATASET])
    assert (found["runs"], found["releases"], found["withdrawn"]) == (["run-1"], ["rel-2"], False)
    read(home)
    with closing(store_in(home.root)) as store, store.read() as tx:
        (event,) = curation_rows.of_channel(tx, "support", ExclusionEvent)
        row = tx.execute(select(schema.audit).where(schema.audit.c.action == "exclude")).one()
        sentences = " ".join(explain(tx, "fb-1"))
    assert (event.id, event.what, event.value, event.reason) == (found["exclusion"], "author", "u1", "a test")
    assert row.subject == "support" and "u1" not in json.dumps(row.after)
    assert "It is used" in sentences and "excluded from the next dataset on, by its author" in sentences


def test_a_withdrawn_one_is_told_no_more(capsys: pytest.CaptureFixture[str], home: Home) -> None:
    told(capsys, home, "--feedback", "fb-1")
    assert told(capsys, home, "--feedback", "fb-1", "--withdraw")["withdrawn"] is True
    read(home)
    with closing(store_in(home.root)) as store, store.read() as tx:
        assert "excluded from" not in " ".join(explain(tx, "fb-1"))
    with closing(SqliteEventLog(home.events)) as log:
        assert log.ends()[CURATION] == {0: 2}


@pytest.mark.parametrize(
    ("words", "feedback"), [(("--inference", "inf-2"), ["fb-2", "fb-3"]), (("--feedback", "fb-4"), ["fb-4"])]
)
def test_what_nothing_learnt_from_lists_nothing(
    capsys: pytest.CaptureFixture[str], home: Home, words: tuple[str, ...], feedback: list[str]
) -> None:
    found = told(capsys, home, *words)
    assert found["feedback"] == feedback and found["datasets"] == found["runs"] == found["releases"] == []


@pytest.mark.parametrize(
    "words",
    [
        ("--channel", "support", "--author", "nobody", "--reason", "r"),
        ("--channel", "nowhere", "--author", "u1", "--reason", "r"),
        ("--channel", "support", "--reason", "r"),
        ("--channel", "support", "--author", "u1", "--feedback", "fb-1", "--reason", "r"),
        ("--channel", "support", "--author", "u1"),
        ("--channel", "support", "--author", "u1", "--reason", " "),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    capsys: pytest.CaptureFixture[str], home: Home, words: tuple[str, ...]
) -> None:
    try:
        assert main(["exclude", *words, "--home", str(home.root)]) == 1
    except SystemExit as ended:
        assert ended.code == 2
    assert "thumbwheel" in capsys.readouterr().err
    with closing(SqliteEventLog(home.events)) as log:
        assert log.ends()[CURATION] == {0: 0}


def test_a_run_is_started_where_it_is_asked_for_and_a_service_that_is_down_is_said(
    capsys: pytest.CaptureFixture[str], home: Home
) -> None:
    words = ["exclude", "--channel", "support", "--author", "u1", "--reason", "r", "--run", "--home", str(home.root)]
    assert main(words) == 1
    assert "up" in capsys.readouterr().err
