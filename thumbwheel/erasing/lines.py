"""Erased persons in the event log and in the gateways' spool: each record of theirs becomes what `bare_record` leaves.

Offsets stay. A Kafka topic cannot be rewritten: what a broker holds expires, and until then the consumer takes nothing
of it for theirs into the store (thumbwheel/erasure.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from thumbwheel import events
from thumbwheel.erasure import Erased
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import DEAD_LETTER, DeadLetterEvent
from thumbwheel.store.erasure_rows import Theirs, bare_record

AT_ONCE = 500  # records of the log

_letters = msgspec.json.Decoder(DeadLetterEvent)


def forget_in_log(
    log: SqliteEventLog, erased: Erased, own: Theirs, after: Mapping[str, int]
) -> tuple[int, dict[str, int]]:
    """Rewrite what lies after these offsets; how many records have changed, and the offsets that were looked at.

    Raises StoreUnavailable.
    """
    changed, looked = 0, dict(after)
    for topic in log.topics():
        bare = _bare_letter if topic.partition(".")[0] == DEAD_LETTER else _bare_event
        while records := log.read(topic, 0, looked.get(topic, 0), AT_ONCE):
            new = {one.offset: bare(one.key, one.value, erased, own) for one in records}
            changed += log.rewrite(topic, {offset: value for offset, value in new.items() if value is not None})
            looked[topic] = records[-1].offset
    return changed, looked


_Bare = Callable[[str, bytes, Erased, Theirs], bytes | None]
_bare_event: _Bare = bare_record


def _bare_letter(key: str, value: bytes, erased: Erased, own: Theirs) -> bytes | None:
    """A dead letter has the record's bytes in it."""
    try:
        letter = _letters.decode(value)
    except msgspec.DecodeError:
        return None
    bare = bare_record(letter.key, letter.value, erased, own)
    return None if bare is None else events.encode(msgspec.structs.replace(letter, value=bare, reason="erased"))


def forget_in_spool(spool: Path, erased: Erased, own: Theirs) -> int:
    """Rewrite lines in their places, of the same length, since a living worker may read and append meanwhile.

    What is left of a line, when it is longer than the line was, is left out: then the line is blank, and its inference
    never was. Returns how many lines have changed.
    """
    changed = 0
    for path in sorted(spool.glob("*.jsonl")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # drained meanwhile
            continue
        try:
            at = 0
            for line in path.read_bytes().splitlines(keepends=True):
                value = line.rstrip(b"\n")
                bare = bare_record("", value, erased, own) if line.endswith(b"\n") and value.strip() else None
                if bare is not None:
                    os.pwrite(descriptor, (bare if len(bare) <= len(value) else b"").ljust(len(value)), at)
                    changed += 1
                at += len(line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return changed
