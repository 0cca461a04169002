"""The events of the topic `curation`, kept as they are; an event that comes again stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, select

from thumbwheel.events import CurationEvent, ErasureEvent
from thumbwheel.store import bulk, schema

FIELDS = ("id", "type", "channel", "feedback", "at_ms", "seq", "event")

Kind = TypeVar("Kind", bound=CurationEvent)


def keep(tx: Connection, said: Iterable[tuple[int, CurationEvent]]) -> None:
    """Write the events, each with its offset in the log."""
    first = {event.id: (seq, event) for seq, event in reversed(list(said))}
    bulk.insert_missing(tx, schema.curations, FIELDS, [first[id_] for id_ in sorted(first)], _row)


def of_channel(tx: Connection, channel: str, kind: type[Kind]) -> list[Kind]:
    """The channel's events of one kind, in order of receipt."""
    c = schema.curations.c
    wanted = (c.channel == channel, c.type == kind.__struct_config__.tag)
    return _events(tx, wanted, kind)


def with_ids(tx: Connection, ids: Sequence[str], kind: type[Kind]) -> list[Kind]:
    """The events of one kind that have one of these ids, in order of receipt."""
    c = schema.curations.c
    return _events(tx, (bulk.among(tx, c.id, ids), c.type == kind.__struct_config__.tag), kind)


def on_feedback(tx: Connection, feedback: str, kind: type[Kind]) -> list[Kind]:
    """The events of one kind about one feedback, in order of receipt."""
    c = schema.curations.c
    return _events(tx, (c.feedback == feedback, c.type == kind.__struct_config__.tag), kind)


def erasures(tx: Connection) -> list[ErasureEvent]:
    """All that is to stay forgotten."""
    return _events(tx, (schema.curations.c.type == ErasureEvent.__struct_config__.tag,), ErasureEvent)


def _events(tx: Connection, wanted: Sequence[object], kind: type[Kind]) -> list[Kind]:
    c = schema.curations.c
    query = select(c.event).where(*wanted).order_by(c.at_ms, c.seq, c.id)  # type: ignore[arg-type]
    return [msgspec.convert(body, kind) for body in tx.execute(query).scalars()]


def _row(said: tuple[int, CurationEvent]) -> tuple[object, ...]:
    seq, event = said
    channel = None if isinstance(event, ErasureEvent) else event.channel
    feedback = getattr(event, "feedback", None)
    body = msgspec.json.encode(event).decode()
    return (event.id, event.__struct_config__.tag, channel, feedback, event.at_ms, seq, body)
