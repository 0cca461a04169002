"""What a gateway worker must know to answer, as one immutable value in memory, and the loop that keeps it fresh.

A worker looks at the store's generation and at the emergency file every `gateway_poll_ms`, and reads all of it again
when either has changed; so a pause, an abort or a rollback is in force everywhere within two polls. While the store
is away it goes on with the last picture it has, and the emergency file still stops a channel's candidates.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from thumbwheel.clock import Clock, lasts
from thumbwheel.emergency import EVERY_CHANNEL, read_emergency
from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import Home
from thumbwheel.records import Channel, Engine, Key, Release
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store, generation

log = logging.getLogger(__name__)

BEAT_MS = 1_000


@dataclass(frozen=True)
class Snapshot:
    """One picture of the service. `generation` is -1 before the first one was read."""

    generation: int = -1
    channels: Mapping[str, Channel] = field(default_factory=dict)
    releases: Mapping[str, Release] = field(default_factory=dict)
    engines: tuple[Engine, ...] = ()
    keys: Mapping[str, Key] = field(default_factory=dict)  # by hash
    stopped: frozenset[str] = frozenset()  # what the emergency file names

    def is_stopped(self, channel: str) -> bool:
        """Whether an emergency stop keeps the channel's candidates from answering."""
        return channel in self.stopped or EVERY_CHANNEL in self.stopped


def read_snapshot(store: Store, stopped: frozenset[str]) -> Snapshot:
    """Read all of it from one snapshot of the store. Raises StoreUnavailable."""
    with store.read() as tx:
        return Snapshot(
            generation=generation(tx),
            channels={channel.name: channel for channel in release_rows.all_channels(tx)},
            releases={release.id: release for release in release_rows.all_releases(tx)},
            engines=tuple(fleet_rows.all_engines(tx)),
            keys={key.hash: key for key in fleet_rows.all_keys(tx)},
            stopped=stopped,
        )


class Watch:
    """Holds the latest snapshot; listeners of `on_change` are told of each new one."""

    def __init__(self, store: Store, home: Home, clock: Clock, worker: str, poll_ms: int) -> None:
        self._store, self._home, self._clock = store, home, clock
        self._worker, self._poll_ms = worker, poll_ms
        self._beaten: tuple[int, int] = (-1, 0)
        self._beating: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._next: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []
        self.now = Snapshot()
        self.store_away = False

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener`, which must not block, after each new picture."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                await self.refresh()
            except Exception:  # this task's outermost loop: a worker that stops looking would answer by an old table
                log.exception("the store could not be looked at")
            await asyncio.sleep(self._poll_ms / 1000)

    async def refresh(self) -> None:
        """Look now. Who asks during a look waits for the next one, for what they know of may be newer than this one."""
        if self._next is not None:
            mine = self._next
        elif self._looking is None or self._looking.done():
            mine = self._looking = asyncio.create_task(self._look())
        else:
            mine = self._next = asyncio.create_task(self._look_after(self._looking))
        await asyncio.shield(mine)

    async def _look_after(self, before: asyncio.Task[None]) -> None:
        await asyncio.wait([before])
        self._looking, self._next = self._next, None
        await self._look()

    async def _look(self) -> None:
        before = self.now
        self.now, self.store_away = await asyncio.to_thread(self._read, before)
        if self.now is not before:
            for listener in self._listeners:
                listener()
        due = self.now.generation != self._beaten[0] or not lasts(self._clock(), self._beaten[1], BEAT_MS)
        # Apart from the look: a store that takes no writes must not keep this worker from reading.
        if due and not self.store_away and (self._beating is None or self._beating.done()):
            self._beating = asyncio.create_task(self._beat(self.now.generation))

    def _read(self, before: Snapshot) -> tuple[Snapshot, bool]:
        try:
            stopped = frozenset(read_emergency(self._home))
        except OSError as error:
            log.error("the emergency file cannot be read: %s", error)
            stopped = before.stopped
        try:
            with self._store.read() as tx:
                latest = generation(tx)
            if latest != before.generation:
                return read_snapshot(self._store, stopped), False
            away = False
        except StoreUnavailable as error:
            if not self.store_away:
                log.warning("%s; going on with the last picture of it", error)
            away = True
        return (before if stopped == before.stopped else replace(before, stopped=stopped)), away

    async def _beat(self, seen: int) -> None:
        now_ms = self._clock()
        try:
            await asyncio.to_thread(self._write_beat, seen, now_ms)
        except StoreUnavailable as error:
            log.warning("this worker could not say that it lives: %s", error)
        else:
            self._beaten = (seen, now_ms)

    def _write_beat(self, seen: int, now_ms: int) -> None:
        with self._store.write(alone=False) as tx:
            fleet_rows.beat(tx, self._worker, seen, now_ms)
