"""Two LoRA releases side by side under load, through the whole service; and again with `kill -9` of the engine.

    python -m bench.releases [--seconds 60] [--concurrency 32] [--tokens 24] [--kill-after 20] [--rank 32]
        [--model DIR] [--work DIR] [--out figures.json]                                     (make bench-releases)

The service is started in a home of its own. Two adapters are imported, each of which answers everything with its own
word (tests/word_adapters.py), so that who answered shows in the answer whatever the headers say; at rank 32 on all
linear layers they cost the engine what releases of the shipped recipe cost. One becomes the channel's stable release,
the other its candidate at 50%, with minima that it does not reach. Clients in a closed loop then ask streaming
questions, each of another unit: once in peace, once with the engine's first process killed after `--kill-after`
seconds, going on for `--seconds` after both releases have answered again.

Printed, and written as JSON with every request to `--out`: per release and window the answers, the time to the first
token, tokens a second, failures and wrong answers. Adapters' loads are counted in the engine's log, by two writers: our
resolver, which copies and checks an adapter, and vLLM, which reads it into memory (at the level DEBUG, which the
benchmark sets; a read that the resolver never hears of would be one after an eviction). The exit status is 1 where one
of these does not hold:

- neither release's p95 first token is over twice the other's, in peace and after the recovery;
- no adapter is loaded after the warm-up; after the kill each is loaded once, and not again;
- no answer, whole or broken off, shows another release than its header names;
- nothing fails but by the kill, and then with a clean 503 or an error event: no hang, no stream that just ends;
- the rollout is still running at the end.

It knows one machine and one engine. More than some 40 tokens of one word look like a loop to the live analysis; both
releases do, but the first few answers could still make it roll the candidate back.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.release_load import Asked, Load
from bench.release_report import broken, ratio, table, window
from tests.integration.service import Service, started
from tests.word_adapters import word_adapters

CHANNEL = "bench"
WORDS = ("ox", "up")  # each one token of the default base
NEVER = 1_000_000_000
STAGES = [{"weight": 50, "min_units": NEVER, "min_requests": NEVER, "deadline_s": 86_400}, {"weight": 100}]
WARM_UP_S = 10.0
RECOVERY_S = 300.0
START_S = 300.0
LOADS = {
    "resolver": re.compile(r"adapter ([0-9a-f]{12}) fetched: load \d+ of this engine"),
    "vllm": re.compile(r"Adding lora\. Model id: (\d+)"),
}
STARTED_UP = "Application startup complete."


def loads(log: str) -> dict[str, int]:
    """How many adapter loads each writer has noted in the engine's log since the last start of an engine.

    Before that line vLLM tries itself on adapters of its own making. Raises ValueError where the line is not there.
    """
    _, started_up, since = log.rpartition(STARTED_UP)
    if not started_up:
        raise ValueError("the engine's log holds no start: it was cut, or the engine's words have changed")
    return {who: len(pattern.findall(since)) for who, pattern in LOADS.items()}


def less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """What came in between."""
    return {who: count - before[who] for who, count in now.items()}


def service_environment(model: Path) -> dict[str, str]:
    """Ours without settings of another service, and vLLM told to say what it loads."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("THUMBWHEEL_")}
    return {**plain, "THUMBWHEEL_MODEL": str(model), "VLLM_LOGGING_LEVEL": "DEBUG"}


def prepare_releases(service: Service, adapters: Mapping[str, Path]) -> dict[str, str]:
    """Import the adapters; the first becomes stable, the second the candidate at 50%. Release -> word."""
    service.admin("PUT", f"/admin/v1/channels/{CHANNEL}", {"train": False})
    words = {}
    for number, (word, adapter) in enumerate(adapters.items()):
        release = service.command("release", "import", str(adapter), "--channel", CHANNEL)["id"]
        words[release] = word
        service.admin("POST", f"/admin/v1/channels/{CHANNEL}/rollouts", {"release": release, "stages": STAGES})
        rollout = service.wait_until(lambda: _with_traffic(service), "the smoke test", START_S)
        if number == 0:
            service.admin("POST", f"/admin/v1/rollouts/{rollout['id']}/promote")
    return words


def _with_traffic(service: Service) -> dict[str, Any] | None:
    rollout: dict[str, Any] = service.view(CHANNEL)["rollout"]
    if rollout["state"] not in ("running", "promoted"):
        raise SystemExit(f"The rollout is {rollout['state']}: {rollout['analysis']['reasons']}")
    return rollout if rollout["weight"] > 0 and rollout["state"] == "running" else None


