"""A file system that fills up under the data side's real parts, and has room again: what each of them did, as JSON.

    unshare --user --map-root-user --mount python -m tests.full_disk_scene FOLDER

It mounts a tmpfs of a few MiB on FOLDER/disk, which its own mount namespace alone sees, and writes the processes' logs
beside it. tests/integration/test_full_disk.py starts it and says what must hold.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.feedback_log import FeedbackLog
from serving.inference_log import InferenceLog
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import system_clock
from thumbwheel.emergency import emergency_stop, read_emergency
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.home import Home, prepare
from thumbwheel.records import Policies
from thumbwheel.store import data_rows, dead_letter_rows
from thumbwheel.store.connection import Store

DISK_BYTES = 8 << 20
PATIENCE_S = 60.0


def feedback(n: int) -> FeedbackEvent:
    return FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", system_clock(), correction="Free return.")


def inference(n: int) -> InferenceEvent:
    served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok", "answer": "Oh." * 100}
    said: list[dict[str, object]] = [{"role": "user", "content": f"complaint {n}"}]
    return InferenceEvent(f"inf-{n}", "shop", "support", f"u{n}", 1_000, messages=said, **served)  # type: ignore[arg-type]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def fill(ballast: Path) -> None:
    """Take all the room that there is."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


async def appended(log: FeedbackLog, numbers: range) -> int:
    """How many were acknowledged."""
    tried = await asyncio.gather(*(log.append(feedback(n)) for n in numbers), return_exceptions=True)
    assert all(error is None or isinstance(error, StoreUnavailable) for error in tried), tried
    return sum(error is None for error in tried)


def publish(home: Home, source: Path) -> str:
    """What came of a publication, and what it left."""
    artifacts = ArtifactStore(home.artifacts)
    try:
        artifacts.verify(artifacts.publish(source, "dataset", {}))
        told = "published"
    except StoreUnavailable as error:
        told = str(error)
    return f"{told}; {len(list(home.artifacts.iterdir()))} there"


def ledger(store: Store) -> dict[str, Any]:
    with store.read() as tx:
        return data_rows.ledger(tx, "support")


async def play(folder: Path) -> dict[str, Any]:
    """Fill the disk, try everything, make room, and see what comes of it."""
    home = prepare(folder / "disk" / "home")
    source = folder / "source"
    source.mkdir()
    (source / "rows.jsonl").write_bytes(b"{}\n" * 10_000)
    store = store_in(home.root)
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
    feedbacks = FeedbackLog(lambda: SqliteEventLog(home.events))
    inferences = InferenceLog(lambda: SqliteEventLog(home.events), home.spool, 1_000, 1 << 20)
    feedbacks.start()
    inferences.start()
    seen: dict[str, Any] = {"acknowledged before": await appended(feedbacks, range(5))}

    ballast = folder / "disk" / "ballast"
    fill(ballast)
    logs = {verb: folder / f"{verb}.log" for verb in ("consumer", "controller")}
    processes = {
        verb: subprocess.Popen(
            [sys.executable, "-m", "thumbwheel", verb, "--home", str(home.root)], stderr=log.open("wb")
        )
        for verb, log in logs.items()
    }
    try:
        for log in logs.values():
            until(lambda log=log: "waiting" in log.read_text())  # type: ignore[misc]
        for n in range(50):
            inferences.put(inference(n), keep_text=True)
        seen["acknowledged while full"] = await appended(feedbacks, range(100, 120))
        until(lambda: inferences.queued == 0 and inferences.dropped + inferences.spooled > 0)
        seen["published while full"] = publish(home, source)
        emergency_stop(home, "support", "a person", 5, "abort", None)
        seen["emergency while full"] = sorted(read_emergency(home))
        seen["alive while full"] = [process.poll() is None for process in processes.values()]
        seen["dropped"] = inferences.dropped

        ballast.unlink()
        for n in range(5):
            inferences.put(inference(n), keep_text=True)
        seen["acknowledged after"] = await appended(feedbacks, range(200, 203))
        until(lambda: ledger(store)["waiting"].get("no_run_yet", 0) == 5 and ledger(store)["acknowledged"] >= 8)
        until(lambda: not read_emergency(home))
        seen["published after"] = publish(home, source)
        for process in processes.values():
            process.terminate()
        seen["ended with"] = [process.wait(PATIENCE_S) for process in processes.values()]
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    inferences.close()
    feedbacks.close()
    seen["ledger"] = ledger(store)
    with store.read() as tx:
        seen["dead letters"] = dead_letter_rows.count(tx)
    store.close()
    return seen


if __name__ == "__main__":
    place = Path(sys.argv[1])
    (place / "disk").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", place / "disk"], check=True)
    print(json.dumps(asyncio.run(play(place))))
