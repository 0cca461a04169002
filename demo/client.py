"""An application's view of the service, written from its interface page alone: asking, feedback, administration.

It finds the service by the data directory (`endpoints.json`, `keys/`). A request that fails is data here, not an
exception: the desk counts it, and never asks again to make it look well. It knows nothing of how the service works.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ASK_TIMEOUT_S = 120.0
ADMIN_TIMEOUT_S = 30.0
CONNECTIONS = 64
POLL_S = 0.5
TRIES, RETRY_S = 5, 1.0  # of feedback and administration; questions are asked once

Message = Mapping[str, str]


class DemoError(Exception):
    """The play cannot go on; the message says what happened and what to do."""


class NotThere(DemoError):
    """No service answers from the data directory."""


@dataclass(frozen=True)
class Address:
    """Where the service listens, and the keys to it."""

    api: str
    admin: str
    app_key: str
    admin_key: str


@dataclass(frozen=True)
class Answer:
    """What came of one question. `error` is None exactly when a whole answer came; times are monotonic seconds."""

    text: str
    inference: str | None
    release: str | None
    variant: str | None
    token: str | None
    error: str | None
    sent: float
    done: float


@dataclass(frozen=True)
class Receipt:
    """What the service said to one feedback; `id` is set when it acknowledged it with a 202."""

    status: int
    id: str | None
    message: str | None


@dataclass
class Tally:
    """Questions asked and those that got no whole answer, with what went wrong with the latest of them."""

    asked: int = 0
    failed: int = 0
    errors: list[str] = field(default_factory=list)


def find(home: Path) -> Address:
    """Read where the service of `home` listens. Raises NotThere."""
    try:
        endpoints = json.loads((home / "endpoints.json").read_text())
        keys = [(home / "keys" / name).read_text().strip() for name in ("app.key", "admin.key")]
    except FileNotFoundError as error:
        raise NotThere(f"no service runs from {home}: {Path(error.filename).name} is not there") from None
    return Address(endpoints["api"], endpoints["admin"], *keys)


class Client:
    """Connections to one service. `open` it first; who opened it closes it.

    `poll_s` is how often, in seconds, whoever waits for something looks at it.
    """

    def __init__(self, address: Address, poll_s: float = POLL_S) -> None:
        self.address, self.poll_s = address, poll_s
        self.tally = Tally()

    async def open(self) -> Client:
        """Make room for connections, and return it."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS), trust_env=False)
        return self

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def alive(self) -> bool:
        """Whether the API answers at all."""
        return await self._probe("/healthz")

    async def ready(self) -> bool:
        """Whether a real token has come from every channel's stable release; False too while nothing listens."""
        return await self._probe("/readyz")

    async def _probe(self, path: str) -> bool:
        try:
            timeout = aiohttp.ClientTimeout(total=5.0)
            async with self._session.get(self.address.api + path, timeout=timeout) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def ask(
        self, channel: str, messages: Sequence[Message], user: str, max_tokens: int, stream: bool = False
    ) -> Answer:
        """Ask `channel` at temperature 0 as `user`, who is the unit. A failure is counted and returned, not raised."""
        body = {
            "model": channel,
            "messages": list(messages),
            "user": user,
            "max_tokens": max_tokens,
            "temperature": 0,
            "stream": stream,
        }
        sent = time.monotonic()
        headers: Mapping[str, str] = {}
        inference, text, error = None, "", None
        try:
            async with self._session.post(
                f"{self.address.api}/v1/chat/completions",
                json=body,
                headers={"authorization": f"Bearer {self.address.app_key}"},
                timeout=aiohttp.ClientTimeout(total=ASK_TIMEOUT_S),
            ) as response:
                headers = response.headers
                if response.status != 200:
                    error = f"{response.status}: {_message(await response.text())}"
                elif stream:
                    inference, text, error = await _read_stream(response)
                else:
                    inference, text = read_completion(await response.json())
        except (aiohttp.ClientError, TimeoutError) as trouble:
            error = f"{type(trouble).__name__}: {trouble}"
        except (ValueError, KeyError, TypeError, IndexError) as trouble:
            error = f"not an answer in OpenAI's shape ({type(trouble).__name__}: {trouble})"
        self.tally.asked += 1
        if error is not None:
            self.tally.failed += 1
            self.tally.errors.append(error)
        return Answer(
            text=text,
            inference=inference,
            release=headers.get("x-thumbwheel-release"),
            variant=headers.get("x-thumbwheel-variant"),
            token=headers.get("x-thumbwheel-feedback-token"),
            error=error,
            sent=sent,
            done=time.monotonic(),
        )

    async def feedback(self, body: Mapping[str, object], token: str | None = None) -> Receipt:
        """Send feedback by its token alone, else by the application's key. Raises DemoError when nothing answers."""
        if token is not None:
            headers = {"x-thumbwheel-feedback-token": token}
        else:
            headers = {"authorization": f"Bearer {self.address.app_key}"}
        status, content = await self._exchange("POST", f"{self.address.api}/v1/feedback", headers, body)
        if status == 202:
            return Receipt(status, content["id"], None)
        return Receipt(status, None, content["error"]["message"])

    async def admin(self, method: str, path: str, body: object | None = None) -> tuple[int, Any]:
        """One request to the admin API; `path` follows /admin/v1. Raises DemoError when nothing answers."""
        headers = {"authorization": f"Bearer {self.address.admin_key}"}
        return await self._exchange(method, f"{self.address.admin}/admin/v1{path}", headers, body)

    async def demand(self, method: str, path: str, body: object | None = None) -> Any:
        """As `admin`, for what must succeed. Raises DemoError with the service's own words where it does not."""
        status, content = await self.admin(method, path, body)
        if not 200 <= status < 300:
            raise DemoError(f"{method} {path} was answered {status}: {_message(json.dumps(content))}")
        return content

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], body: object | None
    ) -> tuple[int, Any]:
        # A short outage of a listener is the supervisor's to mend. Repeating is safe: what is not idempotent (a run, a
        # rollout) is answered 409 the second time.
        for attempt in range(TRIES):
            try:
                async with self._session.request(
                    method, url, json=body, headers=headers, timeout=aiohttp.ClientTimeout(total=ADMIN_TIMEOUT_S)
                ) as response:
                    text = await response.text()
                    if response.status != 503 or attempt == TRIES - 1:
                        return response.status, json.loads(text)
            except (aiohttp.ClientError, TimeoutError) as error:
                if attempt == TRIES - 1:
                    raise DemoError(f"the service does not answer {method} {url}: {error}") from error
            except ValueError as error:
                raise DemoError(f"{method} {url} was not answered in JSON: {text[:200]}") from error
            await asyncio.sleep(RETRY_S)
        raise AssertionError("unreachable")


def read_completion(body: Mapping[str, Any]) -> tuple[str, str]:
    """The inference id and the text of a whole answer. Raises KeyError, IndexError or TypeError for another shape."""
    return body["id"], body["choices"][0]["message"]["content"] or ""


async def _read_stream(response: aiohttp.ClientResponse) -> tuple[str | None, str, str | None]:
    """Inference id, text and error of a streamed answer; without its `[DONE]` it is no whole answer."""
    inference: str | None = None
    parts: list[str] = []
    async for raw in response.content:
        line = raw.decode("utf-8").strip()
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return inference, "".join(parts), None
        chunk = json.loads(data)
        if "error" in chunk:
            return inference, "".join(parts), f"in the stream: {chunk['error']['message']}"
        inference = chunk["id"]
        for choice in chunk["choices"]:
            parts.append(choice["delta"].get("content") or "")
    return inference, "".join(parts), "the stream ended without [DONE]"


def _message(text: str) -> str:
    """The message of an error in OpenAI's shape, else the text's beginning."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
