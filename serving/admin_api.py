"""The administrator's listener: channels, runs, rollouts, releases, lineage, and what Prometheus scrapes.

Every change is one transaction of the core's state moves with its audit row, and is answered when every live gateway
worker has read it. While the store takes no writes, pause, abort and rollback fall back on the emergency stop in the
data directory: every worker then answers the channel by its stable release alone, and the controller enters it when
it can.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from serving import views
from serving.openapi import json_body
from serving.parts import Parts, authenticate
from serving.replies import read_json
from serving.shape import answer_errors_in_openai_shape
from thumbwheel import lineage as trail
from thumbwheel import rollouts
from thumbwheel.adapter import base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import (
    AdapterRefused,
    ArtifactError,
    Conflict,
    InvalidRequest,
    LostRace,
    NotFound,
    StoreUnavailable,
    Unavailable,
)
from thumbwheel.home import emergency_stop
from thumbwheel.ids import new_id
from thumbwheel.policies import check_name, merge_policies, parse_stages
from thumbwheel.records import RUN_BUSY, Channel, Key, Policies, Release, Rollout, Run
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
EMERGENCY = ("pause", "abort", "rollback")


class Admin:
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
        while time.monotonic() < deadline:
            lagging = await self.read(lambda tx: fleet_rows.laggards(tx, reached, self.parts.clock()))
            if not lagging:
                return
            await asyncio.sleep(WORKERS_POLL_S)
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

        if action not in EMERGENCY:
            return await self.view(await self.change(move))
        try:
            return await self.view(await self.change(move, self.parts.urgent))
        except StoreUnavailable:
            channels = self.parts.watch.now.channels.values()
            return await self.stop(next((c for c in channels if c.rollout == rollout_id), None), who)

    async def roll_back(self, name: str, who: str) -> dict[str, Any]:
        """The channel's emergency lever."""

        def move(tx: Connection) -> None:
            rollouts.roll_back(tx, release_rows.get_channel(tx, name), self.parts.clock(), who)

        try:
            await self.change(move, self.parts.urgent)
            return await self.view(name)
        except StoreUnavailable:
            return await self.stop(self.parts.watch.now.channels.get(name), who)

    async def stop(self, channel: Channel | None, who: str) -> dict[str, Any]:
        """With the store away: the emergency stop. Raises Unavailable where it would change nothing."""
        if channel is None or not channel.variants:
            raise Unavailable(
                "The store takes no changes just now, and this channel has no candidate that could be stopped without "
                "it. Try again shortly.",
                code="store_unavailable",
                retry_after=2,
            )
        await asyncio.to_thread(emergency_stop, self.parts.home, channel.name, who, self.parts.clock())
        await self.parts.watch.refresh()
        log.warning("emergency stop of channel %s by %s", channel.name, who)
        only = replace(channel, variants=())
        return {**views.table_view(only), "rollout": None, "runs": [], "emergency": True}

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


def admin(parts: Parts) -> FastAPI:
    """The admin listener's routes."""
    app = FastAPI(title="Thumbwheel administration", version="1", redoc_url=None)
    answer_errors_in_openai_shape(app)
    desk = Admin(parts)
    _channels(app, desk)
    _runs(app, desk)
    _rollouts(app, desk)
    _observation(app, desk)
    return app


