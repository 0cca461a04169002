"""One client's connection: uvicorn's HTTP, with bounds on what a client who has shown no key can make a worker hold.

uvicorn buffers little of a body and closes idle connections; but it takes a head of any length, waits for its end for
ever, and waits for ever on a client that does not read its answer. Here a head is at most MAX_HEAD_BYTES (and what one
read brings), is there within HEAD_S, and an answer is read on within READ_S; else the connection ends, which its
application sees as a client that left. It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from thumbwheel.errors import HeadTooLarge

MAX_HEAD_BYTES = 64 * 1024
HEAD_S = 30.0
READ_S = 30.0  # the longest that a client may leave what was sent to it unread


class Connection(HttpToolsProtocol):
    """A protocol for uvicorn's `http` setting."""

    head_s, read_s = HEAD_S, READ_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._heard = False  # what has just come was the end of a head, or of a body
        self._held = 0  # bytes since then: of a head that has not ended, or of trailers
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    # heads

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A client has come, and is to speak."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Parse, and count what makes neither a head nor a body."""
        self._heard = False
        super().data_received(data)
        if self._heard:
            self._held = 0
            _cancel(self._head_timer)
            self._head_timer = None
            return
        self._held += len(data)
        if self._held > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()
        elif self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """A head is there."""
        self._heard = True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body is there."""
        self._heard = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is there."""
        self._heard = True
        super().on_message_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_s, self._head_is_late)

    def _head_is_late(self) -> None:
        if self._is_answering:  # the head of a next request may wait for this one's answer
            self._await_head()
        else:
            self.transport.abort()

    def _refuse_head(self) -> None:
        if self._is_answering:
            self.transport.abort()
            return
        error = HeadTooLarge(f"The request's head is over {MAX_HEAD_BYTES} bytes.", code="head_too_large")
        body = msgspec.json.encode(error.body())
        head = f"HTTP/1.1 {error.status} Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # answers

    def pause_writing(self) -> None:
        """The client leaves unread what was sent to it."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(self.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        _cancel(self._read_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        _cancel(self._head_timer)
        _cancel(self._read_timer)
        super().connection_lost(exc)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
