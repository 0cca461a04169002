"""A gateway worker's writer of inferences whose log hangs for ever, and which is killed: a process of its own.

    python -m tests.killed_writer SPOOL ID...

It takes inferences with these ids one after another, waits until each is no longer in memory alone, and kills itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from serving.inference_log import InferenceLog
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import InferenceEvent

FOREVER_S = 600.0


class HungLog(SqliteEventLog):
    """No append ever comes back."""

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        """See EventLog."""
        threading.Event().wait()


async def play(spool: Path, ids: list[str]) -> None:
    """Ends when all of them are written somewhere."""
    writer = InferenceLog(lambda: HungLog(spool.parent / "events.db"), spool, 100, 1 << 20, settle_s=FOREVER_S)
    writer.start()
    for id_ in ids:
        served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok", "answer": "Oh."}
        writer.put(InferenceEvent(id_, "shop", "support", "u", 1_000, **served), keep_text=True)  # type: ignore[arg-type]
        await writer.settled(id_)


if __name__ == "__main__":
    asyncio.run(play(Path(sys.argv[1]), sys.argv[2:]))
    os.kill(os.getpid(), signal.SIGKILL)
