"""What a client may make a worker hold: heads without end, heads that do not come, answers that nobody reads."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from serving import connection
from serving.app import application_api, listener
from serving.connection import Connection
from serving.replies import Application, Receive, Scope, Send, send_json
from tests.gateway_worker import CHANNEL, Part, worker

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers with how long it was."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send_json(send, 200, {"path": scope["path"], "size": size})


class Hasty(Connection):
    head_s, read_s = 0.2, 0.3


@asynccontextmanager
async def listening(
    application: Application, protocol: type[Connection] = Connection
) -> AsyncIterator[Callable[[], Awaitable[Streams]]]:
    """A listener of the product's own on a free port; gives what connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = listener(application, protocol)
        serving = asyncio.create_task(server.serve([opened]))
        while not server.started:
            await asyncio.sleep(0.01)
        host, port = opened.getsockname()

        yield lambda: asyncio.open_connection(host, port)
        server.should_exit = server.force_exit = True
        await serving


async def test_a_head_without_end_is_refused_and_the_connection_ends() -> None:
    async with listening(hello) as connect:
        reader, writer = await connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx-long: ")
        for _ in range(connection.MAX_HEAD_BYTES // 4096 + 1):
            writer.write(b"a" * 4096)
            await writer.drain()
            await asyncio.sleep(0.001)
        told = await asyncio.wait_for(reader.read(), 5)
        head, _, body = told.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert json.loads(body)["error"]["code"] == "head_too_large"


async def test_trailers_without_end_too() -> None:
    async with listening(hello) as connect:
        _, writer = await connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        with pytest.raises(ConnectionError):
            for number in range(1000):
                writer.write(b"x-%d: %s\r\n" % (number, b"a" * 1000))
                await writer.drain()
                await asyncio.sleep(0.001)


async def test_many_requests_with_long_heads_and_bodies_on_one_connection_are_served() -> None:
    async with listening(hello) as connect:
        reader, writer = await connect()
        for number in range(5):
            path, size = f"/{number}".encode(), 3 * connection.MAX_HEAD_BYTES
            long = b"x-long: " + b"a" * (connection.MAX_HEAD_BYTES // 2)
            writer.write(b"POST %s HTTP/1.1\r\nhost: x\r\n%s" % (path, long))
            await asyncio.sleep(0.01)
            writer.write(b"\r\ncontent-length: %d\r\n\r\n" % size + b"b" * size)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length)) == {"path": f"/{number}", "size": size}


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nhost", b"\r\n"])
async def test_a_head_that_does_not_come_ends_the_connection(said: bytes) -> None:
    async with listening(hello, Hasty) as connect:
        reader, writer = await connect()
        writer.write(said)
        assert await asyncio.wait_for(_all(reader), 5) == b""


async def test_a_next_head_may_wait_for_an_answer_and_is_waited_for_after_it() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.7)
        await hello(scope, receive, send)

    async with listening(slow, Hasty) as connect:
        reader, writer = await connect()
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"GET /b HTTP")
        assert b'"/a"' in await asyncio.wait_for(_all(reader), 5)


async def test_a_connection_may_be_idle_for_longer_between_requests() -> None:
    async with listening(hello, Hasty) as connect:
        reader, writer = await connect()
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
            await asyncio.sleep(0.02)
            writer.write(b"0\r\n\r\n")
            assert b'"size":1' in await asyncio.wait_for(reader.readuntil(b"}"), 5)
            await asyncio.sleep(0.5)


async def _all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the other side ends, by whichever way."""
    found = b""
    try:
        while block := await reader.read(1 << 16):
            found += block
    except ConnectionError:
        pass
    return found


async def test_a_client_that_does_not_read_has_left(tmp_path: Path) -> None:
    chunk = b'data: {"choices": [{"index": 0, "delta": {"content": "' + b"x" * 50_000 + b'"}}]}\n\n'
    parts: list[Part] = [chunk, 0.001] * 1000
    async with worker(tmp_path) as gateway:
        gateway.engine.parts = parts
        both = {"upstream": gateway.engine, "proofs": gateway.engine, "inference_log": gateway.noted}
        async with listening(application_api(replace(gateway.gateway.parts, **both)), Hasty) as connect:
            _, writer = await connect()
            body = json.dumps(
                {"model": CHANNEL, "stream": True, "messages": [{"role": "user", "content": "x"}]}
            ).encode()
            key = gateway.api.headers["authorization"].encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n")
            writer.write(b"authorization: %s\r\ncontent-length: %d\r\n\r\n%s" % (key, len(body), body))
            async with asyncio.timeout(10):
                while not gateway.noted.events:
                    await asyncio.sleep(0.02)
            assert [event.status for event in gateway.noted.events] == ["cancelled"]
            writer.transport.abort()
