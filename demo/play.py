"""The whole play: channel, base figures, cycle 1, the bad candidates, cycle 2, the ledger, and the report of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo import bad
from demo.client import Client, DemoError
from demo.cycle import (
    STAGES,
    measure,
    measure_general,
    read_evidence,
    run_while_asking,
    settle_ledger,
    start_run,
    watch_rollout,
)
from demo.desk import Desk, plan_visits, shuffle_corrections
from demo.helpdesk import FORM, HelpDesk
from demo.journal import Journal, Progress, Screen
from demo.measure import GeneralPrompt
from demo.report import UNITS, closed, cycle_report, say_gain, say_stop
from demo.service import Memory, Service

CHANNEL = "support"
LAST_CYCLE = 2
POLICIES = {
    "scorers": [{"kind": "regex", "pattern": FORM.pattern}, {"kind": "label", "pattern": FORM.pattern}],
    "stages": STAGES,
}
REPORT = "demo-report.json"


@dataclass(frozen=True)
class Stage:
    """What every scene of the play works with."""

    client: Client
    desk: Desk
    journal: Journal
    screen: Screen
    service: Service
    helpdesk: HelpDesk
    general: tuple[GeneralPrompt, ...]


async def play(stage: Stage, cycles: int) -> None:
    """Everything that the journal does not hold yet. Stops early where a cycle ended without a promotion."""
    await _open_channel(stage)
    await _measure_base(stage)
    for number in range(1, cycles + 1):
        if not await _cycle(stage, number):
            break
        if number == 1:
            await _bad_candidates(stage)
    stage.screen.line()
    await stage.journal.play(
        "end/ledger", "the books", lambda progress: _ledgers(stage, progress), _say_ledgers, again=True
    )


async def _open_channel(stage: Stage) -> None:
    questions = hashlib.sha256(repr((stage.helpdesk, stage.general)).encode()).hexdigest()

    async def work(_: Progress) -> dict[str, Any]:
        earlier = stage.journal.result("channel")
        if earlier is not None and earlier["questions"] != questions:
            raise DemoError(
                "the play in this data directory was begun with other questions than this version asks, and figures of "
                "both cannot be compared. Give the demo a directory of its own: --home DIR"
            )
        channel = await stage.client.demand("PUT", f"/channels/{CHANNEL}", POLICIES)
        release = await stage.client.demand("GET", f"/releases/{channel['stable']}")
        if release.get("adapter") and stage.journal.result("base/desk") is None:
            raise DemoError(
                f"the channel `{CHANNEL}` of this data directory answers with a learnt release already, and what the "
                "base answered is not on record. Give the demo a directory of its own: --home DIR"
            )
        return {"channel": CHANNEL, "stable": channel["stable"], "questions": questions}

    await stage.journal.play(
        "channel", "the channel `support`", work, lambda r: f"stable release {r['stable']}", again=True
    )


async def _measure_base(stage: Stage) -> None:
    client, journal = stage.client, stage.journal
    await journal.play(
        "base/desk",
        "the base's answers to complaints",
        lambda progress: measure(client, CHANNEL, stage.helpdesk, progress),
        _say_desk,
    )
    await journal.play(
        "base/general",
        "the base's general answers",
        lambda progress: measure_general(client, CHANNEL, stage.general, progress),
        _say_general,
    )


async def _cycle(stage: Stage, number: int) -> bool:
    """One cycle; True if it ended in a promotion."""
    client, desk, journal, helpdesk = stage.client, stage.desk, stage.journal, stage.helpdesk
    prefix = f"cycle-{number}/"
    stage.screen.line(f"\ncycle {number}")
    visits = (
        plan_visits(helpdesk.corrections, helpdesk.junk, seed=1)
        if number == 1
        else plan_visits(helpdesk.corrections2, (), seed=number)
    )
    await journal.play(
        prefix + "corrections",
        "complaints and corrections",
        lambda progress: desk.receive(CHANNEL, visits, progress.count),
        lambda r: f"{r['acknowledged']} feedbacks on {r['visits']} answers acknowledged",
    )

    async def ask_for_run(_: Progress) -> dict[str, Any]:
        return {"run": await start_run(client, CHANNEL, {})}

    asked = await journal.play(prefix + "run-asked", "a run is asked for", ask_for_run, lambda r: str(r["run"]))
    run = await journal.play(
        prefix + "run",
        "curate, train, evaluate",
        lambda progress: run_while_asking(desk, CHANNEL, asked["run"], helpdesk.traffic, progress),
        _say_run,
    )

    async def evidence(_: Progress) -> dict[str, Any]:
        return read_evidence(stage.service.home, run["report"])

    await journal.play(prefix + "evidence", "the run's own report", evidence, _say_evidence)
    if run["state"] != "candidate":
        return False
    rollout = await journal.play(
        prefix + "rollout",
        "the rollout, 400 users asking",
        lambda progress: watch_rollout(
            desk, CHANNEL, run["release"], helpdesk.traffic, progress, stage.screen, seed=number
        ),
        lambda r: f"{r['state']} after {r['requests']} requests by {r['users']} users",
    )
    if rollout["state"] != "promoted":
        return False
    await journal.play(
        prefix + "served",
        "the new answers to complaints",
        lambda progress: measure(client, CHANNEL, helpdesk, progress),
        _say_desk,
    )
    await journal.play(
        prefix + "served-general",
        "the new general answers",
        lambda progress: measure_general(client, CHANNEL, stage.general, progress),
        _say_general,
    )

    async def ledger(progress: Progress) -> dict[str, Any]:
        channel = await client.demand("GET", f"/channels/{CHANNEL}")
        return {"stable": channel["stable"], "ledger": await settle_ledger(desk, CHANNEL, progress)}

    await journal.play(prefix + "ledger", "the ledger", ledger, lambda r: _say_ledger(r["ledger"]))
    return True


async def _bad_candidates(stage: Stage) -> None:
    bench = bad.Bench(stage.client, stage.service.home, CHANNEL, stage.service.command)
    desk, helpdesk = stage.desk, stage.helpdesk
    stage.screen.line("\nbad candidates")

    async def scene(name: str, title: str, work: Callable[[Progress], Coroutine[Any, Any, bad.Stop]]) -> dict[str, Any]:
        async def step(progress: Progress) -> dict[str, Any]:
            return (await work(progress)).as_json()

        return await stage.journal.play(f"bad/{name}", title, step, say_stop)

    await scene("nan", "NaN weights", lambda _: bench.nan_weights())
    await scene("base", "a wrong base", lambda _: bench.wrong_base())
    await scene("width", "a wrong base, not named", lambda _: bench.wrong_width())
    random = await scene("random", "random weights", bench.random_weights)
    await scene("bit", "a bit flipped", bench.flipped_bit)

    channel = CHANNEL + bad.SHUFFLED
    visits = shuffle_corrections(plan_visits(helpdesk.corrections, helpdesk.junk, seed=1), helpdesk.corrections, seed=1)

    async def shuffled(progress: Progress) -> bad.Stop:
        await stage.client.demand("PUT", f"/channels/{channel}", POLICIES)
        return await bench.shuffled(desk, visits, progress)

    await scene("shuffled", "trained on shuffled corrections", shuffled)
    if random["release"] is not None:
        release = str(random["release"])
        await stage.journal.play(
            "bad/past-the-gate",
            "random weights, past the gate",
            lambda progress: bench.past_the_gate(release, desk, helpdesk.traffic, progress, stage.screen),
            say_stop,
        )


async def _ledgers(stage: Stage, progress: Progress) -> dict[str, Any]:
    """The ledger of each channel that the desk has sent feedback on."""
    names = [name for name in (CHANNEL, CHANNEL + bad.SHUFFLED) if stage.desk.acknowledged(name)]
    return {name: await settle_ledger(stage.desk, name, progress) for name in names}


def make_report(journal: Journal, cycles: int, memory: Memory | None) -> dict[str, Any]:
    """`demo-report.json` from what the journal holds; `memory` is None where the service is not the demo's child."""
    ledgers = journal.result("end/ledger") or {}
    stopped = [journal.result(name) or {} for name in journal.steps if name.startswith("bad/")]
    report: dict[str, Any] = {
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "units": UNITS,
        "cycles": [_cycle_report(journal, number) for number in range(1, cycles + 1) if _played(journal, number)],
        "stopped": [{"candidate": stop["candidate"], "by": stop["by"]} for stop in stopped],
        "past_the_gate": (journal.result("bad/past-the-gate") or {}).get("watched"),
        "failed_requests": journal.total("failed"),
        "failures": sorted(set(journal.tally.errors))[:20] if journal.tally else [],
        "requests": journal.total("asked"),
        "ledger": ledgers.get(CHANNEL),
        "ledger_shuffled": ledgers.get(CHANNEL + bad.SHUFFLED),
        "seconds": {"start": round(journal.starting_s or 0.0, 1), **journal.seconds("")},
        "milestones": _milestones(journal),
        "peak_rss_mb": round(memory.peak_mb) if memory and memory.peak_mb else None,
        "memory": f"{memory.measure} of the service's process tree, sampled each second"
        if memory
        else "the service was running before the demo, which samples its own child only",
        "earlier_sitting": journal.earlier(),
    }
    report["open"] = closed(report, cycles)
    report["closed"] = not report["open"]
    return report


