"""A gateway worker's files of lines that the event log has not got yet, bounded in size, on a disk that may be full.

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

FILE_BYTES = 16 << 20  # after which another file is begun: one goes only when all of it is drained


class Spool:
    """Files of lines, this worker's own by its locks; those that dead workers left are drained first.

    At most `limit` bytes wait in it, and `file_bytes` of what is drained already may lie there besides.
    """

    def __init__(self, directory: Path, limit: int, *, file_bytes: int = FILE_BYTES) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory, self._limit, self._file_bytes = directory, limit, file_bytes
        self._own: BinaryIO | None = None
        self._older = list(_abandoned(directory))
        self._at = 0  # bytes of the first file that are in the log
        self.size = sum(_length(file) for file in self._older)

    @property
    def holds(self) -> bool:
        """Whether something in it is not drained."""
        return bool(self._older or self._own)

    def add(self, lines: list[bytes]) -> list[bool]:
        """Keep `lines`; returns of each whether it is kept: some may not fit, or find the disk full."""
        room = self._limit - self.size
        fitting, fits = [], []
        for line in lines:
            fits.append(len(line) + 1 <= room)
            if fits[-1]:
                fitting.append(line + b"\n")
                room -= len(line) + 1
        try:
            kept = self._append(b"".join(fitting)) if fitting else b""
        except OSError as error:
            log.error("the spool cannot be written: %s", error)
            kept = b""
        self.size += len(kept)
        left = itertools.count(-kept.count(b"\n"))  # the disk takes the first of those that fit
        return [fit and next(left) < 0 for fit in fits]

    def _append(self, whole: bytes) -> bytes:
        """Write as many of the lines of `whole` as the disk takes, and return them. Raises OSError where it takes none.

        Unbuffered: a buffer would keep what a full disk refused, and write it later.
        """
        if self._own is not None and _length(self._own) >= self._file_bytes:
            self._older.append(self._own)
            self._own = None
        if self._own is None:
            self._own = _locked(self._directory / f"{os.getpid()}-{time.time_ns()}.jsonl")
        with open(self._own.name, "ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            kept = whole[: whole.rfind(b"\n", 0, file.write(whole)) + 1]
            file.truncate(before + len(kept))  # without the line that the disk took half of
        return kept

    def batch(self, lines: int) -> list[bytes]:
        """The next to be drained, up to `lines` of the oldest file; call `drained` once the log has them.

        The same ones again until then. None at all only where nothing is left.
        """
        while files := self._files():
            files[0].seek(self._at)
            found = [line.rstrip(b"\n") for line in itertools.islice(files[0], lines)]
            if found:
                return found
            self._forget(files[0])
        return []

    def drained(self, batch: list[bytes]) -> None:
        """The log has these, which were the oldest. A file goes with the last of its lines."""
        if not batch:
            return
        length = sum(len(line) + 1 for line in batch)
        self._at += length
        self.size = max(0, self.size - length)
        (first, *_) = self._files()
        if self._at >= _length(first):
            self._forget(first)

    def close(self) -> None:
        """Keep the files for the next worker, but for those with nothing in them."""
        for file in self._files():
            if self.size == 0:
                Path(file.name).unlink(missing_ok=True)
            file.close()

    def _files(self) -> list[BinaryIO]:
        """Oldest first."""
        return [*self._older, *([self._own] if self._own else [])]

    def _forget(self, file: BinaryIO) -> None:
        Path(file.name).unlink(missing_ok=True)
        file.close()
        self._at = 0
        if file is self._own:
            self._own = None
        else:
            self._older.remove(file)
        if not self.holds:
            self.size = 0


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
