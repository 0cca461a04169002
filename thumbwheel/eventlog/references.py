"""Events that are too big for a broker: their bytes go to the artifact store, and a reference to them into the log.

Readers never see the reference: they get the event's own bytes, or, where those are gone for good, the reference
itself, which no reader takes for an event, so that it becomes a dead letter with its reason.

It knows nothing of what an event says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec

from thumbwheel.artifacts import STAGING, ArtifactStore
from thumbwheel.errors import ArtifactCorrupt, ArtifactError, StoreUnavailable, UnknownArtifact

KIND, FILE = "event", "event.json"
MOST_BYTES = 900_000  # of an event in the log; brokers take batches of 1,048,588, unless they are told otherwise


class Reference(msgspec.Struct, frozen=True, tag_field="type", tag="reference.v1"):
    """Where an event's bytes lie: the artifact's sha256, and how many they are."""

    artifact: str
    bytes: int


_PREFIX = b'{"type":"reference.v1"'
_decoder = msgspec.json.Decoder(Reference)


def outline(artifacts: ArtifactStore, value: bytes, most: int = MOST_BYTES) -> bytes:
    """What goes into the log for `value`: itself, or a reference where it has over `most` bytes. Durable then.

    Raises StoreUnavailable. The same value gives the same reference.
    """
    if len(value) <= most:
        return value
    try:
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=artifacts.root) as folder:
            Path(folder, FILE).write_bytes(value)
            sha = artifacts.publish(Path(folder), KIND, {})
    except (OSError, ArtifactError) as error:
        raise StoreUnavailable(f"a big event cannot be stored: {error}") from error
    return msgspec.json.encode(Reference(sha, len(value)))


def weight(value: bytes) -> int:
    """How many bytes `resolve` makes of what lay in the log."""
    if not value.startswith(_PREFIX):
        return len(value)
    try:
        return max(len(value), _decoder.decode(value).bytes)
    except msgspec.DecodeError:
        return len(value)


def resolve(artifacts: ArtifactStore, value: bytes) -> bytes:
    """The event's bytes for what lay in the log. Raises StoreUnavailable while they cannot be read."""
    if not value.startswith(_PREFIX):
        return value
    try:
        reference = _decoder.decode(value)
        artifacts.verify(reference.artifact)
        return (artifacts.path(reference.artifact) / FILE).read_bytes()
    except (msgspec.DecodeError, UnknownArtifact, ArtifactCorrupt):
        if not artifacts.root.is_dir():  # a disk that is not mounted; nothing is lost
            raise StoreUnavailable("a big event cannot be read: the artifact store is away") from None
        return value
    except (OSError, ArtifactError) as error:
        raise StoreUnavailable(f"a big event cannot be read: {error}") from error
