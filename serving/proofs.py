"""Which release may be sent traffic on which engine: only where a real token of it has come from there.

What is learnt holds for one incarnation of an engine and is forgotten with it, so a restarted engine is proven anew.
The prober asks for every release that a channel routes to, and for each pool's own base; a request waits here for its
proof.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from serving.snapshot import Snapshot
from serving.upstream import Target, Upstream, first_token
from thumbwheel.errors import EngineError, ReleaseFailed
from thumbwheel.records import Engine, Release

log = logging.getLogger(__name__)

PROBE_S = 60.0
PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
EngineKey = tuple[str, str]


@dataclass
class _Probes:
    """What one engine's incarnation has shown."""

    proven: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)  # name -> what the engine said of the release
    under_way: dict[str, asyncio.Task[None]] = field(default_factory=dict)


class Proofs:
    """The prober and what it knows. `picture` gives the latest snapshot."""

    def __init__(self, upstream: Upstream, picture: Callable[[], Snapshot]) -> None:
        self._upstream, self._picture = upstream, picture
        self._probes: dict[EngineKey, _Probes] = {}
        self._turn = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False

    # what a request asks

    def find(self, release: Release) -> Target | None:
        """An engine on which `release` has answered, each in its turn; None while there is none."""
        engines = [e for e in self._engines(release.pool) if e.name_of(release) in self._of(e).proven]
        if not engines:
            return None
        self._turn += 1
        return Target(engines[self._turn % len(engines)], release)

    def failure(self, release: Release) -> str | None:
        """Why no engine of its pool can serve it: what each of them said of it. None where one might yet."""
        engines = self._engines(release.pool)
        said = [self._of(engine).failed.get(engine.name_of(release)) for engine in engines]
        return said[0] if said and all(said) else None

    async def wait(self, release: Release, seconds: float) -> Target | None:
        """Like `find`, but waits for a proof, or until it is known that the release itself fails."""
        deadline = time.monotonic() + seconds
        while (target := self.find(release)) is None and self.failure(release) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(change)
            try:
                await asyncio.wait_for(change, left)
            except TimeoutError:
                return self.find(release)
            finally:
                self._waiters.discard(change)
        return target

    def doubt(self, engine: Engine) -> None:
        """A connection to the engine broke: nothing goes there before it has answered again."""
        probes = self._probes.get(_key(engine))
        if probes is not None:
            probes.proven.clear()
            self.wake()

    def missing(self) -> list[str]:
        """What has not answered yet, of the pools' bases and the channels' stable releases; empty when ready."""
        now = self._picture()
        if now.generation < 0:
            return ["the store"]
        stable = [now.releases[channel.stable] for channel in now.channels.values() if channel.stable in now.releases]
        lacking = [f"channel {release.channel}" for release in stable if self.find(release) is None]
        ready = [engine for engine in now.engines if engine.state == "ready"]
        if not any(engine.base_name in self._of(engine).proven for engine in ready):
            lacking.insert(0, "the base")
        return lacking

    def wake(self) -> None:
        """The snapshot, or a proof, has changed: start what is to be probed and wake who waits."""
        if self._closed:  # a probe that was cancelled says so on its way out
            return
        for engine, name, release in list(self._wanted()):
            probes = self._of(engine)
            if name not in probes.proven and name not in probes.under_way:
                probes.under_way[name] = asyncio.create_task(self._prove(engine, name, release))
        live = {_key(engine) for engine in self._picture().engines}
        for gone in [key for key in self._probes if key not in live]:
            for task in self._probes.pop(gone).under_way.values():
                task.cancel()
        for change in self._waiters:
            if not change.done():
                change.set_result(None)

    def close(self) -> None:
        """Stop probing, for good."""
        self._closed = True
        for probes in self._probes.values():
            for task in probes.under_way.values():
                task.cancel()

    # probing

    async def _prove(self, engine: Engine, name: str, release: Release) -> None:
        probes, pause = self._of(engine), PAUSE_S
        try:
            while self._still_wanted(engine, name):
                try:
                    await first_token(self._upstream, Target(engine, release), PROBE_S)
                except ReleaseFailed as error:
                    self._note_failure(engine, release, name, error.said or str(error))  # said of our own question
                except EngineError as error:
                    if name != engine.base_name and await self._answers(engine):
                        self._note_failure(engine, release, name, str(error))
                    else:
                        log.info("%s does not answer yet: %s", engine.id, error)
                else:
                    probes.failed.pop(name, None)
                    probes.proven.add(name)
                    log.info("release %s answers on %s", release.id, engine.id)
                    return
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        finally:
            probes.under_way.pop(name, None)
            self.wake()

    def _note_failure(self, engine: Engine, release: Release, name: str, reason: str) -> None:
        if name not in self._of(engine).failed:
            log.warning("release %s does not answer on %s: %s", release.id, engine.id, reason)
        self._of(engine).failed[name] = reason
        self.wake()

    async def _answers(self, engine: Engine) -> bool:
        """Whether the engine's own model answers: then what broke a release's connection is the release."""
        try:
            await first_token(self._upstream, Target(engine, _base_of(engine)), PROBE_S)
        except EngineError:
            return False
        return True

    def _wanted(self) -> Iterator[tuple[Engine, str, Release]]:
        now = self._picture()
        routed = {channel.stable for channel in now.channels.values()}
        routed |= {variant.release for channel in now.channels.values() for variant in channel.variants}
        for engine in now.engines:
            if engine.state != "ready":
                continue
            yield engine, engine.base_name, _base_of(engine)
            for release_id in sorted(routed):
                release = now.releases.get(release_id)
                if release is not None and release.pool == engine.pool:
                    yield engine, engine.name_of(release), release

    def _still_wanted(self, engine: Engine, name: str) -> bool:
        return any(_key(e) == _key(engine) and n == name for e, n, _ in self._wanted())

    def _engines(self, pool: str) -> list[Engine]:
        return [engine for engine in self._picture().engines if engine.pool == pool and engine.state == "ready"]

    def _of(self, engine: Engine) -> _Probes:
        return self._probes.setdefault(_key(engine), _Probes())


def _key(engine: Engine) -> EngineKey:
    return engine.id, engine.incarnation


def _base_of(engine: Engine) -> Release:
    """The engine's own model, as a release that no channel needs to have."""
    return Release(
        id=f"{engine.base_name} of {engine.id}",
        channel="",
        state="stable",
        pool=engine.pool,
        base=engine.base_name,
        adapter=None,
        run=None,
        parent=None,
        report=None,
        reason=None,
        created_ms=0,
        version=0,
    )
