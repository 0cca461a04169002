"""Asks an OpenAI-compatible server for answers: bounded in requests under way, bytes, time and tries.

What may be over soon (no connection, too slow, 408, 429, 5xx) is tried again after a pause that doubles, or as long as
the server asks for; what will not (a key that it does not take, a request that it refuses) is not. Once several
questions in a row have failed on what is the server's affair, or at its first word that it does not take the key, the
rest is not asked. Every failure is a value with a reason, which is counted; none of the server's words go into it.

It knows nothing of what is asked, nor of what becomes of the answers.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx

from thumbwheel.errors import InvalidRequest, JobError
from thumbwheel.settings import Settings

AGAIN = frozenset({408, 409, 425, 429})
NO_ENTRY = frozenset({401, 403})
UNREACHABLE, TOO_SLOW, TOO_LARGE = "unreachable", "too_slow", "too_large"
MALFORMED, NO_ANSWER, CUT_OFF, NOT_ASKED = "malformed", "no_answer", "cut_off", "not_asked"

Sleep = Callable[[float], Awaitable[None]]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Server:
    """Where a model answers: `url` with or without /v1 at its end, and what to ask it for."""

    url: str
    model: str


@dataclass(frozen=True)
class Patience:
    """How much is asked at a time, how long each try may take, and when one gives up. Times in seconds."""

    in_flight: int = 4
    timeout_s: float = 60.0
    tries: int = 4  # of one question
    first_wait_s: float = 1.0
    most_wait_s: float = 30.0
    in_a_row: int = 5  # questions that failed on the server's account, before the rest is not asked
    most_bytes: int = 4 * 1024 * 1024  # of one answer's body


@dataclass(frozen=True)
class Said:
    """An answer. `version` is what the server calls the model that gave it; `headers` are in lower case."""

    text: str
    version: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Failed:
    """No answer, and why: a word to count by. `passing` says that it is the server's affair and may be over soon."""

    reason: str
    passing: bool = False
    wait_s: float | None = None  # as long as the server asks to wait


Question = Mapping[str, Any]
"""What is posted, but for the model."""


@dataclass(frozen=True)
class Route(Generic[Answer]):
    """Where a question is posted, under /v1, and what the body of a 200 says, with its headers in lower case."""

    path: str
    read: Callable[[Mapping[str, str], bytes], Answer | Failed]


def read(route: Route[Answer], status: int, headers: Mapping[str, str], body: bytes) -> Answer | Failed:
    """What an HTTP answer of the route says."""
    if status == 200:
        return route.read(headers, body)
    passing = status in AGAIN or status >= 500
    return Failed(f"http_{status}", passing, _seconds(headers.get("retry-after")) if passing else None)


