"""A gateway as its own process beside a recorded engine and a consumer loop in this one, on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.recorded_engine import running
from tests.recorded_model import BEHAVIOUR
from tests.stores import store_in
from thumbwheel import events
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import system_clock
from thumbwheel.errors import StoreError
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import Home, prepare
from thumbwheel.ids import new_id
from thumbwheel.keys import as_record, mint
from thumbwheel.records import Channel, Engine, Policies, Release, Rollout, Stage
from thumbwheel.rollouts import create_channel, enter_stage, start_rollout
from thumbwheel.store import data_rows, fleet_rows, ingestion, release_rows
from thumbwheel.store.connection import Store, generation

POOL = "main"
CHANNEL = "support"
HALF = (Stage(50.0, deadline_s=3600.0), Stage(100.0))


@dataclass
class Service:
    """The running pieces. `ask`, `put`... go through HTTP; `store` is the test's own handle."""

    home: Home
    store: Store
    api: str
    admin: str
    engine_dir: Path
    keys: dict[str, str]
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def headers(self, key: str = "app") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[key]}"}

    def chat(self, text: str = "hello", key: str = "app", **body: Any) -> httpx.Response:
        fields = {"model": CHANNEL, "messages": [{"role": "user", "content": text}], "user": "u-1", **body}
        return self.client.post(f"{self.api}/v1/chat/completions", json=fields, headers=self.headers(key))

    def feedback(
        self, inference: str, key: str | None = "app", token: str | None = None, **body: Any
    ) -> httpx.Response:
        headers = {} if key is None else self.headers(key)
        if token is not None:
            headers["x-thumbwheel-feedback-token"] = token
        fields = {"inference_id": inference, **body}
        return self.client.post(f"{self.api}/v1/feedback", json=fields, headers=headers)

    def manage(self, method: str, path: str, body: object | None = None) -> httpx.Response:
        url = f"{self.admin}/admin/v1{path}"
        return self.client.request(method, url, json=body, headers=self.headers("admin"))

    def faults(self, **faults: Any) -> None:
        """What is to go wrong in the engine from now on; nothing, without arguments."""
        scratch = self.engine_dir / "faults.new"
        scratch.write_text(json.dumps(faults))
        scratch.replace(self.engine_dir / "faults.json")

    def asked(self) -> list[dict[str, Any]]:
        """What the engine saw, oldest first."""
        file = self.engine_dir / "requests.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def inferences(self) -> list[events.InferenceEvent]:
        """What the event log holds of them."""
        return logged_inferences(self.home)

    def inference(self, id_: str) -> events.InferenceEvent:
        """The inference, once it is in the log."""
        return until(lambda: next((event for event in self.inferences() if event.id == id_), None))

    def release(self, behaviour: dict[str, Any], state: str = "draft") -> Release:
        """A release of the channel whose adapter behaves as told."""
        source = self.home.root / new_id("adapter", system_clock())
        source.mkdir()
        (source / BEHAVIOUR).write_text(json.dumps(behaviour))
        sha = ArtifactStore(self.home.artifacts).publish(source, "adapter", {})
        return self.bare_release(sha, state)

    def bare_release(self, sha: str, state: str = "draft") -> Release:
        """A release that names an adapter, whether there is one or not."""
        now_ms = system_clock()
        release = Release(new_id("rel", now_ms), CHANNEL, state, POOL, "m", sha, None, None, None, None, now_ms, 1)
        with self.store.write() as tx:
            release_rows.insert_release(tx, release)
        return release

    def roll_out(self, release: Release, stages: tuple[Stage, ...] = HALF) -> Rollout:
        """A rollout at its first stage, as the controller would have it after the smoke test."""
        with self.store.write() as tx:
            rollout = start_rollout(tx, release, stages, system_clock(), "test")
            rollout = enter_stage(tx, rollout, 0, {"result": "inconclusive", "reasons": []}, system_clock())
            reached = generation(tx)
        until(lambda: not self._lagging(reached))
        return rollout

    def _lagging(self, reached: int) -> list[str]:
        with self.store.read() as tx:
            return fleet_rows.laggards(tx, reached, system_clock())

    def channel(self) -> Channel:
        with self.store.read() as tx:
            return release_rows.get_channel(tx, CHANNEL)

    def ingest(self) -> None:
        """One turn of a consumer: everything in the log goes into the store."""
        log = SqliteEventLog(self.home.events)
        with self.store.write() as tx:
            inferences: list[events.InferenceEvent] = []
            feedback: list[tuple[int, events.FeedbackEvent]] = []
            for topic in events.TOPICS:
                epoch, before = data_rows.take_partition(tx, topic, 0)
                records = log.read(topic, 0, before, 100_000)
                for record in records:
                    event = events.decode(record.value)
                    if isinstance(event, events.InferenceEvent):
                        inferences.append(event)
                    else:
                        feedback.append((record.offset, event))
                if records:
                    data_rows.advance(tx, topic, 0, epoch, before, records[-1].offset)
            ingestion.ingest(tx, inferences, feedback)
        log.close()


