"""Feedback and reviews on their way to the event log: one thread, one synced write a topic for all that wait, and an
answer to each of them.

A log that is away fails everyone who waits at once, after one wait for it, instead of each in turn.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable

from thumbwheel import events
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import EventLog
from thumbwheel.events import CurationEvent, FeedbackEvent

log = logging.getLogger(__name__)

BATCH = 512
WAITING = 4_096

Said = FeedbackEvent | CurationEvent
"""What a person says and is told of only once it is on disk."""
Waiter = tuple[Said, asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class FeedbackLog:
    """Durable appends. `open_log` connects to the event log, or raises StoreUnavailable."""

    def __init__(self, open_log: Callable[[], EventLog]) -> None:
        self._open_log = open_log
        self._log: EventLog | None = None
        self._queue: queue.Queue[Waiter | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="feedback-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    async def append(self, event: Said) -> None:
        """Return once the event is on disk. Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        try:
            self._queue.put_nowait((event, loop, written))
        except queue.Full:
            raise StoreUnavailable("too much feedback is waiting to be written") from None
        await written

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            self._write(batch)
            if last:
                break
        if self._log is not None:
            self._log.close()

    def _write(self, batch: list[Waiter]) -> None:
        topics: dict[str, list[Waiter]] = {}
        for waiter in batch:
            topics.setdefault(events.place_of(waiter[0])[0], []).append(waiter)
        for topic, some in topics.items():
            self._write_to(topic, some)

    def _write_to(self, topic: str, batch: list[Waiter]) -> None:
        failure: StoreUnavailable | None = None
        try:
            if self._log is None:
                self._log = self._open_log()
            records = [(events.place_of(event)[1], events.encode(event)) for event, _, _ in batch]
            self._log.append(topic, records, durable=True)
        except StoreUnavailable as error:
            failure = error
        except Exception:  # the thread's outermost loop: whoever waits must get an answer
            log.exception("feedback could not be written")
            failure = StoreUnavailable("feedback could not be written")
        for _, loop, written in batch:
            loop.call_soon_threadsafe(_settle, written, failure)


def _settle(written: asyncio.Future[None], failure: StoreUnavailable | None) -> None:
    if written.done():  # the client left while it waited; what is written stays written
        return
    if failure is None:
        written.set_result(None)
    else:
        written.set_exception(failure)
