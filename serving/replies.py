"""Answers of the gateway over bare ASGI: JSON, and every error in OpenAI's shape without path, address or stack."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from thumbwheel.errors import (
    ArtifactError,
    EngineError,
    InvalidRequest,
    LostRace,
    MethodNotAllowed,
    RequestError,
    StoreUnavailable,
    ThumbwheelError,
    TooLarge,
    Unavailable,
    UnsupportedMedia,
)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

MAX_DEPTH = 64
BODY_PAUSE_S = 30.0  # the longest that a client may pause in the middle of its body
RETRY_AFTER_S = 2
EVENT_STREAM = b"text/event-stream; charset=utf-8"


class ClientLeft(Exception):
    """The connection is gone; nobody reads an answer. Never leaves this package."""


def as_request_error(error: ThumbwheelError) -> RequestError:
    """What a caller is told of an error that is not of its making."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, StoreUnavailable):
        return Unavailable(
            "The service cannot write or read its records just now. Try again shortly.",
            code="store_unavailable",
            retry_after=RETRY_AFTER_S,
        )
    if isinstance(error, LostRace):
        return Unavailable("Another change came in between. Try again.", code="changed_meanwhile", retry_after=1)
    if isinstance(error, EngineError):
        return Unavailable(
            "No engine can answer just now. Try again shortly.", code="engine_unavailable", retry_after=RETRY_AFTER_S
        )
    if isinstance(error, ArtifactError):
        return InvalidRequest("A stored result that this needs is missing or damaged.", code="artifact_unusable")
    return Unavailable("The service cannot do this just now.", retry_after=RETRY_AFTER_S)


def internal_error() -> dict[str, dict[str, str | None]]:
    """The body of a 500: what happened is in the log, not here."""
    message = "The service failed to handle this request. It has been logged."
    return {"error": {"message": message, "type": "server_error", "param": None, "code": "internal_error"}}


def error_headers(error: RequestError) -> list[tuple[bytes, bytes]]:
    """`retry-after` or `allow` where the error has one."""
    found = [] if error.retry_after is None else [(b"retry-after", str(error.retry_after).encode())]
    if isinstance(error, MethodNotAllowed):
        found.append((b"allow", ", ".join(error.allow).encode()))
    return found


async def send_json(send: Send, status: int, body: object, headers: Headers = ()) -> None:
    """A whole JSON answer."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    fixed = [(b"content-type", b"application/json"), (b"content-length", str(len(raw)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers]})
    await send({"type": "http.response.body", "body": raw})


class Reply:
    """Passes an answer on and knows how far it got, so that what fails half-way is still told in the right form.

    `request_id` is the client's own, or else what it is told when there is one to tell.
    """

    def __init__(self, send: Send, request_id: str | None) -> None:
        self._send = send
        self._streams = False
        self._ended = False
        self.begun = False  # the first byte has gone out
        self.request_id = request_id

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.begun = True
            self._streams = (b"content-type", EVENT_STREAM) in message["headers"]
        else:
            self._ended = not message.get("more_body", False)
        await self._send(message)

    async def fail(self, status: int, body: object, headers: Headers = ()) -> None:
        """End with an error: a whole answer before the first byte, after it a stream's last event, without `[DONE]`."""
        if not self.begun:
            await send_json(self.send, status, body, headers)
        elif self._streams and not self._ended:
            await self.send({"type": "http.response.body", "body": b"data: " + msgspec.json.encode(body) + b"\n\n"})


def header(scope: Scope, name: bytes) -> str | None:
    """The last header of that name (lower case), or None."""
    found = None
    for key, value in scope["headers"]:
        if key == name:
            found = value
    return None if found is None else str(found, "latin-1")


async def read_json(scope: Scope, receive: Receive, max_bytes: int) -> dict[str, Any]:
    """The request's JSON object. Raises UnsupportedMedia, TooLarge, InvalidRequest, ClientLeft."""
    kind = (header(scope, b"content-type") or "").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMedia("Send the body as JSON, with the header `content-type: application/json`.")
    return parse_object(await _read(scope, receive, max_bytes))


async def _read(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    too_large = TooLarge(f"The body is over the limit of {max_bytes} bytes.", code="request_too_large")
    length = header(scope, b"content-length")
    if length is not None and length.isdigit() and int(length) > max_bytes:
        raise too_large
    parts, size, more = [], 0, True
    while more:
        try:
            message = await asyncio.wait_for(receive(), BODY_PAUSE_S)
        except TimeoutError:
            raise InvalidRequest("The body did not arrive in time.", code="request_timeout") from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_bytes:
            raise too_large
        more = message.get("more_body", False)
    return b"".join(parts)


def parse_object(raw: bytes) -> dict[str, Any]:
    """A JSON object that is not nested too deeply. Raises InvalidRequest."""
    deep = InvalidRequest(f"The body is nested too deeply: {MAX_DEPTH} levels are the limit.", code="nested_too_deeply")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = "" if isinstance(error, UnicodeDecodeError) else f" ({error})"
        raise InvalidRequest(f"The body is no valid JSON in UTF-8{reason}.", code="malformed_json") from error
    except RecursionError as error:
        raise deep from error
    if not isinstance(value, dict):
        raise InvalidRequest("The body is a JSON object.", code="malformed_json")
    # Without more brackets than the limit nothing can be too deep; most requests stop here.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise deep
    return value


def _deeper_than(value: object, limit: int) -> bool:
    level: list[object] = [value]
    for _ in range(limit):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = below
    return any(isinstance(item, dict | list) for item in level)
