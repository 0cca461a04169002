"""What passes between a gateway and its relay: frames of a length (4 bytes, big-endian) and a message in msgpack.

One request, one reply, in turn. Both ends are this version's own and live on one machine; a frame that is longer than
`MOST_BYTES`, or is no message, ends the connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

import msgspec

MOST_BYTES = 64 << 20
SOCKET = "log.sock"
HEAD_BYTES = 4
PATIENCE_S = 3.0
"""How long the relay waits for a broker before it answers that it is away."""


class Append(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """EventLog.append."""

    topic: str
    records: list[tuple[str, bytes]]
    durable: bool


class Read(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """EventLog.read."""

    topic: str
    partition: int
    after: int
    limit: int


class Bounds(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """EventLog.ends, or EventLog.starts."""

    ends: bool


class Assigned(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """EventLog.assigned."""


Request = Append | Read | Bounds | Assigned


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """It is in the log."""


class Records(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Offset, key and value of each record."""

    records: list[tuple[int, str, bytes]]


class Offsets(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Topic -> partition -> offset."""

    offsets: dict[str, dict[int, int]]


class Places(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """An Assignment."""

    generation: int
    places: list[tuple[str, int]]


class Failed(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The log raised StoreUnavailable with these words."""

    message: str


Reply = Done | Records | Offsets | Places | Failed

_encoder = msgspec.msgpack.Encoder()
read_request: Callable[[bytes], Request] = msgspec.msgpack.Decoder(Request).decode
"""The request in a frame. Raises msgspec.DecodeError."""
read_reply: Callable[[bytes], Reply] = msgspec.msgpack.Decoder(Reply).decode
"""The reply in a frame. Raises msgspec.DecodeError."""


def send(connection: socket.socket, message: Request | Reply) -> None:
    """Send one message. Raises OSError, TimeoutError among them; ValueError where it is too long for a frame."""
    body = _encoder.encode(message)
    if len(body) > MOST_BYTES:
        raise ValueError(f"a message of {len(body)} bytes is too long")
    connection.sendall(len(body).to_bytes(HEAD_BYTES, "big") + body)


def receive(connection: socket.socket) -> bytes | None:
    """The next frame's message; None where the other end has closed between two.

    Raises OSError, also for a frame that is cut off; ValueError for one that is too long.
    """
    head = _exactly(connection, HEAD_BYTES)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if length > MOST_BYTES:
        raise ValueError(f"a frame of {length} bytes is too long")
    body = _exactly(connection, length)
    if len(head) < HEAD_BYTES or len(body) < length:
        raise ConnectionResetError("the other end closed within a frame")
    return body


def _exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes, or what came before the end."""
    whole = bytearray()
    while len(whole) < length and (part := connection.recv(min(length - len(whole), 1 << 20))):
        whole += part
    return bytes(whole)
