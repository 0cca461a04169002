"""Inferences on their way to the event log, off the request path: chat never waits for a disk.

A bounded queue feeds one thread that writes batches. While the log is away they go to this worker's spool file,
bounded in size, and from there into the log when it is back, oldest first; what fits nowhere, on a full disk say, is
dropped and counted.
A record may be written twice where a process is killed while its spool drains; its id makes that harmless. Spools
that a killed worker left behind are adopted by the next one to start.

An inference that is only in memory dies with its worker. Feedback on it, which is durable, would then wait for it for
ever; so a worker takes feedback on an answer of its own only when the answer is written (`settled`).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

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

    def __init__(self, open_log: Callable[[], EventLog], spool: Path, most_queued: int, spool_bytes: int) -> None:
        self._open_log = open_log
        self._log: EventLog | None = None
        self._queue: queue.Queue[tuple[InferenceEvent, bool]] = queue.Queue(most_queued)
        self._unwritten: set[str] = set()
        self._spool = _Spool(spool, spool_bytes)
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

    def put(self, event: InferenceEvent, *, keep_text: bool) -> None:
        """Take an inference; never blocks. Without `keep_text` its answer is looked at for faults and not written."""
        self._unwritten.add(event.id)
        try:
            self._queue.put_nowait((event, keep_text))
        except queue.Full:
            self.dropped += 1
            self._unwritten.discard(event.id)

    async def settled(self, inference: str) -> None:
        """Return once this worker no longer holds the inference in memory alone; after SETTLE_S in any case.

        At once where it is another worker's, or of before. A client that speaks in the middle of a long answer, or a
        disk that hangs, is not waited for any longer: what was said is worth more than what it was said of.
        """
        deadline = time.monotonic() + SETTLE_S
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
                self._write([_finished(event, keep_text) for event, keep_text in batch])
            except Exception:  # the thread's outermost loop: without it every later inference would be lost
                log.exception("inferences could not be written")
                self.dropped += len(batch)
            self._unwritten.difference_update(event.id for event, _ in batch)
            if self._spool.size and time.monotonic() >= self._retry_at:
                try:
                    self._drain()
                except OSError as error:
                    log.warning("the spool cannot be read: %s", error)
                    self._retry_at = time.monotonic() + RETRY_S
        if self._log is not None:
            self._log.close()
        self._spool.close()

    def _take(self) -> list[tuple[InferenceEvent, bool]]:
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
        for batch in self._spool.batches():
            records, bad = [], 0
            for line in batch:
                try:
                    records.append((events.decode(line).id, line))
                except msgspec.DecodeError:  # a line that a killed worker wrote half of
                    bad += 1
            self.dropped += bad
            if records and not self._append(records):
                return
            self._spool.drained(batch)
        self._spool.empty()


def _finished(event: InferenceEvent, keep_text: bool) -> InferenceEvent:
    """With the answer's gross faults noted, where there is an answer that was finished."""
    judged = event.answer is not None and event.status in ("ok", "release_error")
    found = answers.flags(event.answer or "", event.finish_reason) if judged else []
    if keep_text:
        return msgspec.structs.replace(event, flags=found) if found else event
    return msgspec.structs.replace(event, flags=found, messages=None, answer=None)


class _Spool:
    """A file of lines, this worker's own by its lock, with those that dead workers left drained first."""

    def __init__(self, directory: Path, limit: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory, self._limit = directory, limit
        self._own: BinaryIO | None = None
        self._adopted = list(_abandoned(directory))
        self._at = 0  # bytes of the first file that are in the log
        self.size = sum(_length(file) for file in self._adopted)

    def add(self, lines: list[bytes]) -> int:
        """Keep `lines`; returns how many did not fit, or found the disk full."""
        room = self._limit - self.size
        fitting = []
        for line in lines:
            if len(line) + 1 <= room:
                fitting.append(line + b"\n")
                room -= len(line) + 1
        try:
            kept = self._append(b"".join(fitting)) if fitting else b""
        except OSError as error:
            log.error("the spool cannot be written: %s", error)
            kept = b""
        self.size += len(kept)
        return len(lines) - kept.count(b"\n")

    def _append(self, whole: bytes) -> bytes:
        """Write as many of the lines of `whole` as the disk takes, and return them. Raises OSError where it takes none.

        Past the reader's buffer, which would keep what a full disk refused and write it some time later.
        """
        if self._own is None:
            self._own = _locked(self._directory / f"{os.getpid()}-{time.time_ns()}.jsonl")
        with open(self._own.name, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            kept = whole[: whole.rfind(b"\n", 0, file.write(whole)) + 1]
            file.truncate(before + len(kept))  # without the line that the disk took half of
        return kept

    def batches(self) -> Iterator[list[bytes]]:
        """What is to be drained, oldest file first; call `drained` after each that is in the log."""
        while files := [*self._adopted, *([self._own] if self._own else [])]:
            file = files[0]
            file.seek(self._at)
            batch = [line.rstrip(b"\n") for line in _some_lines(file)]
            if batch:
                yield batch
            else:
                self._forget(file)

    def drained(self, batch: list[bytes]) -> None:
        """The log has this batch."""
        length = sum(len(line) + 1 for line in batch)
        self._at += length
        self.size = max(0, self.size - length)

    def empty(self) -> None:
        """Everything is drained."""
        self.size = 0

    def close(self) -> None:
        """Keep the files for the next worker, but for those with nothing in them."""
        for file in [*self._adopted, *([self._own] if self._own else [])]:
            if self.size == 0:
                Path(file.name).unlink(missing_ok=True)
            file.close()

    def _forget(self, file: BinaryIO) -> None:
        Path(file.name).unlink(missing_ok=True)
        file.close()
        self._at = 0
        if file is self._own:
            self._own = None
        else:
            self._adopted.remove(file)


def _some_lines(file: BinaryIO) -> Iterator[bytes]:
    for _ in range(BATCH):
        line = file.readline()
        if not line:
            return
        yield line


def _abandoned(directory: Path) -> Iterator[BinaryIO]:
    for path in sorted(directory.glob("*.jsonl")):
        try:
            yield _locked(path)
        except OSError:  # a living worker's
            continue


def _locked(path: Path) -> BinaryIO:
    """Opened to append, and locked for as long as it is open. Raises OSError where another holds it."""
    file = open(path, "a+b", opener=_private)  # noqa: SIM115 - held for the worker's life
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
