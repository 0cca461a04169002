"""Changes on behalf of administrators: one transaction of the core's state moves, in force on every worker on return.

While the store takes no writes, pause, abort and rollback fall back on the emergency stop in the data directory: every
worker then answers the channel by its stable release alone, and the controller does what was asked when it can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request
from sqlalchemy import Connection

from serving import views
from serving.parts import Parts, authenticate
from serving.replies import read_json
from thumbwheel import emergency, rollouts
from thumbwheel.adapter import base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import AdapterRefused, ArtifactError, Conflict, LostRace, StoreUnavailable, Unavailable
from thumbwheel.records import ROLLOUT_ACTIVE, Channel, Key, Release, Rollout
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import Store, generation

log = logging.getLogger(__name__)
T = TypeVar("T")

WORKERS_WAIT_S = 2.0
WORKERS_POLL_S = 0.02
TRIES = 3  # a change that lost a race is tried again on what the winner left
ACTIONS: dict[str, Callable[[Connection, Rollout, int, str], object]] = {
    "pause": rollouts.pause,
    "resume": rollouts.resume,
    "promote": lambda tx, rollout, now_ms, who: rollouts.promote(tx, rollout, None, now_ms, who),
    "abort": rollouts.abort,
}


THEN = {
    "pause": "the rollout is paused, and its candidate answers its share again",
    "abort": "the rollout is aborted, or rolled back should it have been promoted meanwhile",
    "rollback": "the rollout is ended, or rolled back should it have been promoted meanwhile",
}


class Desk:
    """Changes to the store on behalf of administrators."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def key(self, request: Request) -> Key:
        """Who asks. Raises Unauthenticated."""
        return await authenticate(self.parts, request.headers.get("authorization"), "admin")

    async def body(self, request: Request) -> dict[str, Any]:
        """The request's JSON object; nothing at all is an empty one."""
        if not request.headers.get("content-length", "").strip("0") and "transfer-encoding" not in request.headers:
            return {}
        return await read_json(request.scope, request.receive, self.parts.settings.max_body_bytes)

    async def read(self, question: Callable[[Connection], T]) -> T:
        """Ask the store in a thread."""

        def work() -> T:
            with self.parts.store.read() as tx:
                return question(tx)

        return await asyncio.to_thread(work)

    async def change(self, move: Callable[[Connection], T], store: Store | None = None) -> T:
        """Apply `move` in one transaction, and return when every live worker has read it. Raises StoreUnavailable."""
        result, reached = await asyncio.to_thread(self._apply, move, store or self.parts.store)
        await self._in_force(reached)
        return result

    def _apply(self, move: Callable[[Connection], T], store: Store) -> tuple[T, int]:
        for attempt in range(TRIES):
            try:
                with store.write() as tx:
                    return move(tx), generation(tx)
            except LostRace:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _in_force(self, reached: int) -> None:
        deadline = time.monotonic() + WORKERS_WAIT_S
        await self.parts.watch.refresh()
        try:
            while time.monotonic() < deadline:
                if not await self.read(lambda tx: fleet_rows.laggards(tx, reached, self.parts.clock())):
                    return
                await asyncio.sleep(WORKERS_POLL_S)
        except StoreUnavailable:
            pass  # the change itself is written; only the workers' word for it cannot be read
        log.warning("some gateway workers had not read generation %d after %g s", reached, WORKERS_WAIT_S)

    async def view(self, name: str) -> dict[str, Any]:
        """The channel as GET shows it."""
        return await self.read(lambda tx: views.channel_view(tx, release_rows.get_channel(tx, name)))

    async def move_rollout(self, rollout_id: str, action: str, who: str) -> dict[str, Any]:
        """One of ACTIONS on a rollout; the channel as it is then."""

        def move(tx: Connection) -> str:
            rollout = release_rows.get_rollout(tx, rollout_id)
            ACTIONS[action](tx, rollout, self.parts.clock(), who)
            return rollout.channel

        if action not in emergency.ACTIONS:
            return await self.view(await self.change(move))
        try:
            name = await self.change(move, self.parts.urgent)
        except StoreUnavailable:
            channels = self.parts.watch.now.channels.values()
            return await self.stop(next((c for c in channels if c.rollout == rollout_id), None), action, who)
        return await self.view(name)

    async def roll_back(self, name: str, who: str) -> dict[str, Any]:
        """The channel's emergency lever. It goes back to no release whose files no engine could load."""
        damaged: frozenset[str] = frozenset()

        def move(tx: Connection) -> None:
            rollouts.roll_back(tx, release_rows.get_channel(tx, name), self.parts.clock(), who, damaged)

        try:
            damaged = await asyncio.to_thread(self._damaged, name)
            await self.change(move, self.parts.urgent)
        except StoreUnavailable:
            return await self.stop(self.parts.watch.now.channels.get(name), "rollback", who)
        return await self.view(name)

    def _damaged(self, name: str) -> frozenset[str]:
        """Of the releases that the channel could go back to, the newest ones, until one is whole. Blocks to read."""
        with self.parts.urgent.read() as tx:
            channel = release_rows.get_channel(tx, name)
            current = release_rows.rollout_of(tx, channel)
            if current is not None and current.state in ROLLOUT_ACTIVE:
                return frozenset()  # that one ends, and the stable release stays
            earlier = [release_rows.get_release(tx, release) for release in reversed(channel.history)]
        found = set()
        for release in earlier:
            try:
                self.check_files(release)
                break
            except (Conflict, OSError) as error:
                log.warning("release %s cannot be rolled back to: %s", release.id, error)
                found.add(release.id)
        return frozenset(found)

    async def stop(self, channel: Channel | None, action: str, who: str) -> dict[str, Any]:
        """With the store away: the emergency stop. Raises Unavailable where it would change nothing."""
        if channel is None or not channel.variants:
            raise Unavailable(
                "The store takes no changes just now, and this channel has no candidate that could be stopped without "
                "it. Try again shortly.",
                code="store_unavailable",
                retry_after=2,
            )
        asked = (channel.name, who, self.parts.clock(), action, channel.rollout)
        await asyncio.to_thread(emergency.emergency_stop, self.parts.home, *asked)
        await self.parts.watch.refresh()
        log.warning("emergency stop of channel %s by %s: %s", channel.name, who, action)
        only = replace(channel, variants=())
        words = (
            f"The store takes no changes just now. The stable release alone answers until it does; then {THEN[action]}."
        )
        told = {"emergency": True, "message": words}
        return {**views.table_view(only), "rollout": None, "waiting": None, "runs": [], **told}

    def check_files(self, release: Release) -> None:
        """The checks that no administrator can wave through. Raises Conflict with the reason as its code."""
        if release.adapter is None:
            return
        settings = self.parts.settings
        if settings.upstream is not None:
            raise Conflict("An upstream server takes no adapters from here.", code="no_hot_swap", param="release")
        artifacts = ArtifactStore(self.parts.home.artifacts)
        try:
            artifacts.verify(release.adapter)
            check_adapter(artifacts.path(release.adapter), base_modules(Path(settings.model)), settings.max_lora_rank)
        except AdapterRefused as error:
            raise Conflict(f"The adapter is refused: {error}", code=error.reason, param="release") from error
        except ArtifactError as error:
            raise Conflict(
                f"The adapter's files are refused: {error}", code="artifact_damaged", param="release"
            ) from error
