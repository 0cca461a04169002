"""The word to stop, as a signal handler may say it.

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
        self._said = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # its `put` is reentrant

    def is_set(self) -> bool:
        """Whether the word has been said."""
        return self._said

    def set(self) -> None:
        """Say it."""
        self._said = True
        self._wake.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it, at most `timeout` seconds; whether it has been said."""
        if not self._said:
            try:
                self._wake.get(timeout=timeout)
            except queue.Empty:
                return self._said
        return True


def stop_on_signals() -> Stop:
    """A stop that SIGTERM and Ctrl-C say from now on. Call it in the main thread."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
