"""The consumer: reads inference and feedback events out of the event log into the store, and does nothing else.

    thumbwheel consumer [--home DIR]

One transaction holds a batch's rows and the partition's new offset, so an event has its effect once, whenever the
process is killed. At each start the partition's epoch is raised; a consumer of an earlier epoch (one that hung, say)
finds that out at its next write, writes nothing and stops. A record that cannot be decoded or handled becomes a dead
letter with its bytes and its reason, in the same transaction; `STREAK` of them in a row stop the partition for
`PAUSE_S`, since then the fault is more likely ours than the records'.

Feedback whose inference has not arrived within `feedback_window_s` of the feedback's receipt is refused
(`inference_unknown`, see thumbwheel/ledger.py), and only once the log is read to its end: an inference that lies in it
unread still joins, however late this process comes to it.

It knows nothing of curation. Where the log or the store is away, or the disk is full, it waits and tries again; nothing
is skipped.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, lasts, system_clock
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog, Record
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import Event, FeedbackEvent, InferenceEvent, decode
from thumbwheel.home import prepare
from thumbwheel.stopping import stop_on_signals
from thumbwheel.store import data_rows
from thumbwheel.store.connection import Store, open_store

BATCH = 500  # records a transaction
STREAK = 10
PAUSE_S = 30.0
GIVE_UP_EVERY_S = 60.0  # how often feedback is looked for that has waited for too long
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 5.0  # between tries while the log or the store is away

log_lines = logging.getLogger("thumbwheel.consumer")


@dataclass(frozen=True)
class Position:
    """How far this consumer has read one partition, and under which epoch. `streak` counts dead letters in a row."""

    topic: str
    partition: int
    epoch: int
    offset: int
    streak: int = 0


def take_partitions(store: Store, log: EventLog) -> list[Position]:
    """Become the only writer of every partition. Raises StoreUnavailable.

    Where the log ends before what the store has read of it, it is another log, or an older copy of it: then all that
    it holds is read again, which changes nothing that is there already.
    """
    ends = log.ends()
    taken = []
    with store.write() as tx:
        for topic, partition in sorted((topic, partition) for topic, parts in ends.items() for partition in parts):
            at = Position(topic, partition, *data_rows.take_partition(tx, topic, partition))
            if at.offset > ends[topic][partition]:
                log_lines.error(
                    "%s/%d ends at %d and was read to %d: the log was replaced; reading it from its beginning",
                    *(topic, partition, ends[topic][partition], at.offset),
                )
                data_rows.advance(tx, topic, partition, at.epoch, at.offset, 0)
                at = replace(at, offset=0)
            taken.append(at)
    return taken


def step(store: Store, log: EventLog, at: Position, now_ms: int, limit: int = BATCH) -> Position:
    """Ingest up to `limit` records of one partition in one transaction. Raises StoreUnavailable, LostRace.

    It ends early at the dead letter that makes the streak full.
    """
    records = log.read(at.topic, at.partition, at.offset, limit)
    if not records:
        return at
    with store.write() as tx:
        after = _ingest(tx, at, records, now_ms)
        data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, after.offset)
    return after


def _ingest(tx: Connection, at: Position, records: Sequence[Record], now_ms: int) -> Position:
    decoded = [(record, _decode(record)) for record in records]
    events = [(record.offset, event) for record, event in decoded if not isinstance(event, str)]
    if len(events) == len(records) and _handle(tx, events) is None:
        return replace(at, offset=records[-1].offset, streak=0)
    streak = at.streak
    for record, event in decoded:
        reason = event if isinstance(event, str) else _handle(tx, [(record.offset, event)])
        streak = 0 if reason is None else streak + 1
        if reason is not None:
            data_rows.bury(tx, record, reason, now_ms)
            log_lines.warning("dead letter %s/%d at %d: %s", at.topic, at.partition, record.offset, reason)
        if streak >= STREAK:
            break
    return replace(at, offset=record.offset, streak=streak)


def _decode(record: Record) -> Event | str:
    """The event, or why there is none."""
    try:
        return decode(record.value)
    except msgspec.DecodeError as error:
        return f"not readable: {error}"


def _handle(tx: Connection, events: Sequence[tuple[int, Event]]) -> str | None:
    """Ingest, all or nothing; why not, if not. Trouble of the store itself is raised."""
    inferences = [event for _, event in events if isinstance(event, InferenceEvent)]
    feedbacks = [(offset, event) for offset, event in events if isinstance(event, FeedbackEvent)]
    try:
        with tx.begin_nested():
            data_rows.ingest(tx, inferences, feedbacks)
    except OperationalError:  # locked, full or away: no record's fault
        raise
    except Exception:  # noqa: BLE001 - a record can be wrong in ways that nobody foresaw; it is kept with its traceback
        return f"not handled: {traceback.format_exc()}"
    return None


def give_up(store: Store, log: EventLog, partitions: Sequence[Position], window_s: float, now_ms: int) -> int:
    """Refuse feedback that has waited for its inference for `window_s`. Returns how many. Idempotent.

    Nothing is refused where anything in the log is unread: the inference may be in it. Raises StoreUnavailable,
    LostRace.
    """
    read = {(at.topic, at.partition): at.offset for at in partitions}
    ends = {(topic, part): end for topic, parts in log.ends().items() for part, end in parts.items()}
    if any(read.get(place, 0) < end for place, end in ends.items()):
        return 0
    with store.write() as tx:
        for at in partitions:  # whoever is no longer the partitions' reader decides nothing
            data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, at.offset)
        refused = data_rows.give_up_unseen(tx, now_ms - round(window_s * 1000))
    if refused:
        log_lines.info("%d feedback refused: their inferences have not arrived within %g s", refused, window_s)
    return refused


def consume(store: Store, log: EventLog, clock: Clock, poll_s: float, window_s: float, stop: threading.Event) -> None:
    """Read until `stop` is set. Raises LostRace when another consumer has taken a partition.

    `poll_s` is the wait where there is nothing to read, `window_s` how long feedback waits for its inference.
    """
    wait_s = FIRST_WAIT_S
    gave_up_ms: int | None = None
    partitions: list[Position] = []
    stopped_ms: dict[tuple[str, int], int] = {}
    while not stop.is_set():
        try:
            partitions = partitions or take_partitions(store, log)
            moved = False
            for i, at in enumerate(partitions):
                since_ms = stopped_ms.get((at.topic, at.partition))
                if since_ms is not None and lasts(clock(), since_ms, int(PAUSE_S * 1000)):
                    continue
                after = step(store, log, at, clock())
                moved = moved or after.offset != at.offset
                if after.streak >= STREAK:
                    log_lines.error(
                        "%s/%d stops for %g s at %d: %d records in a row could not be handled (see the dead letters)",
                        *(at.topic, at.partition, PAUSE_S, after.offset, STREAK),
                    )
                    stopped_ms[at.topic, at.partition] = clock()
                    after = replace(after, streak=0)
                partitions[i] = after
            wait_s = FIRST_WAIT_S
            if not moved and (gave_up_ms is None or not lasts(clock(), gave_up_ms, int(GIVE_UP_EVERY_S * 1000))):
                give_up(store, log, partitions, window_s, clock())
                gave_up_ms = clock()
            if not moved:
                stop.wait(poll_s)
        except StoreUnavailable as error:
            log_lines.warning("waiting %.1f s: %s", wait_s, error)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)


def run(argv: list[str]) -> int:
    """The verb `consumer`. Returns 1 when another consumer has taken its place."""
    settings = settings_from(parser("consumer").parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home = prepare(settings.home)
    stop = stop_on_signals()
    store, log = open_store(home.store), SqliteEventLog(home.events)
    try:
        poll_s = settings.consumer_poll_ms / 1000
        consume(store, log, system_clock, poll_s, settings.feedback_window_s, stop)
    except LostRace as error:
        log_lines.error("stopping: %s", error)
        return 1
    finally:
        log.close()
        store.close()
    return 0