def write_report(home: Path, report: dict[str, Any]) -> Path:
    """Write the report into the data directory, whole, and return its path."""
    path = home / REPORT
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    scratch.replace(path)
    return path


def _played(journal: Journal, number: int) -> bool:
    return journal.result(f"cycle-{number}/corrections") is not None


def _cycle_report(journal: Journal, number: int) -> dict[str, Any]:
    prefix = f"cycle-{number}/"
    results = {name: journal.result(name) for name in ("base/desk", "base/general")}
    results |= {name.removeprefix(prefix): journal.result(name) for name in journal.steps if name.startswith(prefix)}
    if number > 1:
        results["before"] = journal.result(f"cycle-{number - 1}/served")
    known = {name: result for name, result in results.items() if result is not None}
    return cycle_report(number, known, journal.count(prefix, "failed"), journal.seconds(prefix))


def _milestones(journal: Journal) -> dict[str, float | None]:
    """Seconds of play, waiting and all, until each landmark; null where it was not reached."""
    spent = journal.starting_s or 0.0
    landmarks = {"cycle-1/rollout": "first_promotion", "bad/past-the-gate": "bad_candidates"}
    reached: dict[str, float | None] = dict.fromkeys(landmarks.values())
    for name, step in journal.steps.items():
        spent += step["seconds"]
        if name in landmarks and (name != "cycle-1/rollout" or step["result"]["state"] == "promoted"):
            reached[landmarks[name]] = round(spent, 1)
    return {**reached, "all": round(spent, 1)}


