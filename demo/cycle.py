"""One turn of the loop as the desk sees it: corrections in, a run, a rollout watched, the answers measured again.

It knows what the admin API and the run's report say, and what the 400 users saw; it decides nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.client import Client, DemoError
from demo.desk import Desk, Seen, rush, user_name
from demo.helpdesk import HelpDesk, Question
from demo.intervals import error_bound
from demo.journal import Progress, Screen
from demo.measure import DESK_TOKENS, GeneralPrompt, ask_desk, ask_general, to_desk

LINE_S = 1.0
RUN_OVER = ("candidate", "rejected", "insufficient_evidence", "failed")
ROLLOUT_OVER = ("promoted", "rolled_back", "aborted")
RUN_WITHIN_S = 3 * 3600.0
ROLLOUT_MARGIN_S = 600.0
TRICKLE_S = 3.0  # between the questions that are asked while a run trains
LEDGER_WITHIN_S = 60.0
STAGES = [{"weight": weight, "deadline_s": 1800} for weight in (5, 25, 50, 100)]  # minima stay the service's own


@dataclass(frozen=True)
class Poll:
    """What the channel said of its rollout at one moment; `at` is monotonic seconds, `weight` percent."""

    at: float
    state: str
    weight: float


async def measure(client: Client, channel: str, helpdesk: HelpDesk, progress: Progress) -> dict[str, Any]:
    """Every desk set, asked once: name -> what `ask_desk` says."""
    found = {}
    for name in ("heldout", "paraphrases", "heldout2"):
        found[name] = await ask_desk(client, channel, getattr(helpdesk, name), _named(progress, name))
    return found


async def measure_general(
    client: Client, channel: str, prompts: Sequence[GeneralPrompt], progress: Progress
) -> dict[str, Any]:
    """The general set, asked once."""
    return await ask_general(client, channel, prompts, _named(progress, "general"))


def _named(progress: Progress, name: str) -> Any:
    def count(done: int, of: int) -> None:
        progress.note = f"{name} {done} of {of}"

    return count


async def start_run(client: Client, channel: str, body: Mapping[str, object]) -> str:
    """Ask for a run and return its id; one that is in progress already is waited for first. Raises Refused."""
    while True:
        status, content = await client.admin("POST", f"/channels/{channel}/runs", body)
        if status == 202:
            return str(content["id"])
        busy = content["error"].get("param")
        if status != 409 or busy in (None, "release"):
            raise Refused(status, content["error"]["message"])
        await follow_run(client, busy, Progress())


class Refused(DemoError):
    """The service would not do what was asked, and said why."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"the service answered {status}: {words}")
        self.status = status
        self.words = words


async def follow_run(client: Client, run: str, progress: Progress) -> dict[str, Any]:
    """Wait until the run has ended. Returns it as the service shows it, with the seconds spent in each state.

    Raises DemoError where that takes hours.
    """
    spent: dict[str, float] = {}
    begun = last = time.monotonic()
    while True:
        shown = await client.demand("GET", f"/runs/{run}")
        now = time.monotonic()
        spent[shown["state"]] = round(spent.get(shown["state"], 0.0) + now - last, 1)
        last = now
        if shown["state"] in RUN_OVER:
            return {**shown, "seconds": {state: s for state, s in spent.items() if state not in RUN_OVER}}
        progress.note = describe_progress(shown["state"], shown.get("progress") or {})
        if now - begun > RUN_WITHIN_S:
            raise DemoError(f"run {run} has been {shown['state']} for hours; `thumbwheel why {run}` says more")
        await asyncio.sleep(client.poll_s)


def describe_progress(state: str, progress: Mapping[str, Any]) -> str:
    """A run's progress in a few words: `training: step 34 of 84, 95 s to go`."""
    words = state
    step = progress.get("step")
    if step is not None and str(step) != state:
        words += f": {step}"
    if progress.get("of"):
        words += f" {progress.get('done', 0)} of {progress['of']}"
    if progress.get("eta_s") is not None:
        words += f", {float(progress['eta_s']):.0f} s to go"
    return words


