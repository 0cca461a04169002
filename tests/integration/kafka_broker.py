"""A real Kafka broker for tests, from a folder with its jars: `KAFKA_HOME`, else `../shared/kafka`.

It can be frozen, killed and started again; its data stays. See the `broker` fixture in tests/conftest.py.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
PARTITIONS = 3


def kafka_home() -> Path | None:
    """Where Kafka lies, if it can be started here."""
    home = Path(os.environ.get("KAFKA_HOME") or ROOT.parent / "shared" / "kafka")
    return home if (home / "kafka").is_file() and shutil.which("java") else None


def demanded() -> Path:
    """Kafka's folder; without one the test is skipped, or fails where CI=true."""
    home = kafka_home()
    if home is None:
        words = "no Kafka: name its folder in KAFKA_HOME (tests/integration/kafka_broker.py), and have java 17 on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return home


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

    def settings(self, name: str) -> dict[str, Any]:
        """Settings of a service that has topics and a group of its own here, called `name` and what no other is."""
        name = f"{name}{os.getpid()}-{time.time_ns()}"
        return {
            "kafka": self.servers,
            "kafka_prefix": f"{name}.",
            "kafka_group": name,
            "kafka_partitions": PARTITIONS,
        }

    def kill(self) -> None:
        """As a power cut for its process: nothing is flushed or said."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        with suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(10)

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