async def measure(service: Service, words: Mapping[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, measure in peace, measure around a kill. Every request is in `requests`."""

    def loaded() -> dict[str, int]:
        return loads((service.home / "logs" / "engine.log").read_text(errors="replace"))

    load = Load(CHANNEL, service.endpoint("api"), service.key("app"), options.tokens)
    figures: dict[str, Any] = {"loads": {}, "requests": {}}

    def cut(name: str, asked: Sequence[Asked], seconds: float) -> None:
        figures[name] = window(asked, words, seconds)
        figures["requests"][name] = [dataclasses.asdict(one) for one in asked]

    await load.run(options.concurrency, _after(WARM_UP_S))
    cut("warm-up", load.asked, WARM_UP_S)
    figures["loads"]["warm-up"] = warm = loaded()

    load.asked, began = [], time.monotonic()
    await load.run(options.concurrency, _after(options.seconds))
    cut("peace", load.asked, time.monotonic() - began)
    figures["peace"] |= {"loads": less(loaded(), warm), "p95_ratio": ratio(figures["peace"])}

    load.asked, began = [], time.monotonic()
    moments: dict[str, float] = {}
    reloaded: dict[str, int] = {}

    def over() -> bool:
        now = time.monotonic()
        if "killed" not in moments:
            if now - began >= options.kill_after:
                service.kill("engine")
                moments["killed"] = time.monotonic()
            return False
        if "back" not in moments:
            back = recovered(load.asked, moments["killed"], words)
            if None not in back:
                moments["back"] = max(one for one in back if one is not None)
                reloaded.update(loaded())
            return now - moments["killed"] > RECOVERY_S
        return bool(now - moments["back"] >= options.seconds)

    await load.run(options.concurrency, over)
    ended = time.monotonic()
    killed, back = moments["killed"], moments.get("back")
    if back is None:
        raise SystemExit(f"Not both releases answered within {RECOVERY_S:.0f} s of the kill.\n{service.tails()}")
    cut("before", [one for one in load.asked if one.done <= killed], killed - began)
    cut("gap", [one for one in load.asked if one.done > killed and one.sent <= back], back - killed)
    cut("after", [one for one in load.asked if one.sent > back], ended - back)
    figures["loads"]["recovery"] = reloaded
    figures["after"] |= {"loads": less(loaded(), reloaded), "p95_ratio": ratio(figures["after"])}
    first = min(one for one in recovered(load.asked, killed, words) if one is not None)
    figures["kill"] = {"first_answer_s": round(first - killed, 2), "both_s": round(back - killed, 2)}
    rollout = service.view(CHANNEL)["rollout"]
    figures["rollout"] = {"state": rollout["state"], "weight": rollout["weight"], **rollout["analysis"]}
    return figures


def recovered(asked: Sequence[Asked], killed: float, words: Mapping[str, str]) -> list[float | None]:
    """For each release, when the first token came of an answer that is whole and was first spoken after the kill."""
    firsts = []
    for release in words:
        own = [
            one.first
            for one in asked
            if one.release == release and one.end == "whole" and one.first is not None and one.first > killed
        ]
        firsts.append(min(own, default=None))
    return firsts


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.releases")
    parser.add_argument("--model", type=Path, default=Path(".base/smollm2-135m-instruct"))
    parser.add_argument("--work", type=Path, help="where the home goes; by default a temporary folder")
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--kill-after", type=float, default=20.0)
    parser.add_argument("--rank", type=int, default=32)
    options = parser.parse_args(argv)
    model = options.model.resolve()
    with tempfile.TemporaryDirectory(prefix="bench-releases-", dir=options.work) as scratch:
        folder = Path(scratch)
        adapters = word_adapters(model, folder / "adapters", WORDS, options.rank)
        service = Service(folder / "home", service_environment(model), folder / "up.out")
        with started(service):
            service.wait_ready(START_S)
            words = prepare_releases(service, adapters)
            before = os.getloadavg()
            figures = asyncio.run(measure(service, words, options))
    figures["options"] = {key: str(value) for key, value in vars(options).items()}
    figures["machine"] = {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.processor() or platform.machine(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": [round(one, 2) for one in before],
        "niceness": os.nice(0),
    }
    figures["broken"] = broken(figures)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps({key: value for key, value in figures.items() if key != "requests"}))
    print(table(figures), file=sys.stderr)
    for what in figures["broken"]:
        print(f"BROKEN {what}", file=sys.stderr)
    return 1 if figures["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
