"""One batch of a partition, from the event log into the store: rows, dead letters and the new offset together.

A record that cannot be decoded or handled becomes a dead letter with its bytes and its reason, in the same transaction
as the rest; the topic of dead letters gets it before that commits, so a killed consumer may write it there twice, and
never leaves it out. `STREAK` of them in a row end the batch.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from thumbwheel import events
from thumbwheel.eventlog import EventLog, Place, Record
from thumbwheel.events import DeadLetterEvent, Event, FeedbackEvent, InferenceEvent, decode
from thumbwheel.ids import channel_tag, channel_tag_in
from thumbwheel.store import data_rows, dead_letter_rows, ingestion, release_rows
from thumbwheel.store.connection import Store
from thumbwheel.store.dead_letter_rows import DeadLetter

BATCH = 500  # records a transaction
STREAK = 10
OUTAGES = (OperationalError, InterfaceError, InternalError)
"""Locked, full, away, or a server that only reads now: no record's fault."""

log_lines = logging.getLogger("thumbwheel.consumer")


@dataclass(frozen=True)
class Position:
    """How far this consumer has read one partition, and under which epoch. `streak` counts dead letters in a row."""

    topic: str
    partition: int
    epoch: int
    offset: int
    streak: int = 0

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return (self.topic, self.partition)


def step(
    store: Store, log: EventLog, at: Position, now_ms: int, limit: int = BATCH, apart: Collection[str] = ()
) -> Position:
    """Ingest up to `limit` records of one partition in one transaction. Raises StoreUnavailable, LostRace.

    It ends early at the dead letter that makes the streak full. Those of the channels in `apart` have their own topics.
    """
    records = log.read(at.topic, at.partition, at.offset, limit)
    if not records:
        return at
    with store.write(alone=False) as tx:
        after, letters = _ingest(tx, at, records, now_ms)
        data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, after.offset)
        for topic in dict.fromkeys(events.dead_letter_topic(letter.channel, apart) for letter in letters):
            own = [one for one in letters if events.dead_letter_topic(one.channel, apart) == topic]
            log.append(topic, [_as_record(letter) for letter in own], durable=True)
    return after


def _ingest(
    tx: Connection, at: Position, records: Sequence[Record], now_ms: int
) -> tuple[Position, Sequence[DeadLetter]]:
    """Where the partition is read to now, and what was buried on the way."""
    decoded = [(record, _decode(record)) for record in records]
    good = [(record.offset, event) for record, event in decoded if not isinstance(event, str)]
    if len(good) == len(records) and _handle(tx, good) is None:
        return replace(at, offset=records[-1].offset, streak=0), ()
    streak, letters = at.streak, []
    for record, event in decoded:
        reason = event if isinstance(event, str) else _handle(tx, [(record.offset, event)])
        streak = 0 if reason is None else streak + 1
        if reason is not None:
            letter = DeadLetter(record, reason, now_ms, *_about(tx, record))
            dead_letter_rows.bury(tx, letter)
            letters.append(letter)
            log_lines.warning("dead letter %s: %s", letter.name, reason)
        if streak >= STREAK:
            break
    return replace(at, offset=record.offset, streak=streak), letters


def _decode(record: Record) -> Event | str:
    """The event, or why there is none."""
    try:
        return decode(record.value)
    except msgspec.DecodeError as error:
        return f"not readable: {error}"


def _handle(tx: Connection, batch: Sequence[tuple[int, Event]]) -> str | None:
    """Ingest, all or nothing; why not, if not. Trouble of the store itself is raised."""
    inferences = [event for _, event in batch if isinstance(event, InferenceEvent)]
    feedbacks = [(offset, event) for offset, event in batch if isinstance(event, FeedbackEvent)]
    try:
        with tx.begin_nested():
            ingestion.ingest(tx, inferences, feedbacks)
    except OUTAGES:
        raise
    except Exception:  # noqa: BLE001 - a record can be wrong in ways that nobody foresaw; it is kept with its traceback
        return f"not handled: {traceback.format_exc()}"
    return None


def _about(tx: Connection, record: Record) -> tuple[str | None, str | None]:
    """The channel and the id of the event in a record that could not be handled, as far as they can be known.

    Its key, the inference's id, bears the channel's tag, whatever has become of the rest.
    """
    try:
        found = msgspec.json.decode(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    said = found if isinstance(found, dict) else {}
    channel, event = said.get("channel"), said.get("id")
    if not isinstance(channel, str):
        tag = channel_tag_in(record.key)
        names = [one.name for one in release_rows.all_channels(tx)] if tag is not None else []
        channel = next((name for name in names if channel_tag(name) == tag), None)
    return channel, event if isinstance(event, str) else None


def _as_record(letter: DeadLetter) -> tuple[str, bytes]:
    """A dead letter as its topic has it; those of one partition stay in order."""
    record = letter.record
    event = DeadLetterEvent(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        reason=letter.reason,
        at_ms=letter.at_ms,
        channel=letter.channel,
        event=letter.event,
    )
    return f"{record.topic}/{record.partition}", events.encode(event)
