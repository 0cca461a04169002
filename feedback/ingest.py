"""One batch of a partition, from the event log into the store: rows, dead letters and the new offset together.

A record that cannot be decoded or handled becomes a dead letter with its bytes and its reason, in the same transaction
as the rest; the topic of dead letters gets it before that commits, so a killed consumer may write it there twice, and
never leaves it out. `STREAK` of them in a row end the batch.

Nearly always every record is good and every inference new. A batch is first taken as such, in few round trips; where
that turns out wrong its transaction is rolled back, and it is taken anew in halves of halves down to what is wrong.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from thumbwheel import events
from thumbwheel.erasure import scrubbed
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog, Place, Record
from thumbwheel.events import DeadLetterEvent, ErasureEvent, Event, FeedbackEvent, InferenceEvent, decode
from thumbwheel.ids import channel_tag, channel_tag_in
from thumbwheel.store import data_rows, dead_letter_rows, erasure_rows, ingestion, release_rows
from thumbwheel.store.connection import Store, translated
from thumbwheel.store.dead_letter_rows import DeadLetter

BATCH = 2_000  # records a transaction, at most
WARY = 20  # batches after one that was not all good and new
STREAK = 10

log_lines = logging.getLogger("thumbwheel.consumer")


_Decoded = tuple[Record, Event | str]
"""A record and its event, or why it has none."""


@dataclass(frozen=True)
class Position:
    """How far this consumer has read one partition, and under which epoch.

    `streak` counts dead letters in a row, `wary` the batches yet to come that are not taken for all good and new.
    """

    topic: str
    partition: int
    epoch: int
    offset: int
    streak: int = 0
    wary: int = 0

    @property
    def place(self) -> Place:
        """Topic and partition."""
        return (self.topic, self.partition)


def step(
    store: Store,
    log: EventLog,
    at: Position,
    now_ms: int,
    limit: int = BATCH,
    apart: Collection[str] = (),
    secret: bytes = b"",
) -> Position:
    """Ingest up to `limit` records of one partition in one transaction. Raises StoreUnavailable, LostRace.

    It ends early at the dead letter that makes the streak full. Those of the channels in `apart` have their own topics.
    `secret` is the home's, by which what an erased person said is known.
    """
    records = log.read(at.topic, at.partition, at.offset, limit)
    if not records:
        return at
    batch = [(record, _decode(record)) for record in records]
    if at.wary:
        at = replace(at, wary=at.wary - 1)
    elif (after := _all_at_once(store, at, batch, secret)) is not None:
        return after
    else:
        at = replace(at, wary=WARY)
    with store.write(alone=False) as tx:
        after, letters = _ingest(tx, at, batch, now_ms, secret)
        data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, after.offset)
        for topic in dict.fromkeys(events.dead_letter_topic(letter.channel, apart) for letter in letters):
            own = [one for one in letters if events.dead_letter_topic(one.channel, apart) == topic]
            log.append(topic, [_as_record(letter) for letter in own], durable=True)
    return after


def _all_at_once(store: Store, at: Position, batch: Sequence[_Decoded], secret: bytes) -> Position | None:
    """Ingest a batch whose records are all good and whose inferences are all new; None, and nothing done, if not."""
    if any(isinstance(event, str) for _, event in batch):
        return None
    after = replace(at, offset=batch[-1][0].offset, streak=0)

    def write() -> None:
        with store.write(alone=False) as tx:
            data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, after.offset)
            _handle(tx, batch, secret, fresh=True)

    return after if _fault(write) is None else None  # whatever it is, it is found again, with the record whose it is


def _ingest(
    tx: Connection, at: Position, batch: Sequence[_Decoded], now_ms: int, secret: bytes
) -> tuple[Position, Sequence[DeadLetter]]:
    """Where the partition is read to now, and what was buried on the way."""
    streak, letters, record = at.streak, [], batch[0][0]
    for part, reason in _parts(tx, batch, secret):
        record = part[-1][0]
        streak = 0 if reason is None else streak + 1
        if reason is not None:
            letter = DeadLetter(record, reason, now_ms, *_about(tx, record))
            dead_letter_rows.bury(tx, letter)
            letters.append(letter)
            log_lines.warning("dead letter %s: %s", letter.name, reason)
        if streak >= STREAK:
            break
    return replace(at, offset=record.offset, streak=streak), letters


def _parts(tx: Connection, batch: Sequence[_Decoded], secret: bytes) -> Iterator[tuple[Sequence[_Decoded], str | None]]:
    """The batch in order: parts of it as they are ingested (None), and single records that cannot be, with why."""
    bad = next((event for _, event in batch if isinstance(event, str)), None)
    reason = bad or _why_not(tx, batch, secret)
    if reason is None or len(batch) == 1:
        yield batch, reason
        return
    middle = len(batch) // 2
    yield from _parts(tx, batch[:middle], secret)
    yield from _parts(tx, batch[middle:], secret)


def _decode(record: Record) -> Event | str:
    """The event, or why there is none."""
    try:
        return decode(record.value)
    except msgspec.DecodeError as error:
        return f"not readable: {error}"


def _handle(tx: Connection, batch: Sequence[_Decoded], secret: bytes, *, fresh: bool) -> None:
    """Ingest records that could all be decoded; of what erased persons said, that there was something."""
    erased = erasure_rows.erased(tx, secret)
    inferences, feedbacks, curations = [], [], []
    for record, event in batch:
        assert not isinstance(event, str)
        event = scrubbed(event, erased) if erased else event
        if isinstance(event, InferenceEvent):
            inferences.append(event)
        elif isinstance(event, FeedbackEvent):
            feedbacks.append((record.offset, event))
        else:
            curations.append((record.offset, event))
    ingestion.ingest(tx, inferences, feedbacks, curations, fresh=fresh)
    if any(isinstance(event, ErasureEvent) for _, event in curations):
        erasure_rows.forget(tx, erasure_rows.erased(tx, secret))
    elif erased:
        spoken_of = {event.inference for _, event in feedbacks}
        erasure_rows.forget_late(tx, erased, {*spoken_of, *(event.id for event in inferences)})
        erasure_rows.forget_curations_late(tx, [event for _, event in curations])


def _why_not(tx: Connection, batch: Sequence[_Decoded], secret: bytes) -> str | None:
    """Ingest, all or nothing; why not, if not. Trouble of the store itself is raised."""

    def write() -> None:
        with tx.begin_nested():
            _handle(tx, batch, secret, fresh=False)

    return _fault(write)


def _fault(write: Callable[[], None]) -> str | None:
    """Write; where some record of what is written is at fault, how. What is no record's fault is raised."""
    try:
        write()
    except Exception as error:  # a record can be wrong in ways that nobody foresaw; it is kept with its traceback
        if isinstance(translated(error) if isinstance(error, DBAPIError) else error, (StoreUnavailable, LostRace)):
            raise
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
