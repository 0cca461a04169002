"""The prober's end: nothing it started goes on after it."""

from __future__ import annotations

import asyncio

from serving.proofs import Proofs
from serving.snapshot import Snapshot
from serving.upstream import Upstream
from thumbwheel.records import Engine


async def test_a_closed_prober_starts_no_probe_again() -> None:
    held = asyncio.Event()

    async def hold(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        held.set()
        await asyncio.sleep(60)  # an engine that takes connections and never answers

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = Engine("e1", "default", "upstream", f"http://127.0.0.1:{port}", "base", "1", "ready")
    upstream = Upstream(None)
    proofs = Proofs(upstream, lambda: Snapshot(generation=1, engines=(engine,)))
    mine = asyncio.all_tasks()
    proofs.wake()
    await asyncio.wait_for(held.wait(), 5)
    proofs.close()
    for _ in range(20):  # the cancelled probe leaves, and would start another on its way
        await asyncio.sleep(0.01)
    probing = [task for task in asyncio.all_tasks() - mine if "_prove" in repr(task.get_coro())]
    await upstream.close()
    server.close()
    assert probing == []