async def run_while_asking(
    desk: Desk, channel: str, run: str, traffic: Sequence[Question], progress: Progress
) -> dict[str, Any]:
    """Follow a run while a user asks now and then: serving must stay usable beside training."""
    waits: list[float] = []

    async def trickle() -> None:
        number = 0
        while True:
            question = traffic[number % len(traffic)]
            answer = await desk.client.ask(channel, to_desk(question.text), user_name(number), DESK_TOKENS)
            waits.append(answer.done - answer.sent)
            number += 1
            await asyncio.sleep(TRICKLE_S)

    asking = asyncio.create_task(trickle())
    try:
        shown = await follow_run(desk.client, run, progress)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    waits.sort()
    return {
        **shown,
        "meanwhile": {
            "answers": len(waits),
            "median_s": round(waits[len(waits) // 2], 2) if waits else None,
            "slowest_s": round(waits[-1], 2) if waits else None,
        },
    }


def read_evidence(home: Path, sha: str | None) -> dict[str, Any]:
    """The paired figures of the run's own evaluation report, from the data directory; null for what it does not hold.

    `gain` is {mean, lower, upper, n, is} in nats per token, `contrast` the same as a share of pairs, `kl` is nats per
    token of the base's answers; what each is, and how it was estimated, is the report's own text.
    """
    path = home / "artifacts" / (sha or "none") / "report.json"
    report: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    general = report.get("general") or {}
    return {
        "report": sha,
        "gain": report.get("gain"),
        "contrast": report.get("contrast"),
        "kl": general.get("kl"),
        "kl_tokens": general.get("kl_tokens"),
        "kl_estimator": general.get("kl_is"),
    }


async def watch_rollout(
    desk: Desk, channel: str, release: str, traffic: Sequence[Question], progress: Progress, screen: Screen, seed: int
) -> dict[str, Any]:
    """Keep 400 users asking until the rollout of `release` ends or is held; one line a second."""
    progress.quiet = True
    seen: list[Seen] = []
    polls: list[Poll] = []
    stop = asyncio.Event()
    users = asyncio.create_task(rush(desk, channel, traffic, stop, seen, seed))
    try:
        rollout = await _follow_rollout(desk.client, channel, release, seen, polls, screen, users)
    finally:
        stop.set()
        await users
    return {
        "rollout": rollout["id"],
        "state": rollout["state"],
        "analysis": rollout["analysis"],
        "canary": canary(polls, seen),
        "requests": len(seen),
        "users": len({one.user for one in seen}),
        "form": {name: list(form_kept(seen, name)) for name in ("stable", "candidate")},
    }


async def _follow_rollout(
    client: Client,
    channel: str,
    release: str,
    seen: Sequence[Seen],
    polls: list[Poll],
    screen: Screen,
    users: asyncio.Task[None],
) -> dict[str, Any]:
    begun = printed = time.monotonic()
    deadline = begun + sum(float(stage["deadline_s"]) for stage in STAGES) + ROLLOUT_MARGIN_S
    screen.line(f"      {'time':>6} {'weight':>7} {'requests':>9} {'candidate':>10}   form kept: stable   candidate")
    while time.monotonic() < deadline:
        if users.done():
            users.result()  # raises what ended the users
        at = time.monotonic()
        shown = await client.demand("GET", f"/channels/{channel}")
        rollout: dict[str, Any] | None = shown["rollout"]
        if rollout is not None and rollout["release"] == release:
            polls.append(Poll(at, rollout["state"], float(rollout["weight"])))
            over = rollout["state"] in ROLLOUT_OVER
            if over or rollout["state"] == "held" or at - printed >= LINE_S:
                printed = at
                screen.line(_line(at - begun, polls[-1], seen, rollout))
            if over or rollout["state"] == "held":
                return rollout
        await asyncio.sleep(client.poll_s)
    raise DemoError(f"the rollout of {release} has not ended within all its deadlines")


def _line(elapsed: float, poll: Poll, seen: Sequence[Seen], rollout: Mapping[str, Any]) -> str:
    shares = []
    for name in ("stable", "candidate"):
        kept, of = form_kept(seen, name)
        shares.append(f"{kept}/{of} {100 * kept / of:3.0f}%" if of else "-")
    candidates = sum(one.variant == "candidate" for one in seen)
    state = poll.state if poll.state != "running" else str(rollout["analysis"].get("result", ""))
    clock = f"{int(elapsed) // 60}:{int(elapsed) % 60:02d}"
    return (
        f"      {clock:>6} {poll.weight:>6g}% {len(seen):>9} {candidates:>10}   "
        f"{shares[0]:>17} {shares[1]:>11}   {state}"
    )


def form_kept(seen: Iterable[Seen], variant: str) -> tuple[int, int]:
    """Answers in the house's form, of all the answers that this variant gave."""
    own = [one for one in seen if one.variant == variant and not one.failed]
    return sum(one.form for one in own), len(own)


def canary(polls: Sequence[Poll], seen: Sequence[Seen]) -> list[dict[str, Any]]:
    """What each stage could have seen: one entry a weight, in order.

    `observed` is the candidate's share of the stage's requests in percent, `bound` the largest error probability that
    the candidate's answers still allow (95%, one-sided). A stage lasts from the first to the last look that saw its
    weight; requests sent between two looks with different weights belong to no stage. A failed request that does not
    say who answered counts as the candidate's error.
    """
    spans: dict[float, tuple[float, float]] = {}
    for poll in polls:
        if poll.weight > 0 and poll.state not in ROLLOUT_OVER:
            first, _ = spans.get(poll.weight, (poll.at, poll.at))
            spans[poll.weight] = (first, poll.at)
    stages = []
    for weight, (first, last) in spans.items():
        during = [one for one in seen if first <= one.sent <= last]
        own = [one for one in during if one.variant == "candidate"]
        errors = sum(one.failed for one in during if one.variant in ("candidate", None))
        n = len(own) + sum(one.failed and one.variant is None for one in during)
        stages.append(
            {
                "weight": weight,
                "observed": round(100 * len(own) / len(during), 2) if during else None,
                "units": len({one.user for one in own}),
                "requests": len(own),
                "bound": error_bound(errors, n) if n else None,
                "errors": errors,
                "all_requests": len(during),
                "seconds": round(last - first, 1),
            }
        )
    return stages


async def settle_ledger(desk: Desk, channel: str, progress: Progress) -> dict[str, Any]:
    """The channel's ledger once it has caught up with the desk's own list, or as it stands after a minute."""
    deadline = time.monotonic() + LEDGER_WITHIN_S
    own = desk.acknowledged(channel)
    while True:
        ledger = await desk.client.demand("GET", f"/channels/{channel}/ledger")
        if ledger["acknowledged"] == own or time.monotonic() > deadline:
            return {**ledger, "desk": own, "adds_up": adds_up(ledger, own)}
        progress.note = f"{ledger['acknowledged']} of {own} acknowledged feedbacks in the ledger"
        await asyncio.sleep(desk.client.poll_s)


def adds_up(ledger: Mapping[str, Any], own: int) -> bool:
    """Whether every feedback that was acknowledged to us is used, refused with a reason, or waiting."""
    parts = ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    return bool(ledger["acknowledged"] == own == parts)