def logged_inferences(home: Home) -> list[events.InferenceEvent]:
    """Every inference in the event log."""
    log = SqliteEventLog(home.events)
    found = [events.decode(record.value) for record in log.read(events.INFERENCE, 0, 0, 100_000)]
    log.close()
    return [event for event in found if isinstance(event, events.InferenceEvent)]


def until(question: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true answer; fails when none came in time."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
    return answer


@contextmanager
def consuming(service: Service) -> Iterator[None]:
    """A consumer, in a thread."""
    stop = threading.Event()

    def loop() -> None:
        while not stop.wait(0.02):
            try:
                service.ingest()
            except StoreError:
                continue

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def serving(root: Path, *, workers: int = 1, engine: bool = True, **settings: Any) -> Iterator[Service]:
    """The service in `root`: a channel `support` on the engine's base; ready when the block begins."""
    home = prepare(root / "home")
    model = root / "model"
    model.mkdir(exist_ok=True)
    store = store_in(home.root)
    engine_dir = home.engines / "one"
    socket_path = root / "e.sock"
    keys = {name: mint("admin" if name == "admin" else "app") for name in ("app", "other", "rich", "admin")}
    rights = {"rich": frozenset({"author", "pin", "extensions"})}
    now_ms = system_clock()
    with store.write() as tx:
        for name, text in keys.items():
            kind = "admin" if name == "admin" else "app"
            tenant = "other" if name == "other" else "default"
            fleet_rows.insert_key(tx, as_record(text, kind, tenant, rights.get(name, frozenset()), now_ms), now_ms)
        fleet_rows.put_engine(tx, Engine("one", POOL, "vllm", str(socket_path), "base", "i-1", "ready"))
        create_channel(tx, CHANNEL, Policies(), "m", POOL, now_ms, "test")
    with ExitStack() as stack:
        if engine:
            stack.enter_context(running(model, socket_path, engine_dir, home.artifacts))
        sockets = [stack.enter_context(_listening()) for _ in range(2)]
        api, admin = (f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)
        service = Service(home, store, api, admin, engine_dir, keys)
        for number in range(workers):
            service.processes.append(start_gateway(home, sockets, root / f"gateway-{number}.log", settings))
        try:
            until(lambda: _ready(service) or not engine, 30)
            yield service
        finally:
            for process in service.processes:
                process.send_signal(signal.SIGTERM)
            for process in service.processes:
                try:
                    process.wait(20)
                finally:
                    process.kill()
            service.client.close()
            store.close()


@contextmanager
def gateway_alone(root: Path) -> Iterator[Home]:
    """Another worker on the data directory that `serving` left in `root`, with no engine."""
    home = prepare(root / "home")
    with _listening() as api, _listening() as admin:
        process = start_gateway(home, [api, admin], root / "alone.log", {})
        try:
            yield home
        finally:
            process.terminate()
            process.wait(20)


def start_gateway(
    home: Home, sockets: list[socket.socket], log: Path, settings: dict[str, Any]
) -> subprocess.Popen[bytes]:
    """One worker on listening sockets, as the supervisor starts it."""
    environment = {**os.environ, **{f"THUMBWHEEL_{key.upper()}": str(value) for key, value in settings.items()}}
    descriptors = [sock.fileno() for sock in sockets]
    command = [sys.executable, "-m", "thumbwheel", "gateway", "--home", str(home.root)]
    command += ["--api-fd", str(descriptors[0]), "--admin-fd", str(descriptors[1])]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment, pass_fds=descriptors, stdout=output, stderr=output)


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=256) as sock:
        yield sock


def _ready(service: Service) -> bool:
    for process in service.processes:
        assert process.poll() is None, "a gateway ended before it was ready; see its log"
    try:
        return httpx.get(f"{service.api}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
