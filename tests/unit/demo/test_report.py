"""When the loop counts as closed, and that a report never invents a figure."""

from __future__ import annotations

import io
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from demo.helpdesk import load
from demo.journal import Journal, Screen
from demo.report import BAD_CANDIDATES, closed, cycle_report, make_report, say_stop, table, write_report
from demo.service import Memory

CASES = load().heldout
LEDGER = {"acknowledged": 3, "used": 2, "refused": {"short": 1}, "waiting": {}, "desk": 3, "adds_up": True}


def asked(right: int, release: str) -> dict[str, Any]:
    """The first `right` cases right, the others without form."""
    marks = {
        case.id: {"wanted": case.category, "category": case.category if i < right else None, "whole": i < right}
        for i, case in enumerate(CASES)
    }
    answers = {"marks": marks, "releases": [release]}
    return {"heldout": answers, "paraphrases": answers, "heldout2": answers}


RESULTS: dict[str, Any] = {
    "base/desk": asked(2, "rel-base"),
    "base/general": {"right": {"a": True, "b": False}, "leaks": 0, "releases": ["rel-base"]},
    "corrections": {"visits": 5, "acknowledged": 3},
    "run": {"id": "run-1", "state": "candidate", "reasons": [], "release": "rel-1", "meanwhile": {"answers": 3}},
    "evidence": {"gain": {"mean": 1.0, "lower": 0.5, "upper": None, "n": 28}, "contrast": None, "kl": 0.02},
    "rollout": {
        "state": "promoted",
        "canary": [{"weight": 5, "observed": 4.9, "units": 9, "requests": 21, "bound": 0.13}],
    },
    "served": asked(60, "rel-1"),
    "served-general": {"right": {"a": True, "b": True}, "leaks": 0, "releases": ["rel-1"]},
    "ledger": {"stable": "rel-1", "ledger": LEDGER},
}


def whole_report(**changes: Any) -> dict[str, Any]:
    report = {
        "cycles": [cycle_report(1, RESULTS, 0, {"run": 10.0})],
        "stopped": [{"candidate": str(i), "by": "the gate"} for i in range(BAD_CANDIDATES)],
        "failed_requests": 0,
        "requests": 900,
        "ledger": LEDGER,
        "ledger_shuffled": LEDGER,
        "peak_rss_mb": 4000,
        "memory": "pss",
        "milestones": {"first_promotion": 700.0, "bad_candidates": None},
        **changes,
    }
    report["open"] = closed(report, cycles=1)
    report["closed"] = not report["open"]
    return report


def cycle(**changes: Any) -> list[dict[str, Any]]:
    return [{**cycle_report(1, RESULTS, 0, {}), **changes}]


def test_a_loop_with_everything_measured_is_closed() -> None:
    assert whole_report()["open"] == []


BROKEN = {**LEDGER, "adds_up": False}
NOT_LEARNT = cycle_report(1, {**RESULTS, "served": asked(5, "rel-1")}, 0, {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cycles": []}, "0 of 1 cycles"),
        ({"cycles": cycle(rollout="rolled_back")}, "no promoted release"),
        ({"cycles": cycle(stable_after="rel-base")}, "not the channel's stable"),
        ({"cycles": cycle(answered_by=["rel-1", "rel-base"])}, "did not all come from"),
        ({"cycles": cycle(ledger=BROKEN)}, "its ledger did not add up"),
        ({"cycles": [NOT_LEARNT]}, "lower bound after is not above"),
        ({"stopped": []}, "0 of 7 bad candidates"),
        ({"stopped": [{"candidate": "NaN", "by": None}] * BAD_CANDIDATES}, "nothing stopped"),
        ({"failed_requests": 1}, "1 requests failed"),
        ({"ledger": BROKEN}, "ledger does not add up"),
        ({"ledger": None}, "ledger does not add up"),
        ({"ledger_shuffled": BROKEN}, "ledger does not add up"),
    ],
)
def test_each_shortfall_keeps_it_open_and_is_named(changes: dict[str, Any], said: str) -> None:
    report = whole_report(**changes)
    assert not report["closed"]
    assert any(said in reason for reason in report["open"])
    assert any(said in line for line in table(report))


def test_a_second_cycle_must_learn_its_own_category_too() -> None:
    results = {**RESULTS, "before": asked(60, "rel-0")}
    second = cycle_report(2, results, 0, {})
    assert second["kept"]["category"]["gain"] == 0
    assert closed(whole_report(cycles=[second]), cycles=1) == []
    forgot = deepcopy(results)
    forgot["served"]["heldout2"] = asked(2, "rel-1")["heldout"]
    assert any("new category" in reason for reason in whole_report(cycles=[cycle_report(2, forgot, 0, {})])["open"])


def test_a_play_that_was_cut_off_reports_null_for_what_it_did_not_measure() -> None:
    early = {name: RESULTS[name] for name in ("base/desk", "corrections")}
    report = cycle_report(1, early, 0, {})
    assert report["heldout"]["category"]["base"] == 2
    assert report["heldout"]["category"]["served"] is report["general"] is report["gain"] is report["canary"] is None
    whole = whole_report(cycles=[report], ledger=None, ledger_shuffled=None, peak_rss_mb=None, stopped=[])
    assert not whole["closed"]
    assert "not measured" in "\n".join(table(whole))
    json.dumps(whole, allow_nan=False)


def test_the_words_of_a_stop_are_the_services_own() -> None:
    assert say_stop({"by": None}) == "NOT STOPPED"
    assert say_stop({"by": "gate, rejected: gain"}) == "stopped by gate, rejected: gain"
    assert len(say_stop({"by": "x" * 900})) <= 150


def test_the_report_is_made_of_the_journals_steps_and_written_whole(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.json", Screen(io.StringIO()))
    journal.starting_s = 5.0
    step = {"seconds": 2.0, "asked": 3, "failed": 0, "sitting": "yesterday"}
    names = [name if name.startswith("base/") else f"cycle-1/{name}" for name in RESULTS]
    journal.steps = {name: {"result": RESULTS[name.removeprefix("cycle-1/")], **step} for name in names}
    journal.steps["bad/nan"] = {
        "result": {"candidate": "NaN weights", "by": "import: refused", "release": None},
        **step,
    }
    journal.steps["end/ledger"] = {"result": {"support": LEDGER, "support-shuffled": LEDGER}, **step}
    report = make_report(journal, 2, Memory(100.4, "pss"))
    assert [(cycle["release"], cycle["rollout"]) for cycle in report["cycles"]] == [("rel-1", "promoted")]
    assert report["cycles"][0]["seconds"]["run"] == 2.0 and report["peak_rss_mb"] == 100
    assert report["milestones"] == {"first_promotion": 17.0, "bad_candidates": None, "all": 27.0}
    assert (report["requests"], report["earlier_sitting"]) == (33, list(journal.steps))
    assert report["ledger"] == report["ledger_shuffled"] == LEDGER and len(report["stopped"]) == 1
    assert not report["closed"] and "1 of 2 cycles were played" in report["open"]
    assert json.loads(write_report(tmp_path, report).read_text()) == json.loads(json.dumps(report))
    assert [path.name for path in tmp_path.iterdir()] == ["demo-report.json"]