def _channels(app: FastAPI, desk: Admin) -> None:
    parts = desk.parts
    policies = {name: {"default": value} for name, value in asdict(Policies()).items()}

    @app.get("/admin/v1/channels", summary="Every channel")
    async def list_channels(request: Request) -> dict[str, Any]:
        """As GET on each shows it."""
        await desk.key(request)
        found = await desk.read(lambda tx: [views.channel_view(tx, c) for c in release_rows.all_channels(tx)])
        return {"channels": found}

    @app.put("/admin/v1/channels/{name}", summary="Make or change a channel", **json_body(policies, []))
    async def put_channel(name: str, request: Request) -> JSONResponse:
        """In force on every worker when it returns."""
        key = await desk.key(request)
        body = await desk.body(request)
        check_name(name)

        def move(tx: Connection) -> bool:
            channel, now_ms = release_rows.find_channel(tx, name), parts.clock()
            if channel is None:
                engine = next(iter(fleet_rows.all_engines(tx)), None)
                if engine is None:
                    raise Unavailable("No engine has been started yet.", code="engine_unavailable", retry_after=2)
                rollouts.create_channel(
                    tx, name, merge_policies(Policies(), body), parts.settings.model, engine.pool, now_ms, key.id
                )
                return True
            changed = merge_policies(channel.policies, body)
            if changed != channel.policies:
                release_rows.save_channel(tx, replace(channel, policies=changed))
                before, after = asdict(channel.policies), asdict(changed)
                fleet_rows.record(tx, now_ms, key.id, "change_channel", name, before, after)
            return False

        new = await desk.change(move)
        return JSONResponse(await desk.view(name), 201 if new else 200)

    @app.get("/admin/v1/channels/{name}", summary="A channel, its routing table and its latest rollout")
    async def get_channel(name: str, request: Request) -> dict[str, Any]:
        """`weight` is percent of units."""
        await desk.key(request)
        return await desk.view(name)

    @app.get("/admin/v1/channels/{name}/ledger", summary="Where every acknowledged feedback is")
    async def get_ledger(name: str, request: Request) -> dict[str, Any]:
        """acknowledged = used + refused + waiting, always."""
        await desk.key(request)

        def ask(tx: Connection) -> dict[str, Any]:
            release_rows.get_channel(tx, name)
            return views.ledger_view(tx, parts.read_log(), name)

        return await desk.read(ask)

    @app.post("/admin/v1/channels/{name}/rollback", summary="End the rollout, or go back to the last stable release")
    async def roll_back(name: str, request: Request) -> dict[str, Any]:
        """Works while the store is away, where there is a candidate to stop."""
        key = await desk.key(request)
        return await desk.roll_back(name, key.id)


def _runs(app: FastAPI, desk: Admin) -> None:
    parts = desk.parts
    run_body = json_body({"release": {"type": "string", "description": "judge this draft instead of training"}}, [])

    @app.post("/admin/v1/channels/{name}/runs", status_code=202, summary="Start a run", **run_body)
    async def start_run(name: str, request: Request) -> JSONResponse:
        """It sees every feedback acknowledged before it."""
        key = await desk.key(request)
        body = await desk.body(request)
        _only(body, "release")
        ends = await asyncio.to_thread(lambda: parts.read_log().ends())

        def move(tx: Connection) -> Run:
            release_rows.get_channel(tx, name)
            busy = [run for run in release_rows.runs_of(tx, name) if run.state in RUN_BUSY]
            if busy:
                raise Conflict(
                    f"Run {busy[0].id} of this channel is {busy[0].state}; wait for it.",
                    param=busy[0].id,
                    code="run_in_progress",
                )
            release = None if body.get("release") is None else _draft(tx, name, body["release"]).id
            now_ms = parts.clock()
            run = Run(
                id=new_id("run", now_ms),
                channel=name,
                state="queued",
                positions={t: {str(p): o for p, o in partitions.items()} for t, partitions in ends.items()},
                dataset=None,
                release=release,
                report=None,
                reasons=(),
                progress={},
                requested_by=key.id,
                attempts=0,
                created_ms=now_ms,
                updated_ms=now_ms,
                version=1,
            )
            release_rows.insert_run(tx, run)
            fleet_rows.record(tx, now_ms, key.id, "start_run", run.id, None, {"channel": name, "release": release})
            return run

        run = await desk.change(move)
        return JSONResponse({"id": run.id, "state": run.state}, 202)

    @app.get("/admin/v1/runs/{run}", summary="A run and how far it is")
    async def get_run(run: str, request: Request) -> dict[str, Any]:
        """`progress` is the present step's."""
        await desk.key(request)
        return await desk.read(lambda tx: views.run_view(release_rows.get_run(tx, run)))

    async def decide(run_id: str, verdict: str, word: str, who: str) -> dict[str, Any]:
        def move(tx: Connection) -> Run:
            run = release_rows.get_run(tx, run_id)
            if run.state != "insufficient_evidence":
                raise Conflict(f"Run {run.id} is {run.state}; only insufficient_evidence waits for a person.")
            if run.release is None:
                raise Conflict(f"Run {run.id} made no release that could be decided on.")
            reasons = (*run.reasons, f"{word} by {who}")
            return rollouts.finish_run(tx, run, verdict, reasons, None, parts.clock(), who)

        return views.run_view(await desk.change(move))

    @app.post("/admin/v1/runs/{run}/approve", summary="Let a run's release become a candidate")
    async def approve(run: str, request: Request) -> dict[str, Any]:
        """For an `insufficient_evidence`."""
        key = await desk.key(request)
        return await decide(run, "candidate", "approved", key.id)

    @app.post("/admin/v1/runs/{run}/reject", summary="Reject a run's release")
    async def reject(run: str, request: Request) -> dict[str, Any]:
        """For an `insufficient_evidence`."""
        key = await desk.key(request)
        return await decide(run, "rejected", "rejected", key.id)


