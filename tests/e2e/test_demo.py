"""The whole loop on real vLLM: the demo is played once, and every test looks at what it left behind.

This is the suite's long part: one cycle, all bad candidates, the rollback by live analysis. What a healthy cycle may
miss by chance is not asserted here on the demo's own figures: whether a release is good enough is the gate's decision,
and how much a stage saw is the analysis', each on its own measurements.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

CYCLES = int(os.environ.get("THUMBWHEEL_E2E_CYCLES", "1"))
LIMIT_S = 3_600 * CYCLES
SHIPPED_STAGE = {"min_units": 8, "min_requests": 20}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(LIMIT_S + 400)]


@dataclass(frozen=True)
class Played:
    """A home that a demo has been played in."""

    home: Path
    code: int
    report: dict[str, Any]

    def thumbwheel(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "thumbwheel", *words, "--home", str(self.home)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def step(self, name: str) -> dict[str, Any]:
        """What a step of the play noted in its journal."""
        result: dict[str, Any] = json.loads((self.home / "demo-journal.json").read_text())[name]["result"]
        return result

    def judgement(self, cycle: int) -> dict[str, Any]:
        """The gate's report on the cycle's release."""
        sha = self.step(f"cycle-{cycle}/evidence")["report"]
        report: dict[str, Any] = json.loads((self.home / "artifacts" / sha / "report.json").read_text())
        return report

    def answer(self, *words: str) -> Any:
        done = self.thumbwheel(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    home = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "demo", "--exit", "--cycles", str(CYCLES), "--home", str(home)]
    with (home / "demo.out").open("wb") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, timeout=LIMIT_S).returncode
    print((home / "demo.out").read_text())
    report = home / "demo-report.json"
    assert report.exists(), "the demo left no report"
    return Played(home, code, json.loads(report.read_text()))


def test_the_loop_closed(played: Played) -> None:
    assert played.report["open"] == []
    assert played.report["closed"] is True and played.code == 0


def test_what_was_learnt_shows_on_items_that_nobody_corrected(played: Played) -> None:
    for cycle in played.report["cycles"]:
        heldout = cycle["heldout"]
        assert heldout["form"]["served"] > heldout["form"]["base"]
        low, _ = heldout["category"]["interval"]
        assert low > heldout["category"]["base_interval"][1]


def test_the_gate_passed_what_was_promoted_and_the_report_says_by_how_much(played: Played) -> None:
    for cycle in played.report["cycles"]:
        judged = played.judgement(cycle["cycle"])
        assert judged["verdict"] == "pass" and judged["release"] == cycle["release"]
        checks = {check["name"]: check for check in judged["checks"]}
        assert {"gain", "contrast", "general", "kl", "leaks"} <= checks.keys()
        assert all(check["status"] == "pass" for check in checks.values())
        for name in ("gain", "contrast"):
            assert cycle[name]["lower"] == pytest.approx(checks[name]["bound"])
            assert cycle[name]["lower"] >= checks[name]["threshold"] > 0
        assert cycle["general"]["kl"] == pytest.approx(checks["kl"]["measured"])


def test_the_demo_asked_what_the_base_knew_for_itself(played: Played) -> None:
    """Its own answers, after the promotion. A second look at the same model: near the gate's, and not held to it."""
    for cycle in played.report["cycles"]:
        general = cycle["general"]
        assert general["n"] >= 400 and general["interval"][0] < general["difference"] < general["interval"][1]
        assert general["leaks"] <= 0.01 * general["n"]


def test_each_stage_had_its_share_and_says_what_it_could_have_seen(played: Played) -> None:
    """By the service's own counts: the report's come from looks twice a second, and miss what falls between two."""
    for cycle in played.report["cycles"]:
        stages = played.step(f"cycle-{cycle['cycle']}/rollout")["analysis"]["stages"]
        assert [stage["weight"] for stage in stages] == [5, 25, 50, 100]
        for stage in stages:
            assert stage["requests"] >= SHIPPED_STAGE["min_requests"] and stage["units"] >= SHIPPED_STAGE["min_units"]
            assert 0 < stage["bound"] < 0.15
        assert {stage["weight"] for stage in cycle["canary"]} <= {5, 25, 50, 100}
        assert all(0 < stage["bound"] <= 1 for stage in cycle["canary"] if stage["bound"] is not None)


def test_every_bad_candidate_was_stopped_by_itself(played: Played) -> None:
    assert len(played.report["stopped"]) == 7
    assert all(stop["by"] for stop in played.report["stopped"])


def test_nothing_failed_and_every_thumb_is_accounted_for(played: Played) -> None:
    assert played.report["failed_requests"] == 0
    ledger = played.report["ledger"]
    assert ledger["acknowledged"] == ledger["desk"]
    assert ledger["acknowledged"] == (
        ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    )


def test_the_way_from_a_thumb_to_the_release_and_back(played: Played) -> None:
    release = played.report["cycles"][-1]["release"]
    back = json.dumps(played.answer("lineage", release))
    run = played.report["cycles"][-1]["run"]
    assert run in back
    book = (line.split() for line in (played.home / "demo-acknowledged.txt").read_text().splitlines())
    thumbs = [thumb for channel, thumb in book if channel == "support"]
    learnt = next(thumb for thumb in thumbs if release in json.dumps(played.answer("lineage", thumb)))
    assert "used" in " ".join(played.answer("why", learnt))


@pytest.fixture(scope="module")
def service(played: Played) -> Iterator[Played]:
    """The same home, started again: it goes on from where it was."""
    command = [sys.executable, "-m", "thumbwheel", "up", "--home", str(played.home)]
    with (played.home / "logs" / "again.log").open("wb") as log:
        up = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_until_ready(played.home, up)
        yield played
    finally:
        up.terminate()
        assert up.wait(90) == 0
        assert not (played.home / "endpoints.json").exists()


def wait_until_ready(home: Path, up: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        assert up.poll() is None, (home / "logs" / "again.log").read_text()
        try:
            api = json.loads((home / "endpoints.json").read_text())["api"]
            if httpx.get(f"{api}/readyz", timeout=5).status_code == 200:
                return
        except (FileNotFoundError, httpx.TransportError):
            pass
        time.sleep(1)
    pytest.fail("the service did not become ready again")


def test_a_restart_keeps_the_promoted_release(service: Played) -> None:
    channel = service.answer("channel", "show", "support")
    assert channel["stable"] == service.report["cycles"][-1]["release"]


def test_a_run_on_nothing_new_is_insufficient_evidence(service: Played) -> None:
    run = service.answer("run", "start", "support")["id"]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        shown = service.answer("run", "show", run)
        if shown["state"] not in ("queued", "curating", "training", "evaluating"):
            break
        time.sleep(0.5)
    assert shown["state"] == "insufficient_evidence", shown
    assert shown["reasons"]
