"""The dead letters' command, on a store and a log in a data directory, with the consumer's own steps between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from thumbwheel.cli import main
from thumbwheel.dead_letters import redrive, redrive_all
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Record
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.home import Home, prepare
from thumbwheel.settings import Settings
from thumbwheel.store import dead_letter_rows, schema
from thumbwheel.store.connection import Store, open_store
from thumbwheel.store.dead_letter_rows import DeadLetter


@dataclass
class Place:
    """A data directory whose log holds five records, of which the consumer could not handle three."""

    home: Home
    store: Store
    log: SqliteEventLog

    def letters(self) -> list[str]:
        with self.store.read() as tx:
            return [letter.name for letter in dead_letter_rows.listed(tx, 100)]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    home = prepare(tmp_path / "home")
    made = Place(home, open_store(Settings(home=home.root), home), SqliteEventLog(home.events))
    made.log.append(FEEDBACK, [("k1", b"1"), ("k2", b"\xff"), ("k3", b"3")], durable=True)
    made.log.append(INFERENCE, [("k4", b"4"), ("k5", b"5")], durable=True)
    with made.store.write() as tx:
        for topic, offset, key, value, channel, event in (
            (FEEDBACK, 2, "k2", b"\xff", "support", None),
            (FEEDBACK, 3, "k3", b"3", "sales", "fb-3"),
            (INFERENCE, 1, "k4", b"4", None, None),
        ):
            letter = DeadLetter(Record(topic, 0, offset, key, value), "not readable: x\x1b[2J", 7, channel, event)
            dead_letter_rows.bury(tx, letter)
    yield made
    made.log.close()
    made.store.close()


def told(capsys: pytest.CaptureFixture[str], place: Place, *words: str) -> Any:
    assert main(["dead-letters", *words, "--home", str(place.home.root), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_they_are_listed(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    found = told(capsys, place, "list")
    assert [one["name"] for one in found["dead_letters"]] == ["feedback/0/2", "feedback/0/3", "inference/0/1"]
    assert found["total"] == 3
    assert found["dead_letters"][1] == {
        "name": "feedback/0/3",
        "channel": "sales",
        "event": "fb-3",
        "at_ms": 7,
        "reason": "not readable: x\x1b[2J",
    }
    of_sales = told(capsys, place, "list", "--channel", "sales")["dead_letters"]
    of_inferences = told(capsys, place, "list", "--topic", "inference")["dead_letters"]
    assert [one["name"] for one in (*of_sales, *of_inferences)] == ["feedback/0/3", "inference/0/1"]
    assert len(told(capsys, place, "list", "--limit", "2")["dead_letters"]) == 2


def test_the_list_moves_no_cursor(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    assert main(["dead-letters", "list", "--home", str(place.home.root)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "feedback/0/3  sales  fb-3  not readable" in out and "3 of 3" in out


def test_one_is_shown_with_its_bytes(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    found = told(capsys, place, "show", "feedback/0/2", "--raw")
    assert (found["key"], found["value"], found["channel"]) == ("k2", "\\xff", "support")


def test_what_people_said_is_hidden_unless_it_is_asked_for(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    value = b'{"type":"feedback.v1","id":"fb-9","at_ms":"my plum tart","thumb":"up","comment":"plum","author":"plum"}'
    with place.store.write() as tx:
        letter = DeadLetter(Record(FEEDBACK, 0, 9, "k9", value), "not readable: at_ms", 7, "support", "fb-9")
        dead_letter_rows.bury(tx, letter)
    hidden = "hidden; --raw shows it"
    assert told(capsys, place, "show", "feedback/0/9")["value"] == {
        "type": "feedback.v1",
        "id": "fb-9",
        "at_ms": hidden,
        "thumb": "up",
        "comment": hidden,
        "author": hidden,
    }
    assert told(capsys, place, "show", "feedback/0/9", "--raw")["value"] == value.decode()
    assert told(capsys, place, "show", "feedback/0/2")["value"] == "1 bytes; --raw shows them"


def test_one_is_redriven_as_it_was_and_audited(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    assert told(capsys, place, "redrive", "feedback/0/2") == {"redriven": ["feedback/0/2"]}
    (record,) = place.log.read(FEEDBACK, 0, 3, 9)
    assert (record.key, record.value) == ("k2", b"\xff")
    assert place.letters() == ["feedback/0/3", "inference/0/1"]
    with place.store.read() as tx:
        row = tx.execute(select(schema.audit).where(schema.audit.c.action == "redrive")).one()
    assert (row.subject, row.before["channel"]) == ("feedback/0/2", "support")


def test_all_of_a_channel_or_all_of_them(capsys: pytest.CaptureFixture[str], place: Place) -> None:
    assert told(capsys, place, "redrive", "--all", "--channel", "sales") == {"redriven": ["feedback/0/3"]}
    assert told(capsys, place, "redrive", "--all") == {"redriven": ["feedback/0/2", "inference/0/1"]}
    assert place.letters() == []
    assert [record.value for record in place.log.read(FEEDBACK, 0, 3, 9)] == [b"3", b"\xff"]
    assert told(capsys, place, "redrive", "--all") == {"redriven": []}


def test_what_comes_back_at_once_is_not_redriven_for_ever(place: Place) -> None:
    class Hopeless(SqliteEventLog):
        """Whatever is appended is a dead letter again before the command has looked."""

        def append(self, topic: str, records: Any, *, durable: bool) -> None:
            super().append(topic, records, durable=durable)
            ((key, value),) = records
            back = Record(topic, 0, self.ends()[topic][0], key, value)
            with place.store.write() as tx:
                dead_letter_rows.bury(tx, DeadLetter(back, "again", 8, None, None))

    log = Hopeless(place.home.events)
    assert len(redrive_all(place.store, log, None, None)) == 3
    assert len(place.letters()) == 3
    log.close()


def test_a_log_that_is_away_leaves_it_where_it_is(place: Place) -> None:
    class Away(SqliteEventLog):
        """A log that takes nothing."""

        def append(self, topic: str, records: Any, *, durable: bool) -> None:
            raise StoreUnavailable("gone fishing")

    log = Away(place.home.events)
    with place.store.read() as tx:
        (letter, *_) = dead_letter_rows.listed(tx, 1)
    with pytest.raises(StoreUnavailable):
        redrive(place.store, log, letter, 9, "test")
    assert len(place.letters()) == 3
    log.close()


def test_two_who_redrive_the_same_count_it_once(place: Place) -> None:
    with place.store.read() as tx:
        (letter, *_) = dead_letter_rows.listed(tx, 1)
    assert [redrive(place.store, place.log, letter, 9, who) for who in ("a", "b")] == [True, False]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "feedback/0/9"),
        ("show",),
        ("list", "feedback/0/2"),
        ("redrive",),
        ("redrive", "--all", "feedback/0/2"),
        ("show", "dead-letter/0/1"),
        ("show", "feedback/x/1"),
        ("list", "--limit", "0"),
    ],
)
def test_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str], place: Place, words: tuple[str, ...]) -> None:
    try:
        assert main(["dead-letters", *words, "--home", str(place.home.root)]) == 1
    except SystemExit as end:
        assert end.code == 2
    error = capsys.readouterr().err
    assert error and "Traceback" not in error
    assert len(place.letters()) == 3
