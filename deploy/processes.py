"""Child processes: started so that none outlives its parent, started again with growing pauses, stopped with grace.

A child gets a death signal from the kernel when the thread that started it ends (thumbwheel/lifeline.py), so `kill -9`
of a parent leaves nothing behind; start children from the main thread only. Each is the leader of a session of its own:
Ctrl-C reaches the parent alone, which stops them in order. It knows nothing of what the children do. Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from thumbwheel.lifeline import tie

LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a child that lived so long starts again from the first pause
LOG_BYTES = 16 << 20
KEPT_BYTES = 4 << 20


@dataclass(frozen=True)
class Program:
    """What to start. `env` is the child's whole environment; `grace_s` is how long SIGTERM may take."""

    name: str
    command: tuple[str, ...]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    death_signal: int = signal.SIGKILL
    grace_s: float = 15.0


def spawn(program: Program) -> subprocess.Popen[bytes]:
    """Start it, its output appended to its log (0600)."""
    descriptor = os.open(program.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as log:
        return subprocess.Popen(
            program.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(program.env),
            pass_fds=program.pass_fds,
            start_new_session=True,
            preexec_fn=tie(program.death_signal),
        )


def stop(process: subprocess.Popen[bytes], grace_s: float) -> int:
    """SIGTERM, then SIGKILL to its whole session after `grace_s`. Returns its exit status."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    _kill_session(process)
    return process.wait()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the child's whole session."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def pause_s(failures: int, first_s: float) -> float:
    """How long to wait before a child that failed `failures` times in a row is started again."""
    return float(min(first_s * 2.0 ** max(failures - 1, 0), LONGEST_PAUSE_S))


class Child:
    """One program that is kept running. `tend` is called often and never waits; times are seconds of any clock."""

    def __init__(self, program: Program, first_pause_s: float) -> None:
        self.program = program
        self.first_pause_s = first_pause_s
        self.process: subprocess.Popen[bytes] | None = None
        self.failures = 0
        self.status: int | None = None  # of its last end
        self._started_s = 0.0
        self._due_s = 0.0

    @property
    def alive(self) -> bool:
        """Whether it runs, as far as the last `tend` knew."""
        return self.process is not None

    def tend(self, now_s: float) -> str | None:
        """Start it if it is due, notice its end. Returns `started`, `ended` or None.

        Raises OSError where it cannot be started (a full disk, no more processes); it is due again after its pause.
        """
        if self.process is None:
            if now_s < self._due_s:
                return None
            try:
                self.process = spawn(self.program)
            except OSError:
                self._pause(now_s, self.failures + 1)
                raise
            self._started_s = now_s
            return "started"
        status = self.process.poll()
        if status is None:
            return None
        _kill_session(self.process)
        self.process, self.status = None, status
        self._pause(now_s, 1 if now_s - self._started_s >= STEADY_S else self.failures + 1)
        return "ended"

    def _pause(self, now_s: float, failures: int) -> None:
        self.failures = failures
        self._due_s = now_s + pause_s(failures, self.first_pause_s)

    def stop(self) -> None:
        """Stop it and keep it stopped."""
        self._due_s = float("inf")
        if self.process is not None:
            self.status = stop(self.process, self.program.grace_s)
            self.process = None


def bound_log(path: Path, limit: int = LOG_BYTES, kept: int = KEPT_BYTES) -> bool:
    """Cut a log that has grown over `limit` bytes; its last `kept` bytes go to `<name>.1`. True if it was cut.

    Its writers append, so they go on at the new end. What they write during the copy may be lost, and on a full disk
    the last bytes too: the room counts for more. Raises OSError.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return False
    if size <= limit:
        return False
    with contextlib.suppress(OSError):
        _keep_end(path, size, kept)
    os.truncate(path, 0)
    return True


def _keep_end(path: Path, size: int, kept: int) -> None:
    with path.open("rb") as log:
        log.seek(size - kept)
        tail = log.read(kept)
    older = path.with_name(path.name + ".1")
    descriptor = os.open(older, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(tail)


def last_lines(path: Path, count: int = 3) -> str:
    """The end of a log, for a message; empty where there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
