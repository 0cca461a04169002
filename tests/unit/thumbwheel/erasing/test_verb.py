from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.unit.thumbwheel.erasing.test_job import HER, HERS, Place, everywhere, place
from thumbwheel.cli import main
from thumbwheel.erasing.verb import held_by_broker
from thumbwheel.erasure import person_of, tombstone
from thumbwheel.events import CURATION
from thumbwheel.settings import Settings
from thumbwheel.store import schema

__all__ = ["place"]  # a fixture


def erase(capsys: pytest.CaptureFixture[str], place: Place, *words: str) -> Any:
    common = ["--tenant", "shop", "--home", str(place.home.root), "--json"]
    assert main(["erase", "--end-user", HER, *common, *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_command_erases_and_says_what_learnt_however_often_it_is_asked(
    capsys: pytest.CaptureFixture[str], place: Place
) -> None:
    everywhere(place)
    first = erase(capsys, place, "--yes")
    assert first["person"] == tombstone(person_of(place.secret, "shop", HER))
    assert first["broker"] is None is first["database"], "nothing but this home holds anything"
    assert (first["runs"], first["changed"]["datasets"]) == (["run-1"], 1)
    assert place.files_with(HERS, HER) == []
    again = erase(capsys, place, "--yes")
    assert not any(again["changed"].values())
    assert {**again, "changed": None} == {**first, "changed": None}
    with place.store.read() as tx:
        asked = tx.execute(select(schema.audit).where(schema.audit.c.who == "command line")).all()
    assert [row.subject for row in asked] == [first["person"]]


def test_nothing_is_erased_without_a_yes(
    capsys: pytest.CaptureFixture[str], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere(place)
    words = ["erase", "--end-user", HER, "--tenant", "shop", "--home", str(place.home.root)]
    for answer in ("", "no\n", "y\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert main(words) == 1
    assert place.log.ends()[CURATION] == {0: 4}
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "learnt from them, runs: run-1" in told and HER not in told and "Backups" in told
    assert place.files_with(HERS, HER) == []


def test_a_broker_that_does_not_answer_is_said(tmp_path: Path) -> None:
    found = held_by_broker(Settings(home=tmp_path, kafka="127.0.0.1:1"))
    assert found is not None and set(found) == {"inference", "feedback", "curation", "dead-letter"}
    assert all(told.startswith("not known: ") for told in found.values())


def test_nobody_is_not_erased(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It would stand for ever, for everyone who says nothing of who they are."""
    with pytest.raises(SystemExit):
        main(["erase", "--end-user", "", "--tenant", "shop", "--yes", "--home", str(place.home.root)])
    assert "an end user's id is right" in capsys.readouterr().err
