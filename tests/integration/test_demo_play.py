"""The whole play of two cycles against the fake service, and a play that goes on where it was cut off."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from demo.__main__ import perform
from demo.client import DemoError
from demo.journal import Screen
from demo.report import BAD_CANDIDATES, REPORT
from demo.service import Service

FAKE = (sys.executable, str(Path(__file__).parent.parent / "unit" / "demo" / "fake_service.py"))
POLL_S = 0.05  # the fake answers at once, so it is looked at more often


async def test_two_cycles_close_the_loop(tmp_path: Path) -> None:
    home, out = tmp_path / "home", io.StringIO()
    assert await perform(Service(home, FAKE, POLL_S), 2, False, Screen(out)) == 0
    report = json.loads((home / REPORT).read_text())
    assert report["closed"] and report["open"] == [] and report["failed_requests"] == 0

    first, second = report["cycles"]
    assert first["heldout"]["category"]["base"] == 0 < first["heldout"]["category"]["served"]
    assert second["heldout_new"]["category"]["served"] > 0 and second["kept"]["category"]["gain"] == 0
    assert [stage["weight"] for stage in first["canary"]] == [5, 25, 50, 100]
    assert 15 < first["canary"][1]["observed"] < 35
    assert all(0 < stage["bound"] < 0.3 for stage in first["canary"])
    assert first["general"]["kl"] == 0.03 and first["gain"]["mean"] == 1.5

    by = {stop["candidate"]: stop["by"] for stop in report["stopped"]}
    assert len(by) == BAD_CANDIDATES
    assert by["NaN weights"].startswith("import: the adapter is refused (not_finite)")
    assert "wrong_base" in by["a wrong base"] and "wrong_shape" in by["a wrong base, not named"]
    assert by["random weights"] == "gate, rejected: gain: -4.1 is not above 0.05"
    assert "not as it was written" in by["a bit flipped"]
    assert "contrast" in by["trained on shuffled corrections"]
    assert by["random weights, let past the gate"].startswith("rollout, rolled back at 5% after")
    assert "degenerate" in by["random weights, let past the gate"]
    assert report["past_the_gate"]["state"] == "rolled_back"

    ledger = report["ledger"]
    assert (
        ledger["acknowledged"]
        == ledger["desk"]
        == ledger["used"] + ledger["refused"]["not_well_formed"] + (ledger["waiting"]["no_correction"])
    )
    assert not (home / "endpoints.json").exists()  # the service was stopped
    assert "The loop is closed." in out.getvalue()


async def test_figures_of_other_questions_are_not_mixed_in(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    earlier = {"result": {"questions": "others"}, "seconds": 1, "asked": 7, "failed": 2, "sitting": "yesterday"}
    (home / "demo-journal.json").write_text(json.dumps({"channel": earlier}))
    with pytest.raises(DemoError, match="other questions"):
        await perform(Service(home, FAKE, POLL_S), 1, False, Screen(io.StringIO()))
    report = json.loads((home / REPORT).read_text())
    assert not report["closed"] and report["failed_requests"] == 2 and report["cycles"] == []


async def test_a_service_that_stops_at_once_is_reported_with_its_last_words(tmp_path: Path) -> None:
    dying = (sys.executable, "-c", "import sys; sys.exit('no model lies where the settings say')")
    with pytest.raises(DemoError, match="no model lies where the settings say"):
        await perform(Service(tmp_path / "home", dying, POLL_S), 1, False, Screen(io.StringIO()))
