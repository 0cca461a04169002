"""The allowlist of an engine's routes."""

from __future__ import annotations

from typing import Any

import pytest

from serving.engine_guard import OPEN_ROUTES, EngineGuard, Message, Receive, Scope, Send, is_open


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "passed", "scope": scope["type"]})


async def receive() -> Message:
    raise AssertionError("nothing is to be read of what is refused")


async def sent_for(**scope: Any) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await EngineGuard(application)(scope, receive, send)
    return messages


@pytest.mark.parametrize(("method", "path"), sorted(OPEN_ROUTES))
async def test_listed_routes_pass(method: str, path: str) -> None:
    assert await sent_for(type="http", method=method, path=path) == [{"type": "passed", "scope": "http"}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("DELETE", "/adapters/x"),
        ("POST", "/tokenize"),
        ("POST", "/detokenize"),
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat/../chat/completions"),
        ("post", "/v1/chat/completions"),
        ("GET", "/metrics/x"),
        ("GET", ""),
    ],
)
async def test_everything_else_is_404_unread(method: str, path: str) -> None:
    assert not is_open(method, path)
    start, body = await sent_for(type="http", method=method, path=path)
    assert (start["type"], start["status"]) == ("http.response.start", 404)
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])


async def test_start_and_stop_pass_and_websockets_are_closed() -> None:
    assert await sent_for(type="lifespan") == [{"type": "passed", "scope": "lifespan"}]
    assert await sent_for(type="websocket", path="/v1/realtime") == [{"type": "websocket.close", "code": 1008}]
