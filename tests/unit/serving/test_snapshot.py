"""A worker says that it lives, whatever its clock does."""

from __future__ import annotations

import asyncio
from pathlib import Path

from serving.snapshot import Watch
from tests.stores import store_in
from thumbwheel.home import prepare
from thumbwheel.store import fleet_rows

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
