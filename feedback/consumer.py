"""The consumer: reads inference and feedback events out of the event log into the store, and does nothing else.

    thumbwheel consumer [--home DIR]

One transaction holds a batch's rows and the partition's new offset (feedback/ingest.py), so an event has its effect
once, whenever the process is killed. Several consumers may share the partitions, as the event log assigns them. At each
assignment a partition's epoch is raised; a consumer of an earlier epoch (one that hung, or that another has displaced)
finds that out at its next write, writes nothing, and lets go of it; with nothing left to read it ends. Dead letters in
a row stop the partition for `PAUSE_S`, since then the fault is more likely ours than the records'.

What waits for anything but a reviewer is refused `feedback_window_s` after its receipt (see `GIVEN_UP` in
thumbwheel/ledger.py), and only once the log is read to its end: an inference that lies in it unread still joins,
however late this process comes to it.

It knows nothing of curation. Where the log or the store is away, or the disk is full, it waits and tries again; nothing
is skipped.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from feedback.ingest import STREAK, Position, step
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import Clock, lasts, system_clock
from thumbwheel.errors import LostRace, StoreUnavailable
from thumbwheel.eventlog import EventLog, Place
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import prepare, read_secret
from thumbwheel.stopping import stop_on_signals
from thumbwheel.store import data_rows, ingestion
from thumbwheel.store.connection import Store, open_store

PAUSE_S = 30.0
GIVE_UP_EVERY_S = 60.0  # how often feedback is looked for that has waited for too long
FIRST_WAIT_S, LAST_WAIT_S = 0.1, 5.0  # between tries while the log or the store is away

log_lines = logging.getLogger("thumbwheel.consumer")


@dataclass
class Reading:
    """What a consumer knows between two turns: its partitions, where the log was last seen to end, and its pauses."""

    apart: Collection[str] = ()
    secret: bytes = b""
    generation: int | None = None
    partitions: dict[Place, Position] = field(default_factory=dict)
    ends: dict[Place, int] = field(default_factory=dict)
    looked_ms: int | None = None
    stopped_ms: dict[Place, int] = field(default_factory=dict)
    gave_up_ms: int | None = None


def take_partitions(store: Store, log: EventLog, places: Collection[Place] | None = None) -> list[Position]:
    """Become the only writer of `places`, by default of what the log assigns. Raises StoreUnavailable.

    Where the log ends before what the store has read of it, it is another log, or an older copy of it: then all that
    it holds is read again, which changes nothing that is there already. Where it begins after that, records have
    expired unread, and it is read on from what is left.
    """
    wanted = sorted(log.assigned().places if places is None else places)
    ends, starts = log.ends(), log.starts()
    taken = []
    with store.write() as tx:
        for topic, partition in wanted:
            at = Position(topic, partition, *data_rows.take_partition(tx, topic, partition))
            end, start = ends[topic].get(partition), starts[topic].get(partition)
            if end is None or start is None:
                raise StoreUnavailable(f"the event log does not say yet where {topic}/{partition} ends")
            if at.offset > end:
                log_lines.error(
                    "%s/%d ends at %d and was read to %d: the log was replaced; reading it from its beginning",
                    *(topic, partition, end, at.offset),
                )
            elif at.offset < start:
                log_lines.error(
                    "%s/%d was read to %d and begins at %d: %d records have expired unread",
                    *(topic, partition, at.offset, start, start - at.offset),
                )
            if not start <= at.offset <= end:
                data_rows.advance(tx, topic, partition, at.epoch, at.offset, start)
                at = replace(at, offset=start)
            taken.append(at)
    return taken


def give_up(store: Store, log: EventLog, partitions: Sequence[Position], window_s: float, now_ms: int) -> int:
    """Refuse feedback that has waited for `window_s`. Returns how many. Idempotent.

    Nothing is refused where anything in the log is unread, by whichever consumer: what it waits for may be in it.
    Raises StoreUnavailable, LostRace.
    """
    ends = log.ends()
    with store.write() as tx:
        if not data_rows.caught_up(tx, ends):
            return 0
        for at in partitions:  # whoever is no longer the partitions' reader decides nothing
            data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, at.offset)
        refused = ingestion.give_up(tx, now_ms - round(window_s * 1000))
    if refused:
        log_lines.info("%d feedback refused: what they waited for has not come within %g s", refused, window_s)
    return refused


def consume(
    store: Store,
    log: EventLog,
    clock: Clock,
    poll_s: float,
    window_s: float,
    stop: threading.Event,
    apart: Collection[str] = (),
    secret: bytes = b"",
) -> None:
    """Read until `stop` is set. Raises LostRace when other consumers have taken every partition.

    `poll_s` is the wait where there is nothing to read, `window_s` how long feedback waits; `apart`
    are the channels whose dead letters have topics of their own, `secret` is the home's.
    """
    wait_s = FIRST_WAIT_S
    me = Reading(apart, secret)
    while not stop.is_set():
        try:
            moved = _turn(me, store, log, clock, poll_s)
            wait_s = FIRST_WAIT_S
            if moved:
                continue
            if me.gave_up_ms is None or not lasts(clock(), me.gave_up_ms, int(GIVE_UP_EVERY_S * 1000)):
                give_up(store, log, list(me.partitions.values()), window_s, clock())
                me.gave_up_ms = clock()
            stop.wait(poll_s)
        except StoreUnavailable as error:
            log_lines.warning("waiting %.1f s: %s", wait_s, error)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, LAST_WAIT_S)
        except LostRace as error:
            _let_go(me, store, log, error)


def _turn(me: Reading, store: Store, log: EventLog, clock: Clock, poll_s: float) -> bool:
    """Read a batch of each partition that has one; whether there was any."""
    assignment = log.assigned()
    if assignment.generation != me.generation:
        me.partitions = {at.place: at for at in take_partitions(store, log, assignment.places)}
        me.generation = assignment.generation
        log_lines.info("reading %s", ", ".join(f"{topic}/{part}" for topic, part in sorted(me.partitions)) or "nothing")
    behind = any(at.offset < me.ends.get(place, 0) for place, at in me.partitions.items())
    if not behind or me.looked_ms is None or not lasts(clock(), me.looked_ms, int(poll_s * 1000)):
        me.ends = {(topic, part): end for topic, parts in log.ends().items() for part, end in parts.items()}
        me.looked_ms = clock()
    moved = False
    for place, at in list(me.partitions.items()):
        since_ms = me.stopped_ms.get(place)
        if since_ms is not None and lasts(clock(), since_ms, int(PAUSE_S * 1000)):
            continue
        if at.offset >= me.ends.get(place, 0):
            continue
        after = step(store, log, at, clock(), apart=me.apart, secret=me.secret)
        moved = moved or after.offset != at.offset
        if after.streak >= STREAK:
            log_lines.error(
                "%s/%d stops for %g s at %d: %d records in a row could not be handled (see `thumbwheel dead-letters`)",
                *(*place, PAUSE_S, after.offset, STREAK),
            )
            me.stopped_ms[place] = clock()
            after = replace(after, streak=0)
        me.partitions[place] = after
    return moved


def _let_go(me: Reading, store: Store, log: EventLog, lost: LostRace) -> None:
    """Forget the partitions that have another writer. Raises `lost` where that leaves none and no others are ours."""
    try:
        with store.read() as tx:
            epochs = data_rows.epochs(tx)
        kept = {place: at for place, at in me.partitions.items() if epochs.get(place) == at.epoch}
        log_lines.error("%s; letting go of %d partitions", lost, len(me.partitions) - len(kept))
        nothing_new = log.assigned().generation == me.generation
    except StoreUnavailable:  # it is found out again at the next write
        return
    if nothing_new and (not kept or len(kept) == len(me.partitions)):
        raise lost
    me.partitions = kept


def run(argv: list[str]) -> int:
    """The verb `consumer`. Returns 1 when other consumers have taken its place."""
    settings = settings_from(parser("consumer").parse_args(argv))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    home = prepare(settings.home)
    stop = stop_on_signals()
    store, log = open_store(settings, home), open_log(settings, home, "member")
    gc.freeze()  # no collection need look again at what is loaded by now: that took as long as reading the events
    try:
        poll_s = settings.consumer_poll_ms / 1000
        window_s = settings.feedback_window_s
        consume(store, log, system_clock, poll_s, window_s, stop, settings.dead_letter_channels, read_secret(home))
    except LostRace as error:
        log_lines.error("stopping: %s", error)
        return 1
    finally:
        log.close()
        store.close()
    return 0
