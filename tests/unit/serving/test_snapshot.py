"""What a worker holds of the store, and that it says that it lives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

from sqlalchemy import Connection

from serving.snapshot import Watch
from tests.stores import store_in
from thumbwheel.home import prepare
from thumbwheel.store import fleet_rows
from thumbwheel.store.connection import Store, bump, generation

FAR = 1_000_000  # a generation that no worker has read


async def test_a_worker_goes_on_saying_that_it_lives_though_the_clock_was_set_back(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    store = store_in(home.root)
    now_ms = [10_000_000]

    def live() -> list[str]:
        with store.read() as tx:
            return fleet_rows.laggards(tx, FAR, now_ms[0])

    async def beats(watch: Watch) -> bool:
        await watch.refresh()
        for _ in range(100):
            if live():
                return True
            await asyncio.sleep(0.01)
        return False

    watch = Watch(store, home, lambda: now_ms[0], "worker-1", 200)
    assert await beats(watch)
    now_ms[0] -= 3_600_000
    assert live() == [], "until it has said so again"
    assert await beats(watch)
    store.close()


class HeldStore:
    """A store whose readers, from `hold` on, keep what they have read to themselves until they are let go."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.hold, self.reading, self.let_go = False, threading.Event(), threading.Event()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with self._store.read() as tx:
            yield tx
        if self.hold:
            self.reading.set()
            assert self.let_go.wait(30)

    def write(self, **chosen: bool) -> AbstractContextManager[Connection]:
        return self._store.write(**chosen)


async def test_who_asks_while_it_looks_sees_what_was_there_when_they_asked(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    store = store_in(home.root)
    held = HeldStore(store)
    watch = Watch(cast(Store, held), home, lambda: 1, "worker-1", 200)
    await watch.refresh()
    held.hold = True
    early = asyncio.create_task(watch.refresh())
    assert await asyncio.to_thread(held.reading.wait, 30)
    with store.write() as tx:
        bump(tx)
        now = generation(tx)
    late = [asyncio.create_task(watch.refresh()) for _ in range(3)]
    await asyncio.sleep(0)  # they have asked
    held.let_go.set()
    await asyncio.gather(*late)
    assert early.done() and watch.now.generation == now
    store.close()
