"""Inferences on their way to the event log, off the request path: chat never waits for a disk.

A bounded queue feeds one thread that writes batches. While the log is away they go to this worker's spool
(serving/spool.py), and from there into the log when it is back, oldest first; what fits nowhere, on a full disk say, is
dropped and counted. A record may be written twice where a process is killed while its spool drains; its id makes that
harmless.

An inference that is only in memory dies with its worker. Feedback on it, which is durable, would then wait for it for
ever; so a worker takes feedback on an answer of its own only when the answer is written (`settled`).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from serving.spool import Spool
from thumbwheel import answers, events
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.events import InferenceEvent

log = logging.getLogger(__name__)

BATCH = 512
RETRY_S = 0.5
TICK_S = 0.25
SETTLE_S, SETTLE_POLL_S = 2.0, 0.005


class InferenceLog:
    """The queue, its thread and its spool. `open_log` connects to the event log, or raises StoreUnavailable."""

    def __init__(
        self,
        open_log: Callable[[], EventLog],
        spool: Path,
        most_queued: int,
        spool_bytes: int,
        *,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._open_log, self._settle_s = open_log, settle_s
        self._log: EventLog | None = None
        self._queue: queue.Queue[tuple[InferenceEvent, bool, Collection[str]]] = queue.Queue(most_queued)
        self._unwritten: set[str] = set()
        self._spool = Spool(spool, spool_bytes)
        self._stop = threading.Event()
        self._retry_at = 0.0
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)
        self.dropped = 0

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def expect(self, inference: str) -> None:
        """An answer with this id has begun; `put` follows, though its client may have all of it before that."""
        self._unwritten.add(inference)

    def put(self, event: InferenceEvent, *, keep_text: bool, excused: Collection[str] = ()) -> None:
        """Take an inference; never blocks. Its answer is looked at for faults, but for the `excused`.

        Without `keep_text` the answer is not written.
        """
        self._unwritten.add(event.id)
        try:
            self._queue.put_nowait((event, keep_text, excused))
        except queue.Full:
            self.dropped += 1
            self._unwritten.discard(event.id)

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
        """Inferences in memory."""
        return self._queue.qsize()

    @property
    def spooled(self) -> int:
        """Bytes on disk that the log has not got yet."""
        return self._spool.size

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, to the log or to the spool, and end the thread."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not (self._stop.is_set() and self._queue.empty()):
            batch = self._take()
            try:
                self._write([_finished(*queued) for queued in batch])
            except Exception:  # the thread's outermost loop: without it every later inference would be lost
                log.exception("inferences could not be written")
                self.dropped += len(batch)
            self._unwritten.difference_update(event.id for event, *_ in batch)
            if self._spool.size and time.monotonic() >= self._retry_at:
                try:
                    self._drain()
                except Exception as error:  # as above: the thread must outlive a spool that it cannot read
                    log.warning("the spool cannot be read: %s", error, exc_info=not isinstance(error, OSError))
                    self._retry_at = time.monotonic() + RETRY_S
        if self._log is not None:
            self._log.close()
        self._spool.close()

    def _take(self) -> list[tuple[InferenceEvent, bool, Collection[str]]]:
        """Everything that is queued, up to a batch; waits a moment for the first."""
        try:
            batch = [self._queue.get(timeout=0 if self._stop.is_set() else TICK_S)]
        except queue.Empty:
            return []
        while len(batch) < BATCH:
            try:
                batch.append(self._queue.get_nowait())
            except queue.Empty:
                break
        return batch

    def _write(self, batch: list[InferenceEvent]) -> None:
        if not batch:
            return
        records = [(event.id, events.encode(event)) for event in batch]
        if self._spool.size or not self._append(records):
            self.dropped += self._spool.add([value for _, value in records])

    def _append(self, records: list[tuple[str, bytes]]) -> bool:
        if time.monotonic() < self._retry_at:
            return False
        try:
            if self._log is None:
                self._log = self._open_log()
            self._log.append(events.INFERENCE, records, durable=False)
        except StoreUnavailable as error:
            log.warning("%s; inferences go to the spool meanwhile", error)
            self._retry_at = time.monotonic() + RETRY_S
            return False
        return True

    def _drain(self) -> None:
        for batch in self._spool.batches(BATCH):
            records, bad = [], 0
            for line in batch:
                try:
                    records.append((events.decode(line).id, line))
                except msgspec.DecodeError:  # a line that a killed worker wrote half of
                    bad += 1
            if records and not self._append(records):
                return
            self.dropped += bad
            self._spool.drained(batch)
        self._spool.empty()


def _finished(event: InferenceEvent, keep_text: bool, excused: Collection[str]) -> InferenceEvent:
    """With the answer's gross faults noted, where there is an answer that was finished."""
    judged = event.answer is not None and event.status in ("ok", "release_error")
    flags = answers.flags(event.answer or "", event.finish_reason) if judged else []
    found = [flag for flag in flags if flag not in excused]
    if keep_text:
        return msgspec.structs.replace(event, flags=found) if found else event
    return msgspec.structs.replace(event, flags=found, messages=None, answer=None)
