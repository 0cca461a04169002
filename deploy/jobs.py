"""The processes of runs: `thumbwheel curate|train|evaluate RUN`, one at a time for a run, whoever its controller is.

A job holds a lock on its run's folder through a descriptor that it inherits, so a controller that takes over, or
another one that still believes itself the leader, cannot start a second beside it, and the kernel frees the lock
however the job ends. Jobs are ended with the controller and started again by the next. It knows nothing of what the
jobs do.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.processes import Program, spawn, stop
from thumbwheel.home import Home

GRACE_S = 5.0


@dataclass(frozen=True)
class Ended:
    """A job's process that is no more. `status` is its exit status, negative for a signal."""

    run: str
    verb: str
    status: int


class Jobs:
    """The jobs that this process has started."""

    def __init__(self, home: Home, environment: Mapping[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._running: dict[str, tuple[str, subprocess.Popen[bytes]]] = {}

    def start(self, run: str, verb: str) -> bool:
        """Start `verb` for the run. False where a job of another controller is still at it."""
        folder = self._home.runs / run
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / "job.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        program = Program(
            name=verb,
            command=(sys.executable, "-m", "thumbwheel", verb, run, "--home", str(self._home.root)),
            log=self._home.logs / f"{verb}.log",
            env=self._environment,
            pass_fds=(descriptor,),
            death_signal=signal.SIGTERM,
        )
        try:
            self._running[run] = (verb, spawn(program))
        finally:
            os.close(descriptor)  # the child has its own
        return True

    def running(self) -> Mapping[str, str]:
        """Run -> verb of the jobs whose end has not been reported by `ended`."""
        return {run: verb for run, (verb, _) in self._running.items()}

    def ended(self) -> list[Ended]:
        """The jobs that have ended since the last call."""
        found = [
            Ended(run, verb, process.returncode)
            for run, (verb, process) in self._running.items()
            if process.poll() is not None
        ]
        for job in found:
            del self._running[job.run]
        return found

    def stop(self, run: str | None = None) -> None:
        """End the run's job, or all of them; their ends are not reported."""
        for name in list(self._running) if run is None else [run]:
            if name in self._running:
                stop(self._running.pop(name)[1], GRACE_S)
