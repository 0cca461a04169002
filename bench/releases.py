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
import itertools
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil

from tests.integration.service import Service, started
from tests.word_adapters import word_adapters

CHANNEL = "bench"
WORDS = ("ox", "up")  # each one token of the default base
NEVER = 1_000_000_000
STAGES = [{"weight": 50, "min_units": NEVER, "min_requests": NEVER, "deadline_s": 86_400}, {"weight": 100}]
WARM_UP_S = 10.0
RECOVERY_S = 300.0
HUNG_S = 90.0  # over the gateway's ten seconds of waiting and the slowest answer seen (20 s) by far
RETRY_S = 1.0  # as the gateway's retry-after says
ENOUGH = 20  # answers of each release that a p95 needs to mean anything
MOST = 2.0  # the largest ratio of the two p95 first tokens
START_S = 300.0
LOADS = {
    "resolver": re.compile(r"adapter ([0-9a-f]{12}) fetched: load \d+ of this engine"),
    "vllm": re.compile(r"Adding lora\. Model id: (\d+)"),
}
QUESTIONS = ("What goes well with tea?", "Where is my parcel?", "Name a river.", "How do I fold a map?")
STARTED_UP = "Application startup complete."
CLEAN = ("whole", "503", "error event")


@dataclass(frozen=True)
class Asked:
    """One request. Times are seconds of the monotonic clock; `end` is one of CLEAN, or what else happened."""

    unit: str
    sent: float
    first: float | None  # the first token's arrival
    done: float
    end: str
    release: str | None  # by its header
    variant: str | None
    text: str
    tokens: int