def _say_desk(found: dict[str, Any]) -> str:
    marks = list(found["heldout"]["marks"].values())
    form = sum(mark["category"] is not None for mark in marks)
    right = sum(mark["category"] == mark["wanted"] for mark in marks)
    return f"held-out: form kept {form}, category right {right}, of {len(marks)}"


def _say_general(found: dict[str, Any]) -> str:
    return f"{sum(found['right'].values())} of {len(found['right'])} right, {found['leaks']} in the desk's form"


def _say_run(run: dict[str, Any]) -> str:
    reasons = f": {'; '.join(run['reasons'])}" if run["reasons"] else ""
    return f"{run['state']}{reasons} ({run['meanwhile']['answers']} answers meanwhile)"


def _say_evidence(evidence: dict[str, Any]) -> str:
    if evidence["gain"] is None:
        return "no paired gain in it"
    return f"paired gain in nats per token {say_gain(evidence['gain'])}"


def _say_ledger(ledger: dict[str, Any]) -> str:
    waiting, refused = sum(ledger["waiting"].values()), sum(ledger["refused"].values())
    return (
        f"{ledger['acknowledged']} acknowledged: {ledger['used']} used, {refused} refused, {waiting} waiting; "
        f"the desk counted {ledger['desk']}"
    )


def _say_ledgers(ledgers: dict[str, Any]) -> str:
    good = sum(ledger["adds_up"] for ledger in ledgers.values())
    return f"{good} of {len(ledgers)} ledgers add up"
