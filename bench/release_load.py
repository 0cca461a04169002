"""Clients in a closed loop against a channel, each request kept with how it ended and what was said.

It knows the interface as any client does: streams of chat completions, and errors in OpenAI's shape. It knows nothing
of releases but the name that a header gives.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

HUNG_S = 90.0  # over the gateway's ten seconds of waiting and the slowest answer seen (20 s) by far
RETRY_S = 1.0  # as the gateway's retry-after says
QUESTIONS = ("What goes well with tea?", "Where is my parcel?", "Name a river.", "How do I fold a map?")
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

    def __init__(self, channel: str, api: str, key: Mapping[str, str], tokens: int) -> None:
        self.asked: list[Asked] = []
        self._channel, self._api, self._key, self._tokens = channel, api, key, tokens
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
            "model": self._channel,
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