def _said(headers: Mapping[str, str], body: bytes) -> Said | Failed:
    try:
        said = json.loads(body)
        choice = said["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return Failed(MALFORMED)
    if text is None or (isinstance(text, str) and not text.strip()):
        return Failed(NO_ANSWER)
    if not isinstance(text, str):
        return Failed(MALFORMED)
    if ended == "length":
        return Failed(CUT_OFF)
    return Said(text, version_in(said), headers)


def version_in(said: Mapping[str, Any]) -> str:
    """What the server calls the model that answered, as its answer says."""
    named = [said.get(key) for key in ("model", "system_fingerprint")]
    return " ".join(one for one in named if isinstance(one, str) and one) or "unknown"


CHAT: Route[Said] = Route("chat/completions", _said)


def pause_s(tries: int, asked_s: float | None, patience: Patience) -> float:
    """How long to wait after so many tries: what the server asked for, or twice as long each time; bounded."""
    wait_s = patience.first_wait_s * 2 ** (tries - 1) if asked_s is None else asked_s
    return min(wait_s, patience.most_wait_s)


def _seconds(text: str | None) -> float | None:
    """A `retry-after` in seconds; a date, or anything else, is none."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def ask_all(
    http: httpx.AsyncClient,
    server: Server,
    questions: Sequence[Question],
    patience: Patience,
    sleep: Sleep = asyncio.sleep,
) -> AsyncGenerator[tuple[int, Said | Failed], None]:
    """As `post_all`, of the chat route."""
    return post_all(http, server, CHAT, questions, patience, sleep)


async def post_all(
    http: httpx.AsyncClient,
    server: Server,
    route: Route[Answer],
    questions: Sequence[Question],
    patience: Patience,
    sleep: Sleep = asyncio.sleep,
) -> AsyncGenerator[tuple[int, Answer | Failed], None]:
    """Each question's place and what came of it, as it comes; those under way are ended where nobody listens on."""
    left = list(reversed(range(len(questions))))
    under_way: dict[asyncio.Task[Answer | Failed], int] = {}
    in_a_row, over = 0, False
    try:
        while left or under_way:
            while left and not over and len(under_way) < patience.in_flight:
                place = left.pop()
                asking = _ask(http, server, route, questions[place], patience, sleep)
                under_way[asyncio.create_task(asking)] = place
            if not under_way:
                break
            done, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=lambda task: under_way[task]):
                place, found = under_way.pop(task), task.result()
                in_a_row = in_a_row + 1 if isinstance(found, Failed) and found.passing else 0
                no_entry = isinstance(found, Failed) and found.reason in {f"http_{status}" for status in NO_ENTRY}
                over = over or no_entry or in_a_row >= patience.in_a_row
                yield place, found
        for place in reversed(left):
            yield place, Failed(NOT_ASKED)
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _ask(
    http: httpx.AsyncClient,
    server: Server,
    route: Route[Answer],
    question: Question,
    patience: Patience,
    sleep: Sleep,
) -> Answer | Failed:
    tries = 0
    while True:
        tries += 1
        found = await _try(http, server, route, question, patience)
        if not isinstance(found, Failed) or not found.passing or tries >= patience.tries:
            return found
        await sleep(pause_s(tries, found.wait_s, patience))


async def _try(
    http: httpx.AsyncClient, server: Server, route: Route[Answer], question: Question, patience: Patience
) -> Answer | Failed:
    try:
        async with asyncio.timeout(patience.timeout_s):
            body = {**question, "model": server.model}
            async with http.stream("POST", _url(server, route.path), json=body) as response:
                raw = await _whole(response, patience.most_bytes)
    except TimeoutError:
        return Failed(TOO_SLOW, passing=True)
    except httpx.HTTPError:
        return Failed(UNREACHABLE, passing=True)
    if raw is None:
        return Failed(TOO_LARGE)
    return read(route, response.status_code, {key.lower(): value for key, value in response.headers.items()}, raw)


async def _whole(response: httpx.Response, most_bytes: int) -> bytes | None:
    """The body, or None where it is larger."""
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > most_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def configured(settings: Settings, otherwise: str = "") -> tuple[Server, Patience]:
    """The server that the settings name, and how long it is waited for; `otherwise` is what else could be asked.

    Raises InvalidRequest without one, JobError where it lists no model.
    """
    if settings.teacher is None:
        raise InvalidRequest(f"The setting `teacher` names no server to ask. Name one{otherwise}.")
    patience = Patience(timeout_s=settings.teacher_timeout_s)
    model = settings.teacher_model or asyncio.run(first_model(settings.teacher, settings.teacher_key, patience))
    return Server(settings.teacher, model), patience


async def first_model(url: str, key: str | None, patience: Patience) -> str:
    """The first model that the server lists. Raises JobError, also where it lists none."""
    try:
        async with asyncio.timeout(patience.timeout_s), client(key, 1) as http:
            response = await http.get(_url(Server(url, ""), "models"))
            response.raise_for_status()
            return str(response.json()["data"][0]["id"])
    except httpx.HTTPStatusError as error:
        raise JobError(f"The teacher answers {error.response.status_code} to GET /v1/models.") from error
    except (TimeoutError, httpx.HTTPError) as error:
        raise JobError(f"The teacher does not answer ({type(error).__name__}).") from error
    except (ValueError, LookupError, TypeError) as error:
        raise JobError("The teacher lists no model; name one with the setting `teacher_model`.") from error


def client(key: str | None, in_flight: int) -> httpx.AsyncClient:
    """What talks to the server; `key` is a bearer token. It follows no redirect, which would lead the key elsewhere."""
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    return httpx.AsyncClient(headers=headers, timeout=None, limits=limits, trust_env=False)


def _url(server: Server, name: str) -> str:
    return f"{server.url.rstrip('/').removesuffix('/v1')}/v1/{name}"
