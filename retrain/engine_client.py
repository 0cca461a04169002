"""Asks an engine for answers and log-probabilities as its users' requests would, politely and through its restarts.

Every answer is noted in a file, so an evaluation that is killed goes on where it was. An engine that is away is waited
for; a release that it cannot serve is told apart from a request that it will not take by asking the base the same.

It knows OpenAI's chat route, vLLM's `prompt_logprobs` beside it, and nothing of what the answers are for.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from thumbwheel.errors import ClientRejected, EngineUnreachable, ReleaseFailed
from thumbwheel.records import Engine

ROUTE = "/v1/chat/completions"
AWAY = (502, 503, 504)
STRIKES = 3  # server errors in a row, with the base answering between them, that make it the release's doing
PAUSE_S = 1.0
REQUEST_TIMEOUT_S = 300.0

Message = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """A generated answer, and the number of tokens of the prompt it was given to."""

    text: str
    finish_reason: str | None
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Position:
    """One token of an answer that was given to the model: its log-probability, and the most likely tokens' there."""

    logprob: float  # nats; NaN where the engine gave no number
    top: Mapping[str, float]  # token id -> log-probability, empty unless asked for


class Notebook:
    """Answers by request, one JSON line each, in a file that only grows. Half a line at its end is ignored."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._entries: dict[str, Any] = {}
        torn = False
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    torn = True  # the writer was killed here
                    continue
                self._entries[entry["key"]] = entry["value"]
        self._file = path.open("a", encoding="utf-8")
        if torn:
            self._file.write("\n")
        path.chmod(0o600)

    def get(self, key: str) -> Any:
        """What was noted under `key`, or None."""
        return self._entries.get(key)

    def put(self, key: str, value: Any) -> None:
        """Note `value`, which must be JSON."""
        self._entries[key] = value
        self._file.write(json.dumps({"key": key, "value": value}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def request_key(body: Mapping[str, Any]) -> str:
    """The same request, the same key."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class EngineClient:
    """An asynchronous client of one engine. `locate` says where it is now, or None while there is none.

    At most `concurrency` requests are in flight; `pause_s` lies between tries. Methods raise EngineUnreachable after
    `outage_s` seconds without an answer, ReleaseFailed where the engine cannot serve `model` but serves the base, and
    ClientRejected for a request that neither takes (too long, say).
    """

    def __init__(
        self, locate: Callable[[], Engine | None], concurrency: int, outage_s: float, pause_s: float = PAUSE_S
    ) -> None:
        self._locate, self._outage_s, self._pause_s = locate, outage_s, pause_s
        self._places = asyncio.Semaphore(concurrency)
        self._stack = AsyncExitStack()
        self._http: httpx.AsyncClient | None = None
        self._reached: Engine | None = None
        self._answered_at = time.monotonic()
        self.asked = 0

    async def __aenter__(self) -> EngineClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def answers(
        self,
        notebook: Notebook,
        model: str | None,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        n: int = 1,
        seed: int = 0,
    ) -> list[Answer]:
        """`n` answers to `messages` by the release `model`; None is the engine's own base."""
        body = {
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
            "n": n,
            "seed": seed,
        }

        def read(reply: Any) -> list[Any]:
            usage = reply.get("usage") or {}
            counts = [usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)]
            return [
                [choice["message"].get("content") or "", choice.get("finish_reason"), *counts]
                for choice in reply["choices"]
            ]

        return [Answer(*entry) for entry in await self._noted(notebook, model, body, read)]

    async def positions(
        self,
        notebook: Notebook,
        model: str | None,
        messages: Sequence[Message],
        answer: str,
        *,
        prompt_tokens: int,
        top: int = 0,
    ) -> list[Position]:
        """The log-probability of each token of `answer` to `messages`, given those before it.

        `prompt_tokens` is the prompt's length with the assistant's turn opened; the end of the turn is not counted.
        """
        body = {
            "messages": [*messages, {"role": "assistant", "content": answer}],
            "add_generation_prompt": False,
            "continue_final_message": True,
            "prompt_logprobs": top,
            "max_tokens": 1,
            "temperature": 0.0,
        }

        def read(reply: Any) -> list[Any]:
            noted = []
            for entry in reply["prompt_logprobs"][prompt_tokens:]:
                values = {token: seen.get("logprob") for token, seen in entry.items()}
                own = next(iter(values.values()))  # the prompt's own token comes first, the likeliest ones after it
                noted.append([own, values if top else {}])
            return noted

        noted = await self._noted(notebook, model, body, read)
        return [Position(_number(own), {token: _number(value) for token, value in seen.items()}) for own, seen in noted]

    async def _noted(
        self, notebook: Notebook, model: str | None, body: dict[str, Any], read: Callable[[Any], list[Any]]
    ) -> list[Any]:
        """What the notebook holds under this request, or what the engine answers now."""
        key = request_key({"model": model, **body})
        held: list[Any] | None = notebook.get(key)
        if held is None:
            async with self._places:
                held = read(await self._ask(model, body))
            notebook.put(key, held)
        return held

    async def _ask(self, model: str | None, body: dict[str, Any]) -> Any:
        """The engine's answer, waiting for it while it is away."""
        strikes = 0
        while True:
            status, reply = await self._post(model, body)
            if status == 200:
                self._answered_at = time.monotonic()
                return reply
            if status is not None and status not in AWAY:
                # Whose fault is it? The base says: with it well, the release's; with it refusing too, the request's.
                base_status, base_reply = await self._post(None, body if status < 500 else _probe())
                if status in (400, 413, 422) and base_status == status:
                    raise ClientRejected(_error(base_reply), status=status)
                if base_status == 200:
                    self._answered_at = time.monotonic()
                    strikes += 1
                    if model is not None and (strikes >= STRIKES or status < 500):
                        raise ReleaseFailed(str(_error(reply).get("message", ""))[:300], status=status)
                    if model is None and strikes >= STRIKES:
                        raise EngineUnreachable(f"the engine answers with status {status} again and again")
            if time.monotonic() - self._answered_at > self._outage_s:
                raise EngineUnreachable(f"no engine has answered for {self._outage_s:g} s")
            await asyncio.sleep(self._pause_s)

    async def _post(self, model: str | None, body: dict[str, Any]) -> tuple[int | None, Any]:
        """Status and JSON of one attempt; (None, None) where no whole answer came."""
        client, engine = await self._connected()
        if client is None or engine is None:
            return None, None
        self.asked += 1
        try:
            response = await client.post(ROUTE, json={**body, "model": model or engine.base_name})
            return response.status_code, response.json()
        except httpx.TransportError:
            await self._forget(client)
            return None, None
        except ValueError:  # a body that is no JSON: an error page, or NaN
            return 500, {}

    async def _connected(self) -> tuple[httpx.AsyncClient | None, Engine | None]:
        if self._http is None:
            engine = self._locate()
            if engine is None:
                return None, None
            transport = httpx.AsyncHTTPTransport(uds=engine.socket)
            self._http = await self._stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url=engine.url, timeout=REQUEST_TIMEOUT_S)
            )
            self._reached = engine
        return self._http, self._reached

    async def _forget(self, client: httpx.AsyncClient) -> None:
        """A connection broke: the engine may come back elsewhere. The old client is closed with the rest."""
        if self._http is client:
            self._http = None


def _probe() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0.0}


def _error(reply: Any) -> dict[str, Any]:
    error = reply.get("error") if isinstance(reply, dict) else None
    return error if isinstance(error, dict) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
