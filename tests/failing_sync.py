"""A disk that takes what is written and cannot sync it, for tests: from `arm` on, the kernel refuses each sync.

`kill -9` does not show whether something was synced, as the kernel keeps what it was given; a power cut would. Here
whoever syncs fails, and whoever does not sync goes on: so what fails has asked for a sync before it answered.

    python -m tests.failing_sync FOLDER

plays it to the event log, to the gateway's writers and to its API, and prints what each of them said as JSON. It arms
its own process, for good. Linux on x86_64 or aarch64.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from serving.inference_log import InferenceLog
from serving.spool import Spool
from tests.gateway_worker import CHANNEL, worker
from thumbwheel.clock import system_clock
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE, InferenceEvent
from thumbwheel.home import prepare, read_secret
from thumbwheel.ids import mint_inference_id

# fsync, fdatasync, msync, sync_file_range; and seccomp itself
CALLS = {"x86_64": ((74, 75, 26, 277), 317), "aarch64": ((82, 83, 227, 84), 277)}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EIO
NO_NEW_PRIVS, FILTER_MODE, ALL_THREADS = 38, 1, 1


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("then", ctypes.c_ubyte), ("els", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def arm() -> None:
    """From now on every sync of this process fails with EIO, in all of its threads. Raises OSError."""
    refused, seccomp = CALLS[platform.machine()]
    tests = [(EQUAL, len(refused) - n, 0, number) for n, number in enumerate(refused)]
    steps = [(LOAD, 0, 0, 0), *tests, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    lines = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    program = _Program(len(steps), lines)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or libc.syscall(seccomp, FILTER_MODE, ALL_THREADS, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "no filter of system calls can be set here")


def appended(log: SqliteEventLog, topic: str, durable: bool) -> str:
    try:
        log.append(topic, [("k", b"1")], durable=durable)
    except StoreUnavailable:
        return "refused"
    return "taken"


def inference(n: int) -> InferenceEvent:
    served = {"assigned": "rel", "role": "stable", "served_by": "rel", "status": "ok", "answer": "Oh."}
    return InferenceEvent(f"inf-{n}", "shop", "support", "u", 1_000, **served)  # type: ignore[arg-type]


async def play(folder: Path) -> dict[str, Any]:
    """What is said before and after the disk cannot sync any more."""
    log = SqliteEventLog(folder / "own.db")
    seen: dict[str, Any] = {"durable before": appended(log, FEEDBACK, True)}
    async with worker(folder / "home") as gateway:
        home = prepare(folder / "home")
        secret = read_secret(home)
        inferences = InferenceLog(lambda: SqliteEventLog(home.events), home.spool, 1_000, 1 << 20)
        inferences.start()
        inferences.put(inference(1), keep_text=True)
        while inferences.queued or "inf-1" in inferences._unwritten:
            await asyncio.sleep(0.01)

        async def say(n: int) -> int:
            id_ = mint_inference_id("chatcmpl", CHANNEL, "default", system_clock() - n, secret)
            body = {"inference_id": id_, "thumb": "down", "comment": f"no {n}"}
            return (await gateway.api.post("/v1/feedback", json=body)).status_code

        seen["feedback before"] = await say(1)
        spool = Spool(folder / "spool", 1 << 20)
        arm()
        try:
            os.fsync(sys.stdout.fileno())
        except OSError as error:
            seen["a sync"] = errno.errorcode[error.errno or 0]
        seen["feedback after"] = [await say(n) for n in range(2, 5)]
        seen["durable after"] = appended(log, FEEDBACK, True)
        seen["not durable after"] = appended(log, INFERENCE, False)
        seen["spooled after"] = all(spool.add([b"{}"]))
        inferences.put(inference(2), keep_text=True)
        while inferences.queued or "inf-2" in inferences._unwritten:
            await asyncio.sleep(0.01)
        seen["inferences dropped"] = inferences.dropped
    return seen


if __name__ == "__main__":
    told = asyncio.run(play(Path(sys.argv[1])))
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)  # what closes properly here syncs
