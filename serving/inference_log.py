"""Inferences on their way to the event log, off the request path: chat never waits for a disk.

A bounded queue feeds one thread that hands batches to another (serving/sender.py), which appends them. An append that
is not back within PATIENCE_S, whatever the log does, is written to this worker's spool (serving/spool.py) besides, and
what comes after it goes there at once: memory, which `kill -9` takes, holds an inference for a moment only. Written is
enough for that; it is not synced. Where the append comes back well after all, its copy is skipped; where not, or where
nobody is there to see it, the spool is drained into the log when it is back, oldest first.

What the disk does not take waits in memory for as long as the log may still take it, and is then dropped and counted. A
record may be written twice, by an append that failed late or that nobody heard of; its id makes that harmless.

An inference that is only in memory dies with its worker. Feedback on it, which is durable, would then wait for it for
ever; so a worker takes feedback on an answer of its own only when the answer is written (`settled`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from serving.sender import Sender
from serving.spool import Spool
from thumbwheel import answers, events
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.events import InferenceEvent

log = logging.getLogger(__name__)

BATCH = 512
PATIENCE_S = 0.05
RETRY_S = 0.5
TICK_S = 0.25
SETTLE_S, SETTLE_POLL_S = 2.0, 0.005

Line = tuple[str, bytes]
"""An inference's id and its event, encoded."""


@dataclass(frozen=True)
class _UnderWay:
    """What the sender has in hand: `spooled` are the spool's oldest lines, `rest` is in memory alone.

    `unread` of the spooled lines are no events, and were not handed over.
    """

    spooled: list[bytes]
    rest: list[Line]
    unread: int = 0


