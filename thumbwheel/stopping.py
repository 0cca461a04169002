"""A stop request that a signal handler may set.

`threading.Event.set` takes a lock, and `wait` holds that lock for a moment at each turn. A handler that runs in just
that moment, in the same thread, waits for itself for ever: the process ignores SIGTERM until it is killed. `Stop` takes
no lock of its own; what it stands on may be called from a handler at any point.
"""

from __future__ import annotations

import queue
import signal
import threading


class Stop(threading.Event):
    """An event that handlers of signals may set, and that one thread waits for. It is never cleared."""

    def __init__(self) -> None:
        super().__init__()
        self._requested = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # its `put` is reentrant

    def is_set(self) -> bool:
        """Whether it has been requested."""
        return self._requested

    def set(self) -> None:
        """Request the stop."""
        self._requested = True
        self._wake.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most `timeout` seconds; whether it has been requested."""
        if not self._requested:
            try:
                self._wake.get(timeout=timeout)
            except queue.Empty:
                return self._requested
        return True


def stop_on_signals() -> Stop:
    """A stop that SIGTERM and Ctrl-C request from now on. Call it in the main thread."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
