"""A gateway worker's file of lines that the event log has not got yet, bounded in size, on a disk that may be full.

Only whole lines are kept, and given back oldest first. A file is its worker's own by a lock, so what a killed worker
left is adopted by the next to start. It knows nothing of what a line holds, and is used by one thread.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger(__name__)


class Spool:
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

        Unbuffered: a buffer would keep what a full disk refused, and write it later.
        """
        if self._own is None:
            self._own = _locked(self._directory / f"{os.getpid()}-{time.time_ns()}.jsonl")
        with open(self._own.name, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            kept = whole[: whole.rfind(b"\n", 0, file.write(whole)) + 1]
            file.truncate(before + len(kept))  # without the line that the disk took half of
        return kept

    def batches(self, lines: int) -> Iterator[list[bytes]]:
        """What is to be drained, `lines` at a time, oldest file first; call `drained` after each that is in the log."""
        while files := [*self._adopted, *([self._own] if self._own else [])]:
            file = files[0]
            file.seek(self._at)
            batch = [line.rstrip(b"\n") for line in itertools.islice(file, lines)]
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
