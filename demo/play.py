"""The whole play: channel, base figures, cycle 1, the bad candidates, cycle 2, the ledger, and the report of it all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
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
from demo.helpdesk import CHANNEL, FORM, HelpDesk
from demo.journal import Journal, Progress, Screen
from demo.measure import GeneralPrompt
from demo.report import say_gain, say_stop
from demo.service import Service

LAST_CYCLE = 2
POLICIES = {
    "scorers": [{"kind": "regex", "pattern": FORM.pattern}, {"kind": "label", "pattern": FORM.pattern}],
    "stages": STAGES,
}


@dataclass(frozen=True)
class Scene:
    """What every step of the play works with."""

    client: Client
    desk: Desk
    journal: Journal
    screen: Screen
    service: Service
    helpdesk: HelpDesk
    general: tuple[GeneralPrompt, ...]


async def play(scene: Scene, cycles: int) -> None:
    """Everything that the journal does not hold yet. Stops early where a cycle ended without a promotion."""
    await _open_channel(scene)
    await _measure_base(scene)
    for number in range(1, cycles + 1):
        if not await _cycle(scene, number):
            break
        if number == 1:
            await _bad_candidates(scene)
    scene.screen.line()
    await scene.journal.play(
        "end/ledger", "the books", lambda progress: _ledgers(scene, progress), _say_ledgers, again=True
    )


async def _open_channel(scene: Scene) -> None:
    questions = hashlib.sha256(repr((scene.helpdesk, scene.general)).encode()).hexdigest()

    async def work(_: Progress) -> dict[str, Any]:
        earlier = scene.journal.result("channel")
        if earlier is not None and earlier["questions"] != questions:
            raise DemoError(
                "the play in this data directory was begun with other questions than this version asks, and figures of "
                "both cannot be compared. Give the demo a directory of its own: --home DIR"
            )
        channel = await scene.client.demand("PUT", f"/channels/{CHANNEL}", POLICIES)
        release = await scene.client.demand("GET", f"/releases/{channel['stable']}")
        if release.get("adapter") and scene.journal.result("base/desk") is None:
            raise DemoError(
                f"the channel `{CHANNEL}` of this data directory answers with a learnt release already, and what the "
                "base answered is not on record. Give the demo a directory of its own: --home DIR"
            )
        return {"channel": CHANNEL, "stable": channel["stable"], "questions": questions}

    await scene.journal.play(
        "channel", "the channel `support`", work, lambda r: f"stable release {r['stable']}", again=True
    )


async def _measure_base(scene: Scene) -> None:
    client, journal = scene.client, scene.journal
    await journal.play(
        "base/desk",
        "the base's answers to complaints",
        lambda progress: measure(client, CHANNEL, scene.helpdesk, progress),
        _say_desk,
    )
    await journal.play(
        "base/general",
        "the base's general answers",
        lambda progress: measure_general(client, CHANNEL, scene.general, progress),
        _say_general,
    )


async def _cycle(scene: Scene, number: int) -> bool:
    """One cycle; True if it ended in a promotion."""
    client, desk, journal, helpdesk = scene.client, scene.desk, scene.journal, scene.helpdesk
    prefix = f"cycle-{number}/"
    scene.screen.line(f"\ncycle {number}")
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
        return read_evidence(scene.service.home, run["report"])

    await journal.play(prefix + "evidence", "the run's own report", evidence, _say_evidence)
    if run["state"] != "candidate":
        return False
    rollout = await journal.play(
        prefix + "rollout",
        "the rollout, 400 users asking",
        lambda progress: watch_rollout(
            desk, CHANNEL, run["release"], helpdesk.traffic, progress, scene.screen, seed=number
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
        lambda progress: measure_general(client, CHANNEL, scene.general, progress),
        _say_general,
    )

    async def ledger(progress: Progress) -> dict[str, Any]:
        channel = await client.demand("GET", f"/channels/{CHANNEL}")
        return {"stable": channel["stable"], "ledger": await settle_ledger(desk, CHANNEL, progress)}

    await journal.play(prefix + "ledger", "the ledger", ledger, lambda r: _say_ledger(r["ledger"]))
    return True


async def _bad_candidates(scene: Scene) -> None:
    workshop = bad.Workshop(scene.client, scene.service.home, CHANNEL, scene.service.command)
    desk, helpdesk = scene.desk, scene.helpdesk
    scene.screen.line("\nbad candidates")

    async def trial(name: str, title: str, work: Callable[[Progress], Coroutine[Any, Any, bad.Stop]]) -> dict[str, Any]:
        async def step(progress: Progress) -> dict[str, Any]:
            return (await work(progress)).as_json()

        return await scene.journal.play(f"bad/{name}", title, step, say_stop)

    await trial("nan", "NaN weights", lambda _: workshop.nan_weights())
    await trial("base", "a wrong base", lambda _: workshop.wrong_base())
    await trial("width", "a wrong base, not named", lambda _: workshop.wrong_width())
    random = await trial("random", "random weights", workshop.random_weights)
    await trial("bit", "a bit flipped", workshop.flipped_bit)

    channel = CHANNEL + bad.SHUFFLED
    visits = shuffle_corrections(plan_visits(helpdesk.corrections, helpdesk.junk, seed=1), helpdesk.corrections, seed=1)

    async def shuffled(progress: Progress) -> bad.Stop:
        await scene.client.demand("PUT", f"/channels/{channel}", POLICIES)
        return await workshop.shuffled(desk, visits, progress)

    await trial("shuffled", "trained on shuffled corrections", shuffled)
    if random["release"] is not None:
        release = str(random["release"])
        await scene.journal.play(
            "bad/past-the-gate",
            "random weights, past the gate",
            lambda progress: workshop.past_the_gate(release, desk, helpdesk.traffic, progress, scene.screen),
            say_stop,
        )


async def _ledgers(scene: Scene, progress: Progress) -> dict[str, Any]:
    """The ledger of each channel that the desk has sent feedback on."""
    names = [name for name in (CHANNEL, CHANNEL + bad.SHUFFLED) if scene.desk.acknowledged(name)]
    return {name: await settle_ledger(scene.desk, name, progress) for name in names}


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