class InferenceLog:
    """The queue, its threads and its spool. `open_log` connects to the event log, or raises StoreUnavailable."""

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        spool: Path,
        most_queued: int,
        spool_bytes: int,
        *,
        settle_s: float = SETTLE_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._most_queued, self._settle_s, self._patience_s = most_queued, settle_s, patience_s
        self._queue: deque[tuple[InferenceEvent, bool, Collection[str]]] = deque()
        self._left: list[Line] = []  # out of the queue, and in memory alone
        self._unwritten: set[str] = set()
        self._spool = Spool(spool, spool_bytes)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._sender = Sender(open_log, events.INFERENCE, self._wake.set)
        self._under_way: _UnderWay | None = None
        self._prompt = True  # whether the log took what it was last given, and in time
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Begin to write."""
        self._sender.start()
        self._thread.start()

    def expect(self, inference: str) -> None:
        """An answer with this id has begun; `put` follows, though its client may have all of it before that."""
        self._unwritten.add(inference)

    def put(self, event: InferenceEvent, *, keep_text: bool, excused: Collection[str] = ()) -> None:
        """Take an inference; never blocks. Its answer is looked at for faults, but for the `excused`.

        Without `keep_text` the answer is not written.
        """
        if len(self._queue) >= self._most_queued:
            self.dropped += 1
            self._unwritten.discard(event.id)
            return
        self._unwritten.add(event.id)
        self._queue.append((event, keep_text, excused))
        self._wake.set()

    async def settled(self, inference: str) -> None:
        """Return once this worker no longer holds the inference in memory alone; after `settle_s` in any case.

        At once for another worker's or an earlier process's inference. It gives up, on a client that speaks in the
        middle of a long answer or a disk that hangs, since refusing feedback costs more than losing its inference.
        """
        deadline = time.monotonic() + self._settle_s
        while inference in self._unwritten and time.monotonic() < deadline:
            await asyncio.sleep(SETTLE_POLL_S)

    @property
    def queued(self) -> int:
        """Inferences in memory that wait."""
        return len(self._queue) + len(self._left)

    @property
    def spooled(self) -> int:
        """Bytes on disk that the log has not got yet."""
        return self._spool.size

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, to the log or to the spool, and end the threads.

        A log that hangs is waited for only where the spool has no room for what it was given.
        """
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("%d inferences or more are lost: the log hangs, and the spool has no room", self.queued)

    def _run(self) -> None:
        while not self._over():
            self._wait()
            self._advance()
            taken = [] if self._left else self._take()
            try:
                self._left = self._write(self._left or [_line(*queued) for queued in taken])
            except Exception:  # the thread's outermost loop: without it every later inference would be lost
                log.exception("inferences could not be written")
                lost = [event.id for event, *_ in taken] or [id_ for id_, _ in self._left]
                self._left = []
                self.dropped += len(lost)
                self._unwritten.difference_update(lost)
        if self._under_way is not None and self._sender.is_back(self._patience_s):
            self._advance()
        self._sender.close(wait=self._under_way is None)
        self._spool.close()

    def _over(self) -> bool:
        alone = self._queue or self._left or (self._under_way and self._under_way.rest)
        return self._stop.is_set() and not alone

    def _wait(self) -> None:
        """Until there is something to do, or a moment."""
        if self._left or not self._queue:
            self._wake.wait(TICK_S)
        self._wake.clear()

    def _advance(self) -> None:
        """Learn what became of what is under way, and drain the spool on."""
        try:
            self._look()
            if not self._over():
                self._drain()
        except Exception as error:  # as above: the thread must outlive a spool that it cannot read
            log.warning("the spool cannot be drained: %s", error, exc_info=not isinstance(error, OSError))
            self._retry_at = time.monotonic() + RETRY_S

    def _take(self) -> list[tuple[InferenceEvent, bool, Collection[str]]]:
        """Everything that is queued, up to a batch."""
        return [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]

    def _write(self, lines: list[Line]) -> list[Line]:
        """Give these to the log, or keep them in the spool; what it has no room for, while the log may take it yet."""
        if not lines:
            return []
        if not (self._under_way or self._spool.holds or self._is_away()):
            self._sender.hand(lines)
            if self._is_back():
                if self._took():
                    self._release(lines)
                    return []
            else:
                rest = self._keep(lines)
                left = {id_ for id_, _ in rest}
                self._under_way = _UnderWay([value for id_, value in lines if id_ not in left], rest)
                return []
        rest = self._keep(lines)
        if not self._is_away():
            return rest
        self.dropped += len(rest)
        self._release(rest)
        return []

    def _keep(self, lines: list[Line]) -> list[Line]:
        """Put these into the spool; those that it has no room for."""
        kept = self._spool.add([value for _, value in lines])
        self._release(line for line, is_kept in zip(lines, kept, strict=True) if is_kept)
        return [line for line, is_kept in zip(lines, kept, strict=True) if not is_kept]

    def _drain(self) -> None:
        """Hand over the next lines of the spool; of the last ones it waits whether the log takes them.

        Else new ones would be spooled meanwhile, and a log that is well again would never be written to directly.
        """
        while self._spool.holds and not (self._under_way or self._is_away()):
            batch = self._spool.batch(BATCH)
            lines: list[Line] = []
            for line in batch:
                try:
                    lines.append((events.decode(line).id, line))
                except msgspec.DecodeError:  # a line that a killed worker wrote half of
                    continue
            self._under_way = _UnderWay(batch, [], len(batch) - len(lines))
            if not lines:
                self._forget(self._under_way)
                continue
            self._sender.hand(lines)
            is_last = self._spool.size <= sum(len(line) + 1 for line in batch)
            if is_last and self._is_back():
                self._look()

    def _look(self) -> None:
        """See what became of what is under way, if it is back."""
        under_way = self._under_way
        if under_way is None or not self._sender.is_back():
            return
        self._under_way, after = None, self._left
        self._left = [*under_way.rest, *after]  # also where nobody foresaw how it ended
        if self._took():
            self._left = after
            self._forget(under_way)

    def _forget(self, under_way: _UnderWay) -> None:
        """The log has it all."""
        self._under_way = None
        self.dropped += under_way.unread
        self._spool.drained(under_way.spooled)
        self._release(under_way.rest)

    def _is_back(self) -> bool:
        """Whether the append ends within our patience; a log that hung or was away just now gets none."""
        is_back = self._sender.is_back(self._patience_s if self._prompt else 0.0)
        self._prompt = self._prompt and is_back
        return is_back

    def _took(self) -> bool:
        """Whether the log has what it was given, of an append that is back. Raises what nobody foresaw."""
        try:
            self._sender.outcome()
        except StoreUnavailable as error:
            log.warning("%s; inferences go to the spool meanwhile", error)
            self._retry_at, self._prompt = time.monotonic() + RETRY_S, False
            return False
        self._prompt = True
        return True

    def _is_away(self) -> bool:
        return time.monotonic() < self._retry_at

    def _release(self, lines: Iterable[Line]) -> None:
        """These are no longer in memory alone."""
        self._unwritten.difference_update(id_ for id_, _ in lines)


def _line(event: InferenceEvent, keep_text: bool, excused: Collection[str]) -> Line:
    """As it is written: with the answer's gross faults noted, where there is an answer that was finished."""
    judged = event.answer is not None and event.status in ("ok", "release_error")
    flags = answers.flags(event.answer or "", event.finish_reason) if judged else []
    found = [flag for flag in flags if flag not in excused]
    if not keep_text:
        event = msgspec.structs.replace(event, flags=found, messages=None, answer=None)
    elif found:
        event = msgspec.structs.replace(event, flags=found)
    return event.id, events.encode(event)
