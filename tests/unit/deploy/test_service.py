"""The loop of `up` where the disk or the machine has no room: it says so and goes on."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.processes import LOG_BYTES, Child, Program
from deploy.service import Service
from tests.full_disk import no_room
from tests.stores import store_in
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import Home, prepare
from thumbwheel.records import Engine
from thumbwheel.settings import Settings
from thumbwheel.store.connection import Store

NOWHERE = {"api": "http://127.0.0.1:9", "admin": "http://127.0.0.1:9"}


class Place:
    """A data directory with its store and its log, and what the service has said."""

    def __init__(self, root: Path) -> None:
        self.home: Home = prepare(root)
        self.store: Store = store_in(self.home.root)
        self.log = SqliteEventLog(self.home.events)
        self.said: list[str] = []

    def service(self, children: list[Child], endpoints: dict[str, str]) -> Service:
        row = Engine("upstream-0", "default", "upstream", "http://127.0.0.1:9", "base", "inc-1", "starting")
        settings = Settings(self.home.root)
        return Service(settings, self.home, self.store, self.log, children, None, row, endpoints, self.said.append)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path / "home")
    yield made
    made.log.close()
    made.store.close()


class Quiet(http.server.BaseHTTPRequestHandler):
    """Answers everything, and writes nothing where there is no room."""

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


@pytest.fixture
def listener() -> Iterator[str]:
    """Something that answers."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_log_that_cannot_be_kept_is_cut_and_the_service_goes_on(place: Place) -> None:
    log = place.home.logs / "consumer.log"
    with log.open("wb") as file:
        file.truncate(LOG_BYTES + 1)
    (place.home.logs / "consumer.log.1").symlink_to("/dev/full")
    (place.home.logs / "a.log").symlink_to("a.log")  # which no call can follow
    place.service([], NOWHERE).turn()
    assert log.stat().st_size == 0


def test_a_child_that_cannot_be_started_keeps_no_other_from_starting(place: Place) -> None:
    there, missing = (
        Child(Program(name, (command, "60"), place.home.logs / f"{name}.log", dict(os.environ)), 1.0)
        for name, command in (("there", "/bin/sleep"), ("missing", str(place.home.root / "none")))
    )
    service = place.service([missing, there], NOWHERE)
    try:
        service.turn()
        assert there.alive and not missing.alive
        assert place.said[0].startswith("missing cannot be started")
    finally:
        there.stop()


def test_endpoints_that_cannot_be_written_are_written_later(place: Place, listener: str) -> None:
    service = place.service([], {"api": listener})
    service.turn()
    assert json.loads(place.home.endpoints.read_text()) == {"api": listener}
    place.home.endpoints.unlink()
    service = place.service([], {"api": listener})
    with no_room():
        service.turn()
    assert not place.home.endpoints.exists()
    service.turn()
    assert json.loads(place.home.endpoints.read_text()) == {"api": listener}
