"""Reading bodies, and what callers are told of errors that are not of their making."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from serving.replies import EVENT_STREAM, MAX_DEPTH, ClientLeft, Reply, as_request_error, parse_object, read_json
from thumbwheel.errors import (
    AdapterRefused,
    EngineUnreachable,
    InvalidRequest,
    JobError,
    LostRace,
    NotFound,
    StoreUnavailable,
    TooLarge,
    UnsupportedMedia,
)


def receiving(*parts: bytes, leaves: bool = False) -> Callable[[], Awaitable[dict[str, Any]]]:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": part, "more_body": leaves or number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]
    messages += [{"type": "http.disconnect"}]

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    return receive


def scope(kind: bytes = b"application/json", length: bytes | None = None) -> dict[str, Any]:
    headers = [(b"content-type", kind)] + ([(b"content-length", length)] if length else [])
    return {"type": "http", "headers": headers}


async def test_a_body_in_parts() -> None:
    assert await read_json(scope(), receiving(b'{"a":', b"1}"), 100) == {"a": 1}
    assert await read_json(scope(b"application/JSON; charset=utf-8"), receiving(b"{}"), 100) == {}


async def test_too_large_by_its_word_or_by_its_bytes() -> None:
    with pytest.raises(TooLarge):
        await read_json(scope(length=b"101"), receiving(b"{}"), 100)
    with pytest.raises(TooLarge):
        await read_json(scope(), receiving(b"{" + b" " * 60, b" " * 60 + b"}"), 100)


async def test_other_kinds_and_clients_that_leave() -> None:
    with pytest.raises(UnsupportedMedia):
        await read_json(scope(b"text/plain"), receiving(b"{}"), 100)
    with pytest.raises(ClientLeft):
        await read_json(scope(), receiving(b"{", leaves=True), 100)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_depth() -> None:
    assert parse_object(nested(MAX_DEPTH))
    for raw in (nested(MAX_DEPTH + 1), b"[" * 1_000_000):
        with pytest.raises(InvalidRequest) as caught:
            parse_object(raw)
        assert caught.value.code == "nested_too_deeply"
    wide = json.dumps({"a": [{} for _ in range(1000)]}).encode()
    assert len(parse_object(wide)["a"]) == 1000


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"1", b'"x"', b"{} {}", b'{"a": NaN}', b'{"a": 1e999}'])
def test_what_is_no_object(raw: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_object(raw)
    assert caught.value.code == "malformed_json"


def sending() -> tuple[list[dict[str, Any]], Callable[[Any], Awaitable[None]]]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    return sent, send


def start(kind: bytes) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}


async def test_an_error_is_told_in_the_form_that_is_left() -> None:
    sent, send = sending()
    await Reply(send, None).fail(500, {"error": {}}, [(b"x-request-id", b"r")])
    assert [message.get("status") for message in sent] == [500, None] and sent[1]["body"] == b'{"error":{}}'
    sent, send = sending()
    streaming = Reply(send, None)
    await streaming.send(start(EVENT_STREAM))
    await streaming.send({"type": "http.response.body", "body": b"data: {}\n\n", "more_body": True})
    await streaming.fail(500, {"error": {}})
    assert sent[2:] == [{"type": "http.response.body", "body": b'data: {"error":{}}\n\n'}]


@pytest.mark.parametrize(("kind", "more"), [(EVENT_STREAM, False), (b"application/json", True)])
async def test_nothing_is_said_after_an_end_or_in_the_middle_of_a_whole_answer(kind: bytes, more: bool) -> None:
    sent, send = sending()
    reply = Reply(send, None)
    await reply.send(start(kind))
    await reply.send({"type": "http.response.body", "body": b"x", "more_body": more})
    await reply.fail(500, {"error": {}})
    assert len(sent) == 2


def test_what_callers_are_told() -> None:
    assert as_request_error(StoreUnavailable("/home/x/store.db is locked")).status == 503
    assert "/home" not in as_request_error(StoreUnavailable("/home/x/store.db is locked")).message
    assert as_request_error(LostRace("x")).retry_after
    assert as_request_error(EngineUnreachable("/run/e.sock refused")).code == "engine_unavailable"
    assert as_request_error(AdapterRefused("wrong_base", "in /x")).status == 400
    assert as_request_error(JobError("x")).status == 503
    own = NotFound("no")
    assert as_request_error(own) is own
