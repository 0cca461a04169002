"""The event log as a gateway has it where Kafka is the log: every call goes to this machine's relay, over a socket.

A relay that is not there, or gives no answer in time, is StoreUnavailable at once or within seconds, as is a broker
that is away. It holds no client of a broker; `thumbwheel.eventlog.relay` is the other end.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Assignment, Record
from thumbwheel.eventlog.frames import (
    PATIENCE_S,
    SOCKET,
    Append,
    Assigned,
    Bounds,
    Done,
    Failed,
    Offsets,
    Places,
    Read,
    Records,
    Reply,
    Request,
    read_reply,
    receive,
    send,
)
from thumbwheel.home import short_path

FRAME_BYTES = 8 << 20  # of records in one request; a longer list goes in several
Answer = TypeVar("Answer", Done, Records, Offsets, Places)

CONNECT_S = 1.0
MARGIN_S = 1.0  # how much longer than the relay's own patience with the broker its answer is waited for


class RelayLog:
    """An EventLog through the relay whose socket lies in `folder`; connects when it is first used, and again.

    An answer is waited for `patience_s`, which is the relay's own with the broker, and a second for the way.
    """

    def __init__(self, folder: Path, *, patience_s: float = PATIENCE_S) -> None:
        self._folder, self._patience_s = folder, patience_s + MARGIN_S
        self._turn = threading.Lock()
        self._connection: socket.socket | None = None

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """See EventLog. Of a long list, the first part may be in the log where it raises."""
        for part in _parts(records):
            self._ask(Append(topic, part, durable), Done)

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """See EventLog. Where records are big it returns fewer than `limit`, though there are more."""
        found = self._ask(Read(topic, partition, after, limit), Records)
        return [Record(topic, partition, offset, key, value) for offset, key, value in found.records]

    def ends(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._ask(Bounds(True), Offsets).offsets

    def starts(self) -> dict[str, dict[int, int]]:
        """See EventLog."""
        return self._ask(Bounds(False), Offsets).offsets

    def assigned(self) -> Assignment:
        """See EventLog: everything, as the relay is no member of the consumers' group."""
        found = self._ask(Assigned(), Places)
        return Assignment(found.generation, frozenset(found.places))

    def close(self) -> None:
        """See EventLog."""
        with self._turn:
            self._hang_up()

    def _ask(self, request: Request, wanted: type[Answer]) -> Answer:
        deadline_s = time.monotonic() + self._patience_s
        if not self._turn.acquire(timeout=self._patience_s):
            raise StoreUnavailable("the event log's relay is busy with others who wait for it")
        try:
            reply = self._exchange(request, deadline_s)
        except (OSError, ValueError, msgspec.DecodeError) as error:
            self._hang_up()  # an answer that comes after all must not be taken for the next one's
            raise StoreUnavailable(f"the event log's relay does not answer: {error}") from error
        finally:
            self._turn.release()
        if isinstance(reply, Failed):
            raise StoreUnavailable(reply.message)
        if not isinstance(reply, wanted):
            raise StoreUnavailable(f"the event log's relay answers with {type(reply).__name__}")
        return reply

    def _exchange(self, request: Request, deadline_s: float) -> Reply:
        """One request and its reply. A connection whose relay was started anew meanwhile is made anew once."""
        fresh = self._connection is None
        try:
            return self._say(request, deadline_s)
        except ConnectionError:
            self._hang_up()
            if fresh:
                raise
            return self._say(request, deadline_s)

    def _say(self, request: Request, deadline_s: float) -> Reply:
        if self._connection is None:
            self._connection = _connect(self._folder)
        self._connection.settimeout(max(0.01, deadline_s - time.monotonic()))
        send(self._connection, request)
        answer = receive(self._connection)
        if answer is None:
            raise ConnectionResetError("it has closed the connection")
        return read_reply(answer)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connect(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_S)
    try:
        with short_path(folder) as short:
            connection.connect(f"{short}/{SOCKET}")
    except OSError:
        connection.close()
        raise
    return connection


def _parts(records: Sequence[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """The records in order, in lists that fit into a frame."""
    part: list[tuple[str, bytes]] = []
    size = 0
    for key, value in records:
        if part and size + len(value) > FRAME_BYTES:
            yield part
            part, size = [], 0
        part.append((key, value))
        size += len(value)
    if part:
        yield part
