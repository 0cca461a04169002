"""Starts, watches and stops the service as a child process, and samples the memory of its process tree.

It knows the command line (`thumbwheel up`), `endpoints.json` and `/readyz`, as any operator does.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from demo.client import POLL_S, Client, DemoError, NotThere, find
from demo.journal import Progress

COMMAND = (sys.executable, "-m", "thumbwheel")
READY_WITHIN_S = 600.0
STOP_WITHIN_S = 60.0
SAMPLE_S = 1.0
TAIL_LINES = 15
MIB = 1 << 20


@dataclass
class Memory:
    """The largest sum over the process tree so far, in MiB; `measure` is `pss` (shared pages counted once) or `rss`."""

    peak_mb: float = 0.0
    measure: str = "pss"


class Service:
    """One `thumbwheel up` of ours, or one that was running already (`child` is None then, and it is left running)."""

    def __init__(self, home: Path, command: Sequence[str] = COMMAND, poll_s: float = POLL_S) -> None:
        self.home, self.poll_s = home, poll_s
        self.command = tuple(command)
        self.child: subprocess.Popen[bytes] | None = None
        self.memory = Memory()

    @property
    def logs(self) -> Path:
        """Where to look when something is wrong."""
        return self.home / "logs"

    async def start(self, progress: Progress) -> Client:
        """Start the service, or find the one that runs, and wait until it answers. Raises DemoError."""
        client = await self._running()
        if client is None:
            self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.home.chmod(0o700)
            command = [*self.command, "up", "--home", str(self.home)]
            with self._output.open("ab") as log:
                # A session of its own: Ctrl-C on the terminal is for the demo, which then stops the service cleanly.
                self.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            progress.note = "starting the processes"
        return await self._ready(client, progress)

    async def stop(self) -> bool:
        """Ask our child to drain and stop; True if it did so cleanly, or was never ours."""
        if self.child is None:
            return True
        self.child.send_signal(signal.SIGTERM)
        try:
            code = await asyncio.to_thread(self.child.wait, STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            await asyncio.to_thread(self.child.wait)
            return False
        return code == 0

    async def watch_memory(self) -> None:
        """Sample the tree's memory each second until cancelled. Nothing is sampled where the service is not ours."""
        while self.child is not None:
            megabytes, measure = await asyncio.to_thread(tree_memory, self.child.pid)
            self.memory.measure = measure
            self.memory.peak_mb = max(self.memory.peak_mb, megabytes)
            await asyncio.sleep(SAMPLE_S)

    @property
    def _output(self) -> Path:
        return self.logs / "demo-up.log"

    async def _running(self) -> Client | None:
        try:
            client = await Client(find(self.home), self.poll_s).open()
        except NotThere:
            return None
        if await client.alive():
            return client
        await client.close()
        return None

    async def _ready(self, client: Client | None, progress: Progress) -> Client:
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if self.child is not None and self.child.poll() is not None:
                raise DemoError(self._trouble(f"the service stopped at once (exit code {self.child.returncode})"))
            if client is None:
                client = await self._running()
            elif await client.ready():
                return client
            else:
                progress.note = "the API listens; waiting for the first real token"
            await asyncio.sleep(self.poll_s)
        raise DemoError(self._trouble(f"the service was not ready within {READY_WITHIN_S:g} s"))

    def _trouble(self, what: str) -> str:
        lines = self._output.read_text(errors="replace").splitlines() if self._output.exists() else []
        tail = "".join(f"\n    | {line}" for line in lines[-TAIL_LINES:])
        return f"{what}. Its last words:{tail}\n  All logs are in {self.logs}."


def tree_memory(pid: int) -> tuple[float, str]:
    """The memory of a process and its descendants in MiB, as PSS; as RSS where the system does not tell PSS.

    RSS counts pages that processes share once for each of them, so it overstates.
    """
    try:
        root = psutil.Process(pid)
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0, "pss"
    pss, rss, complete = 0, 0, True
    for process in tree:
        try:
            rss += process.memory_info().rss
            pss += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
        except (psutil.AccessDenied, AttributeError):
            complete = False
    return (pss / MIB, "pss") if complete else (rss / MIB, "rss")
