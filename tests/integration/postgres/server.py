"""A private PostgreSQL for tests: one cluster a session on a Unix socket, one database a store.

It is found by POSTGRES_BIN (the folder with `postgres` and `initdb`), on the path, or where Debian puts it. A server
refuses to run as root, so root starts it as another user.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from thumbwheel.home import Home
from thumbwheel.settings import Settings
from thumbwheel.store.connection import BUSY_MS, Store, open_store

DEBIAN = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
START_S = 30.0
QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")  # the tests' machine may lose its power


@dataclass
class Server:
    """A cluster. `folder` holds its data and its socket, `command` starts it, as the user of `user`."""

    folder: Path
    command: list[str]
    user: dict[str, Any]
    numbers: Iterator[int] = field(default_factory=count)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers."""
        log = self.folder / "log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.folder, stdout=out, stderr=out, start_new_session=True, **self.user
            )
        deadline = time.monotonic() + START_S
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start: {log.read_text()}") from error
                time.sleep(0.1)

    def stop(self) -> None:
        """Stop every process of it where it is: connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all of them run again."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """`kill -9` of all of them."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(30)

    def end(self) -> None:
        """Shut it down, whatever a test has left it in."""
        if self.process is not None and self.process.poll() is None:
            self.go_on()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def _signal(self, number: int) -> None:
        assert self.process is not None
        whole = psutil.Process(self.process.pid)
        for one in [whole, *whole.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)

    def url(self, database: str) -> str:
        """What a user would write as `store_url`."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def empty(self) -> str:
        """The URL of a new database without any table."""
        return self._create("template0")

    def new(self) -> str:
        """The URL of a new database with an empty store in it."""
        if not self._has("store_template"):
            self._run("create database store_template template template0")
            open_at(self.url("store_template")).close()
        return self._create("store_template")

    def _create(self, template: str) -> str:
        name = f"store_{next(self.numbers)}"
        self._run(f"create database {name} template {template}")
        return self.url(name)

    def _has(self, name: str) -> bool:
        with psycopg.connect(self.url("postgres")) as connection:
            return connection.execute("select 1 from pg_database where datname = %s", (name,)).fetchone() is not None

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())


def open_at(url: str, *, busy_ms: int = BUSY_MS, limit_ms: int | None = None) -> Store:
    """The store at `url`."""
    nowhere = Path("/nonexistent")  # nothing of it lies in a home
    return open_store(Settings(home=nowhere, store_url=url), Home(nowhere), busy_ms=busy_ms, limit_ms=limit_ms)


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs; None where there is none."""
    on_path = shutil.which("postgres")
    named = os.environ.get("POSTGRES_BIN")
    found = [Path(named)] if named else [Path(on_path).parent] if on_path else []
    found += sorted(DEBIAN.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return next((folder for folder in found if (folder / "initdb").is_file() and (folder / "postgres").is_file()), None)


def demanded() -> Path:
    """The programs' folder; without one the test is skipped, or fails where CI=true."""
    folder = binaries()
    if folder is None:
        words = (
            "PostgreSQL is not here: install it (Debian: `apt install postgresql`), or name its programs' folder in "
            "POSTGRES_BIN"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return folder


@contextmanager
def running(folder: Path, settings: tuple[str, ...] = QUICK) -> Iterator[Server]:
    """A new cluster in a folder of its own below the temporary one, gone with its data at the end."""
    root = Path(tempfile.mkdtemp(prefix="thumbwheel-pg-"))
    user: dict[str, Any] = {}
    if os.getuid() == 0:
        known = {entry.pw_name: entry for entry in pwd.getpwall()}
        entry = next(known[name] for name in USERS if name in known)
        os.chown(root, entry.pw_uid, entry.pw_gid)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    data = str(root / "data")
    try:
        initdb = [str(folder / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        made = subprocess.run([*initdb, "--locale=C.UTF-8"], cwd=root, capture_output=True, text=True, **user)
        assert made.returncode == 0, made.stderr
        chosen = ("listen_addresses=", f"unix_socket_directories={root}", *settings)
        server = Server(root, [str(folder / "postgres"), "-D", data, *(f"-c{one}" for one in chosen)], user)
        try:
            server.start()
            yield server
        finally:
            server.end()
    finally:
        shutil.rmtree(root, ignore_errors=True)
