"""A gateway worker within the test's own process: real store, real log, a scripted engine, no listener and no port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from serving.app import Gateway, application_api
from serving.upstream import Target
from tests.stores import store_in
from thumbwheel.clock import system_clock
from thumbwheel.events import InferenceEvent
from thumbwheel.home import prepare
from thumbwheel.keys import OWN_RIGHTS, as_record, mint
from thumbwheel.records import Engine, Policies, Release, Variant
from thumbwheel.rollouts import create_channel
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, release_rows

CHANNEL = "support"
ENGINE = Engine("e", "main", "upstream", "http://127.0.0.1:9", "base", "i", "ready")


Part = bytes | float | Exception


class ScriptedAnswer:
    """An engine's response: gives its parts, raises the one that is an exception, waits the seconds of a number."""

    def __init__(self, parts: list[Part]) -> None:
        self._parts = parts
        self.content = self

    async def iter_any(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if isinstance(part, Exception):
                raise part
            if isinstance(part, float):
                await asyncio.sleep(part)
            else:
                yield part

    async def read(self) -> bytes:
        return b"".join([part async for part in self.iter_any()])


@dataclass
class ScriptedEngine:
    """Upstream and proofs in one: every release but `silent` answers, always with `parts`; `away` until waited for."""

    parts: list[Part] = field(default_factory=list)
    silent: str | None = None
    away: bool = False

    @asynccontextmanager
    async def post(self, *_: object) -> AsyncIterator[ScriptedAnswer]:
        yield ScriptedAnswer(self.parts)

    def find(self, release: Release) -> Target | None:
        return None if self.away or release.id == self.silent else Target(ENGINE, release)

    async def wait(self, release: Release, _seconds: float) -> Target | None:
        if release.id != self.silent:
            self.away = False
        return self.find(release)

    def failure(self, _release: Release) -> None:
        return None


@dataclass
class Noted:
    """An inference log that keeps what it is given; it has written it once `slow` is empty of its id."""

    events: list[InferenceEvent] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)
    excused: list[Collection[str]] = field(default_factory=list)

    def expect(self, inference: str) -> None:
        self.expected.append(inference)

    def put(self, event: InferenceEvent, *, keep_text: bool, excused: Collection[str]) -> None:
        del keep_text
        self.events.append(event)
        self.excused.append(excused)

    async def settled(self, inference: str) -> None:
        while inference in self.slow:
            await asyncio.sleep(0.01)


@dataclass
class Worker:
    """The worker, and clients of its two listeners that send the service's own keys."""

    gateway: Gateway
    engine: ScriptedEngine
    noted: Noted
    api: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def chat(self, **body: Any) -> httpx.Response:
        fields = {"model": CHANNEL, "messages": [{"role": "user", "content": "hello"}], **body}
        return await self.api.post("/v1/chat/completions", json=fields)

    def replaced(self, **parts: Any) -> httpx.AsyncClient:
        """A client of the application's listener with other parts."""
        return _client(application_api(replace(self.gateway.parts, **parts)), dict(self.api.headers))

    async def candidate(self) -> Release:
        """Give every unit to a candidate, and return it when the worker knows of it."""
        with self.gateway.parts.store.write() as tx:
            channel = release_rows.get_channel(tx, CHANNEL)
            stable = release_rows.get_release(tx, channel.stable)
            release = replace(stable, id="rel-candidate", state="candidate", adapter="a" * 64)
            release_rows.insert_release(tx, release)
            everyone = (Variant(release.id, "candidate", ((0.0, 1.0),)),)
            release_rows.save_channel(tx, replace(channel, variants=everyone))
        while release.id not in self.gateway.parts.watch.now.releases:
            await asyncio.sleep(0.01)
        return release

    def channel(self, **policies: Any) -> None:
        """Give the channel other policies, past every check."""
        with self.gateway.parts.store.write() as tx:
            channel = release_rows.get_channel(tx, CHANNEL)
            release_rows.save_channel(tx, replace(channel, policies=replace(channel.policies, **policies)))


def _client(application: Any, headers: dict[str, str]) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


@asynccontextmanager
async def worker(root: Path, **settings: Any) -> AsyncIterator[Worker]:
    """One worker on the data directory `root`; several may be on the same one."""
    home = prepare(root)
    keys = {kind: mint(kind) for kind in ("app", "admin")}
    store, now_ms = store_in(home.root), system_clock()
    with store.write() as tx:
        for kind, text in keys.items():
            fleet_rows.insert_key(tx, as_record(text, kind, "default", OWN_RIGHTS[kind], now_ms), now_ms)
        if release_rows.find_channel(tx, CHANNEL) is None:
            create_channel(tx, CHANNEL, Policies(), "m", "main", now_ms, "test")
    store.close()
    gateway = Gateway(Settings(root, **settings), system_clock)
    await gateway.start()
    engine, noted = ScriptedEngine(), Noted()
    application = application_api(replace(gateway.parts, upstream=engine, proofs=engine, inference_log=noted))
    headers = {kind: {"authorization": f"Bearer {text}"} for kind, text in keys.items()}
    async with _client(application, headers["app"]) as api_client, _client(gateway.admin, headers["admin"]) as admin:
        try:
            yield Worker(gateway, engine, noted, api_client, admin)
        finally:
            await gateway.close()
