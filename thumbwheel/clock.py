"""Time, as a value that is handed in: tests turn it, processes read the system's."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], int]
"""Milliseconds since the epoch."""


def system_clock() -> int:
    """The machine's time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def as_told(ms: int) -> str:
    """A moment, in milliseconds since the epoch, as a person reads it: to the second, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasts(now_ms: int, since_ms: int, wait_ms: int) -> bool:
    """Whether a wait of `wait_ms` that began at `since_ms` still lasts; one that begins after `now_ms` is over.

    A clock that was set back would otherwise stretch every wait by as much.
    """
    return 0 <= now_ms - since_ms < wait_ms
