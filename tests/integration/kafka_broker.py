"""A real Kafka broker for tests, from a folder with its jars: `KAFKA_HOME`, else `../shared/kafka`.

It can be frozen, killed and started again; its data stays. See the `broker` fixture in conftest.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0


def kafka_home() -> Path | None:
    """Where Kafka lies, if it can be started here."""
    home = Path(os.environ.get("KAFKA_HOME") or ROOT.parent / "shared" / "kafka")
    return home if (home / "kafka").is_file() and shutil.which("java") else None


class Broker:
    """One broker on loopback, with its data in `folder`."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._script, self._folder = home / "kafka", folder
        self._ports = (free_port(), free_port())
        self.servers = f"127.0.0.1:{self._ports[0]}"

    def start(self) -> None:
        """Start it, also after `kill`, and wait until it answers."""
        words = [str(self._script), "start", str(self._folder), *map(str, self._ports)]
        # Its output goes to a file: a pipe would be held open by the broker that the script leaves behind.
        with open(self._folder / "start.log", "ab") as log:
            subprocess.run(words, stdout=log, stderr=log, timeout=START_S, check=True)

    @property
    def pid(self) -> int:
        return int((self._folder / "pid").read_text())

    def kill(self) -> None:
        """As a power cut for its process: nothing is flushed or said."""
        os.kill(self.pid, signal.SIGKILL)

    def freeze(self) -> None:
        """It takes connections and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