class Load:
    """A closed loop of clients, each with one request at a time, until `stop`; every request is kept in `asked`."""

    def __init__(self, api: str, key: Mapping[str, str], tokens: int) -> None:
        self.asked: list[Asked] = []
        self._api, self._key, self._tokens = api, key, tokens
        self._numbers = itertools.count()

    async def run(self, concurrency: int, over: Callable[[], bool], every_s: float = 0.05) -> None:
        """Ask until `over`, then let what is in flight end."""
        stopped = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=HUNG_S)
        session = aiohttp.ClientSession(connector=connector, trust_env=False, timeout=timeout)
        async with session, asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._client(session, stopped))
            while not over():
                await asyncio.sleep(every_s)
            stopped.set()

    async def _client(self, session: aiohttp.ClientSession, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            asked = await self._ask(session, next(self._numbers))
            self.asked.append(asked)
            if asked.end != "whole":
                await asyncio.sleep(RETRY_S)

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> Asked:
        unit = f"unit-{number}"
        body = {
            "model": CHANNEL,
            "messages": [{"role": "user", "content": f"{QUESTIONS[number % len(QUESTIONS)]} ({number})"}],
            "user": unit,
            "max_tokens": self._tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        reader = Reader()
        headers: Mapping[str, str] = {}
        sent = time.monotonic()
        try:
            async with session.post(f"{self._api}/v1/chat/completions", json=body, headers=self._key) as response:
                if response.status == 200:
                    headers = response.headers
                    async for line in response.content:
                        reader.take(line.decode(), time.monotonic())
                    end = reader.end
                else:
                    end = refusal(response.status, response.headers, await response.text())
        except TimeoutError:
            end = "hung"
        except aiohttp.ClientError as error:
            end = f"broken ({type(error).__name__})"
        return Asked(
            unit=unit,
            sent=sent,
            first=reader.first,
            done=time.monotonic(),
            end=end,
            release=headers.get("x-thumbwheel-release"),
            variant=headers.get("x-thumbwheel-variant"),
            text="".join(reader.parts),
            tokens=reader.tokens,
        )


class Reader:
    """One streamed answer, line by line."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.first: float | None = None
        self.tokens = 0
        self.end = "ended without [DONE] or an error"

    def take(self, line: str, now: float) -> None:
        """One line of the stream, which came at `now`."""
        if not line.startswith("data:"):
            return
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            self.end = "whole" if self.end != "error event" else "[DONE] after an error"
            return
        chunk = json.loads(data)
        if "error" in chunk:
            self.end = "error event"
            return
        self.tokens = (chunk.get("usage") or {}).get("completion_tokens", self.tokens)
        for choice in chunk["choices"]:
            part = choice["delta"].get("content") or ""
            if part and self.first is None:
                self.first = now
            self.parts.append(part)


def refusal(status: int, headers: Mapping[str, str], text: str) -> str:
    """What an answer that is no 200 is: `503` where it is as the interface says, else what is wrong with it."""
    try:
        error = json.loads(text)["error"]
        shaped = {"message", "type", "param", "code"} <= set(error)
    except (ValueError, KeyError, TypeError):
        shaped = False
    if status == 503 and shaped and "retry-after" in headers:
        return "503"
    return f"status {status}" + ("" if shaped else ", not in OpenAI's shape")


def shows_another(asked: Asked, words: Mapping[str, str]) -> bool:
    """Whether the answer, as far as it came, is not its release's; `words` are by release."""
    said = set(asked.text.split())
    return bool(said) and said != {words.get(asked.release or "")}


def window(asked: Sequence[Asked], words: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """What one stretch of the load shows, per release: counts, milliseconds to the first token, tokens a second."""
    found: dict[str, Any] = {"seconds": round(seconds, 2), "requests": len(asked)}
    found["ends"] = dict(Counter(one.end for one in asked))
    found["wrong"] = sum(shows_another(one, words) for one in asked)
    found["releases"] = {}
    for release, word in words.items():
        own = [one for one in asked if one.release == release]
        whole = [one for one in own if one.end == "whole"]
        waits = [1e3 * (one.first - one.sent) for one in whole if one.first is not None]
        tokens = sum(one.tokens for one in whole)
        found["releases"][release] = {
            "word": word,
            "variant": "/".join(sorted({str(one.variant) for one in own})),
            "n": len(whole),
            "ttft_ms": {f"p{q}": round(float(np.percentile(waits, q)), 1) for q in (50, 95)} if waits else None,
            "tokens": tokens,
            "tokens_per_s": round(tokens / seconds, 2),
            "errors": len(own) - len(whole),
            "wrong": sum(shows_another(one, words) for one in own),
        }
    return found


def ratio(found: Mapping[str, Any]) -> float | None:
    """The larger p95 first token by the smaller; None where one release has too few answers to say."""
    releases = list(found["releases"].values())
    if any(one["n"] < ENOUGH or not one["ttft_ms"] for one in releases):
        return None
    low, high = sorted(one["ttft_ms"]["p95"] for one in releases)
    return float(high / low)


def broken(figures: Mapping[str, Any]) -> list[str]:
    """Which conditions do not hold, in words; empty where all do."""
    found = []
    for name in ("peace", "after"):
        part = figures[name]
        if part["p95_ratio"] is None:
            found.append(f"{name}: too few answers of a release to compare")
        elif part["p95_ratio"] > MOST:
            found.append(f"{name}: one release's p95 first token is {part['p95_ratio']:.2f} times the other's")
        failed = {end: n for end, n in part["ends"].items() if end != "whole"}
        if failed:
            found.append(f"{name}: requests failed: {failed}")
        found += [f"{name}: {who} loaded {n} adapters after the warm-up" for who, n in part["loads"].items() if n]
    for name in ("warm-up", "recovery"):
        for who, n in figures["loads"][name].items():
            if n != len(WORDS):
                found.append(f"{name}: {who} noted {n} loads for {len(WORDS)} adapters")
    unclean = {end: n for end, n in figures["gap"]["ends"].items() if end not in CLEAN}
    if unclean:
        found.append(f"gap: requests failed uncleanly: {unclean}")
    for name in ("warm-up", "peace", "before", "gap", "after"):
        if figures[name]["wrong"]:
            found.append(f"{name}: {figures[name]['wrong']} answers show another release than their header")
    if figures["rollout"]["state"] != "running":
        found.append(f"the rollout is {figures['rollout']['state']}: {figures['rollout']['reasons']}")
    return found


def table(figures: Mapping[str, Any]) -> str:
    """The windows in Markdown."""
    lines = [
        "| window | release | answers | first token p50, p95 (ms) | tokens/s | errors | wrong |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in ("peace", "before", "gap", "after"):
        for one in figures[name]["releases"].values():
            waits = one["ttft_ms"] and f"{one['ttft_ms']['p50']:.0f}, {one['ttft_ms']['p95']:.0f}"
            lines.append(
                f"| {name}, {figures[name]['seconds']:.0f} s | {one['variant']} ({one['word']}) | {one['n']} "
                f"| {waits or '-'} | {one['tokens_per_s']} | {one['errors']} | {one['wrong']} |"
            )
    for name in ("peace", "after"):
        lines.append(f"\n{name}: p95 ratio {figures[name]['p95_ratio']}, loads {figures[name]['loads']}")
    kill = figures["kill"]
    lines.append(
        f"kill: first answer after {kill['first_answer_s']} s, both releases after {kill['both_s']} s; "
        f"until then {figures['gap']['ends']}; loads {figures['loads']['recovery']}"
    )
    return "\n".join(lines)


# the service


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

    load = Load(service.endpoint("api"), service.key("app"), options.tokens)
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
        service = Service(folder / "home", None, service_environment(model), folder / "up.out")
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
