"""One append to the event log at a time, in a thread of its own, so that whoever hands it over need not wait for it.

A log may take seconds to say that it is away. It knows nothing of what a record holds, nor of what becomes of one that
the log did not take. Used by one thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence

from thumbwheel.eventlog import EventLog


class Sender:
    """Appends to `topic`. `open_log` connects to the event log, or raises StoreUnavailable.

    `on_back` is called after each append, on the sender's own thread.
    """

    def __init__(self, open_log: Callable[[], EventLog], topic: str, on_back: Callable[[], None]) -> None:
        self._open_log, self._topic, self._on_back = open_log, topic, on_back
        self._log: EventLog | None = None
        self._given: queue.SimpleQueue[Sequence[tuple[str, bytes]] | None] = queue.SimpleQueue()
        self._back = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="inference-sender", daemon=True)

    def start(self) -> None:
        """Begin to append."""
        self._thread.start()

    def hand(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Append (key, value) pairs. What was handed over before must be back."""
        self._back.clear()
        self._given.put(records)

    def is_back(self, wait_s: float = 0.0) -> bool:
        """Whether the append has ended, well or not; waits for it so long."""
        return self._back.wait(wait_s)

    def outcome(self) -> None:
        """Return where the append that is back went well. Raises StoreUnavailable, or what nobody foresaw."""
        if self._failure is not None:
            raise self._failure

    def close(self, *, wait: bool) -> None:
        """Close the log once nothing is under way; where told to, `wait` for that."""
        self._given.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while (records := self._given.get()) is not None:
            self._failure = self._append(records)
            self._back.set()
            self._on_back()
        if self._log is not None:
            self._log.close()

    def _append(self, records: Sequence[tuple[str, bytes]]) -> Exception | None:
        try:
            if self._log is None:
                self._log = self._open_log()
            self._log.append(self._topic, records, durable=False)
        except Exception as error:  # noqa: BLE001 - the thread's outermost loop: `outcome` raises it
            return error
        return None
