"""ASGI middleware that opens an engine's listed routes and no other: `--middleware serving.engine_guard.EngineGuard`.

vLLM's server has more routes than anyone should reach, and the flag that the adapter resolver needs adds some that load
and unload adapters. What is not listed here is 404 before vLLM sees it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN_ROUTES = frozenset(
    {
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/completions"),
        ("GET", "/v1/models"),
        ("GET", "/health"),
        ("GET", "/metrics"),
    }
)
_BODY = b'{"error":{"message":"no such route","type":"invalid_request_error","param":null,"code":null}}'


def is_open(method: str, path: str) -> bool:
    """Whether a request may pass: an exact match, so no encoding, trailing slash or dot segment slips by."""
    return (method, path) in OPEN_ROUTES


class EngineGuard:
    """Passes the listed routes on to `app`, and the server's own start and stop; answers 404 to everything else."""

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan" or (scope["type"] == "http" and is_open(scope["method"], scope["path"])):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": headers})
            await send({"type": "http.response.body", "body": _BODY})
