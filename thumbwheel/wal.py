"""Write-ahead mode of an SQLite file, however many open it first; and a file that holds nothing more than it shows.

SQLite refuses at once, whatever the busy timeout, when two connections turn the same new file to it at the same moment,
as the processes of a new data directory do (https://www.sqlite.org/wal.html, "Sometimes Queries Return SQLITE_BUSY In
WAL Mode"). The mode stays with the file, so whoever asks again finds it done.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.01
"""Between two tries, in seconds."""


def use_wal(execute: Callable[[str], object], busy_ms: int) -> None:
    """Turn the file of a connection's `execute` to write-ahead mode, for `busy_ms` if others are at it.

    Raises sqlite3.Error: what SQLite last said.
    """
    until = time.monotonic() + busy_ms / 1000
    while True:
        try:
            execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(PAUSE_S)
        else:
            return


def compact(execute: Callable[[str], Any]) -> None:
    """Write the file anew without its free room, and empty its write-ahead log.

    What was deleted or overwritten lies in both until then. `execute` is a connection's, outside of any transaction.
    Raises sqlite3.Error, also where somebody still reads what was before.
    """
    execute("vacuum")
    busy, *_ = execute("pragma wal_checkpoint(truncate)").fetchone()
    if busy:
        raise sqlite3.OperationalError("somebody reads what was before")