def _rollouts(app: FastAPI, desk: Admin) -> None:
    parts = desk.parts
    start_body = json_body({"release": {"type": "string"}, "stages": {"type": "array"}}, ["release"])

    @app.post("/admin/v1/channels/{name}/rollouts", summary="Start a rollout by hand", **start_body)
    async def start_rollout(name: str, request: Request) -> dict[str, Any]:
        """Of a draft or rejected release too; the checks of its files stay."""
        key = await desk.key(request)
        body = await desk.body(request)
        _only(body, "release", "stages")
        stages = None if body.get("stages") is None else parse_stages(body["stages"])
        release = await desk.read(lambda tx: _of_channel(tx, name, body.get("release")))
        try:
            await asyncio.to_thread(desk.check_files, release)
        except Conflict as refused:
            why = {"code": refused.code, "message": refused.message}
            await desk.change(
                lambda tx: fleet_rows.record(
                    tx, parts.clock(), key.id, "refuse_rollout", release.id, {"state": release.state}, why
                )
            )
            raise

        def move(tx: Connection) -> None:
            current = _of_channel(tx, name, release.id)
            rollouts.start_rollout(tx, current, stages, parts.clock(), key.id)

        await desk.change(move)
        return await desk.view(name)

    @app.post("/admin/v1/rollouts/{rollout}/{action}", summary="pause, resume, promote or abort a rollout")
    async def move_rollout(rollout: str, action: str, request: Request) -> dict[str, Any]:
        """409 where the state forbids it. Pause and abort work while the store is away."""
        key = await desk.key(request)
        if action not in ACTIONS:
            raise NotFound(f"A rollout can be told to {', '.join(ACTIONS)}.", code="unknown_route")
        return await desk.move_rollout(rollout, action, key.id)


def _observation(app: FastAPI, desk: Admin) -> None:
    parts = desk.parts

    @app.get("/admin/v1/releases/{release}", summary="A release")
    async def get_release(release: str, request: Request) -> dict[str, Any]:
        """With its state and the reason for it."""
        await desk.key(request)
        return await desk.read(lambda tx: views.release_view(release_rows.get_release(tx, release)))

    @app.get("/admin/v1/lineage/{thing}", summary="What it came from and what came of it")
    async def get_lineage(thing: str, request: Request) -> dict[str, Any]:
        """For any id."""
        await desk.key(request)
        return await desk.read(lambda tx: trail.lineage(tx, thing))

    @app.get("/metrics", summary="This worker's figures and the store's, for Prometheus")
    async def metrics() -> Response:
        """No key needed on this listener."""
        text = await asyncio.to_thread(parts.metrics.exposition)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/engines/{engine}/metrics", summary="An engine's own figures, as vLLM gives them")
    async def engine_metrics(engine: str) -> Response:
        """No key needed on this listener."""
        found = next((one for one in parts.watch.now.engines if one.id == engine), None)
        if found is None:
            raise NotFound("There is no engine of this name.", code="engine_not_found")
        status, kind, text = await parts.upstream.get(found, "/metrics")
        return Response(text, status, media_type=kind)

    @app.get("/healthz", summary="Answers as long as the process lives")
    async def healthz() -> dict[str, str]:
        """No key needed."""
        return {"status": "ok"}


def _only(body: dict[str, Any], *names: str) -> None:
    for name in body:
        if name not in names:
            raise InvalidRequest(f"`{name[:64]}` is no field of this request.", param=name[:64], code="unknown_field")


def _of_channel(tx: Connection, channel: str, release_id: object) -> Release:
    release_rows.get_channel(tx, channel)
    if not isinstance(release_id, str):
        raise InvalidRequest("`release` is the id of a release.", param="release", code="missing_field")
    release = release_rows.get_release(tx, release_id)
    if release.channel != channel:
        raise InvalidRequest(f"Release {release.id} is not of channel {channel}.", param="release")
    return release


def _draft(tx: Connection, channel: str, release_id: object) -> Release:
    release = _of_channel(tx, channel, release_id)
    if release.state != "draft":
        raise Conflict(f"Release {release.id} is {release.state}; only a draft can be judged.", param="release")
    return release
