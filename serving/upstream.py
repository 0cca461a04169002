"""The way to an engine: requests over its Unix socket or URL, and what its answers mean.

An engine's error is sorted here, once, into one of three: nobody there (EngineUnreachable), the release's doing
(ReleaseFailed: unknown name, adapter refused, 5xx), or the client's (ClientRejected: every other 4xx, and 501, which
vLLM gives to parameters it has no code for). A 400 is the release's only where its text is, word for word, what vLLM
says of an adapter that it could not load: a client cannot make an engine say that of a release that has answered.
What an engine tells a client to do with the server's flags is left out, or said in the client's own terms.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import msgspec

from serving.asking import CHAT_PATH
from thumbwheel.errors import ClientRejected, EngineError, EngineTooSlow, EngineUnreachable, ReleaseFailed
from thumbwheel.records import Engine, Release

CONNECT_S = 2.0
MAX_LINE = 16 * 1024 * 1024  # one event of a stream
MAX_ERROR_CHARS = 1_000
CONTEXT_LENGTH = "maximum context length"
MORE_THAN_FITS = re.compile(r"(max_(?:completion_)?tokens)=(\d+) cannot be greater than max_model_len=(\d+)")
TOOL_FLAGS = ("--tool-call-parser", "--enable-auto-tool-choice")
NO_TOOLS = 'The model of this channel calls no tools. Leave `tools` out, or send `tool_choice: "none"`.'
SERVER_FLAG = re.compile(r"(?<!\S)[`(']*--[a-z]+(-[a-z]+)+")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Target:
    """A release on an engine."""

    engine: Engine
    release: Release

    @property
    def name(self) -> str:
        """What the engine knows the release by."""
        return self.engine.name_of(self.release)


class Upstream:
    """Connections to engines, one pool for each engine's incarnation. Use within one event loop."""

    def __init__(self, key: str | None) -> None:
        # How long an answer may take is the caller's to say: it knows when it is the client that is waited for.
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        self._key = key
        self._sessions: dict[tuple[str, str], aiohttp.ClientSession] = {}

    @asynccontextmanager
    async def post(
        self, target: Target, path: str, body: dict[str, object], request_id: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask; the response is a 200 whose body is still to be read. Leaving the block early cancels the work.

        Raises EngineUnreachable, ReleaseFailed, ClientRejected, also for trouble while the body is read in the block.
        """
        headers = {"content-type": "application/json", "x-request-id": request_id}
        payload = msgspec.json.encode({**body, "model": target.name})
        session = self._session(target.engine)
        with translated():
            response = await session.post(target.engine.url + path, data=payload, headers=headers)
            try:
                if response.status != 200:
                    raise sort_error(response.status, await response.read(), target)
                yield response
            finally:
                # Closed, not given back: an answer that was not read to its end still runs in the engine.
                if not response.content.at_eof():
                    response.close()
                response.release()

    async def get(self, engine: Engine, path: str) -> tuple[int, str, bytes]:
        """A GET on the engine: status, content type, body. Raises EngineUnreachable."""
        with translated():
            async with self._session(engine).get(engine.url + path, timeout=aiohttp.ClientTimeout(10)) as response:
                return response.status, response.content_type, await response.read()

    async def close(self) -> None:
        """Close all connections."""
        while self._sessions:
            await self._sessions.popitem()[1].close()

    def _session(self, engine: Engine) -> aiohttp.ClientSession:
        key = (engine.id, engine.incarnation)
        if key not in self._sessions:
            # Without a limit: who may wait is decided before this, and aiohttp's own would queue silently at 100.
            path = engine.socket
            connector = aiohttp.UnixConnector(path, limit=0) if path else aiohttp.TCPConnector(limit=0)
            headers = {"authorization": f"Bearer {self._key}"} if self._key and engine.kind == "upstream" else {}
            self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                headers=headers,
                trust_env=False,
                auto_decompress=True,
                read_bufsize=256 * 1024,
            )
        return self._sessions[key]


@contextmanager
def translated() -> Iterator[None]:
    """Turns aiohttp's and the system's errors into EngineUnreachable or EngineTooSlow."""
    try:
        yield
    except aiohttp.ServerTimeoutError as error:
        raise EngineUnreachable("the engine takes no connections") from error
    except TimeoutError as error:
        raise EngineTooSlow("the engine took too long") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnreachable(f"the engine is away ({type(error).__name__})") from error


def sort_error(status: int, raw: bytes, target: Target) -> EngineError:
    """What an engine's error answer means."""
    answer = _json_object(raw)
    inner = answer.get("error")
    payload = inner if isinstance(inner, dict) else answer
    message = str(payload.get("message") or f"the engine answered {status}")[:MAX_ERROR_CHARS]
    failed = status == 404 or status in (401, 403, 429) or (status >= 500 and status != 501)
    if failed or message == f"LoRA adapter '{target.name}' was found but could not be loaded.":
        return ReleaseFailed(f"the engine answered {status}", status=status, said=message)
    shown = message.replace(target.name, target.release.channel) if target.release.served_name else message
    more = MORE_THAN_FITS.match(message)
    if more is not None:  # in words that do not speak of the engine's settings
        shown = f"`{more[1]}` of {more[2]} is more than this model's maximum context length of {more[3]} tokens."
    code = "context_length_exceeded" if CONTEXT_LENGTH in shown else payload.get("code")
    param = payload.get("param")
    if any(flag in message for flag in TOOL_FLAGS):
        shown, code, param = NO_TOOLS, "unsupported_field", "tools"
    return ClientRejected(
        {
            "message": _without_flags(shown),
            "type": "invalid_request_error",
            "param": param if isinstance(param, str) else None,
            "code": code if isinstance(code, str) else None,
        },
        status=status if status in (413, 415, 422) else 400,
    )


def _without_flags(message: str) -> str:
    """The message less what it says of the server's own flags, which no client can set."""
    kept = [sentence for sentence in SENTENCE_END.split(message) if not SERVER_FLAG.search(sentence)]
    return " ".join(kept) or "The engines here are not set up for what this request asks."


def _json_object(raw: bytes) -> dict[str, object]:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The data of each server-sent event. Raises EngineUnreachable where the stream breaks off."""
    lines: list[bytes] = []
    rest = b""
    with translated():
        async for chunk in response.content.iter_any():
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_LINE:
                raise EngineUnreachable("the engine sent an event that is too long")
            for line in whole:
                line = line.rstrip(b"\r")
                if line.startswith(b"data:"):
                    lines.append(line[5:].lstrip(b" "))
                elif not line and lines:
                    yield b"\n".join(lines)
                    lines = []
    if lines:
        yield b"\n".join(lines)


async def first_token(upstream: Upstream, target: Target, timeout_s: float) -> None:
    """Get one real token of the release from the engine. Raises EngineError."""
    body: dict[str, object] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1, "temperature": 0}
    with translated():
        async with asyncio.timeout(timeout_s), upstream.post(target, CHAT_PATH, body, "probe") as response:
            answer = _json_object(await response.read())
    usage, choices = answer.get("usage"), answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise ReleaseFailed("the engine's answer has no choices", status=200)
    if isinstance(usage, dict) and not usage.get("completion_tokens"):
        raise ReleaseFailed("no token came", status=200)
