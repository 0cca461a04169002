"""The administrator's listener: channels, runs, rollouts, releases, lineage, and what Prometheus scrapes.

Routes and their bodies; what a change does is in `serving.desk` and in the core's state moves. `/metrics` and the pages
need no key on this listener, everything else an administrator's.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from serving import views
from serving.desk import ACTIONS, Desk
from serving.openapi import CHANNEL_WORDS, LEDGER_WORDS, RUN_WORDS, json_body, policies_body
from serving.parts import Parts
from serving.review_api import reviews
from serving.shape import answer_errors_in_openai_shape
from thumbwheel import lineage as trail
from thumbwheel import reports, rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from thumbwheel.policies import check_name, parse_changes, parse_stages
from thumbwheel.records import RUN_BUSY, Policies, Release, Run
from thumbwheel.store import fleet_rows, release_rows

REPORT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {}, "text/markdown": {}}, "description": "The report"}
}


def admin(parts: Parts) -> FastAPI:
    """The admin listener's routes."""
    app = FastAPI(title="Thumbwheel administration", version="1", redoc_url=None)
    answer_errors_in_openai_shape(app)
    desk = Desk(parts)
    _channels(app, desk)
    _runs(app, desk)
    _rollouts(app, desk)
    reviews(app, desk)
    _observation(app, desk)
    return app


def _channels(app: FastAPI, desk: Desk) -> None:
    parts = desk.parts

    @app.get("/admin/v1/channels", summary="Every channel")
    async def list_channels(request: Request) -> dict[str, Any]:
        """As GET on each shows it."""
        await desk.key(request)
        found = await desk.read(lambda tx: [views.channel_view(tx, c) for c in release_rows.all_channels(tx)])
        return {"channels": found}

    @app.put("/admin/v1/channels/{name}", summary="Make or change a channel", **policies_body())
    async def put_channel(name: str, request: Request) -> JSONResponse:
        """In force on every worker when it returns.

        409 `rollout_in_progress` where `log` would be switched to `off` while a rollout is running, paused or held:
        what is not logged cannot be judged. `metadata` keeps no text and is enough.
        """
        key = await desk.key(request)
        body = await desk.body(request)
        check_name(name)
        changes = await asyncio.to_thread(parse_changes, body)  # not in the transaction, which others wait for

        def move(tx: Connection) -> bool:
            channel, now_ms = release_rows.find_channel(tx, name), parts.clock()
            if channel is None:
                engine = next(iter(fleet_rows.all_engines(tx)), None)
                if engine is None:
                    raise Unavailable("No engine has been started yet.", code="engine_unavailable", retry_after=2)
                base = engine.base_name if engine.kind == "upstream" else parts.settings.model
                policies = replace(Policies(), **changes)
                rollouts.create_channel(tx, name, policies, base, engine.pool, now_ms, key.id)
                return True
            rollouts.change_policies(tx, channel, replace(channel.policies, **changes), now_ms, key.id)
            return False

        new = await desk.change(move)
        return JSONResponse(await desk.view(name), 201 if new else 200)

    @app.get(
        "/admin/v1/channels/{name}",
        summary="A channel, its routing table and its latest rollout",
        description=CHANNEL_WORDS,
    )
    async def get_channel(name: str, request: Request) -> dict[str, Any]:
        await desk.key(request)
        return await desk.view(name)

    @app.get(
        "/admin/v1/channels/{name}/ledger",
        summary="Where every acknowledged feedback is",
        description=f"acknowledged = used + refused + waiting, always. {LEDGER_WORDS}",
    )
    async def get_ledger(name: str, request: Request) -> dict[str, Any]:
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


def _runs(app: FastAPI, desk: Desk) -> None:
    parts = desk.parts
    run_body = json_body({"release": {"type": "string", "description": "judge this draft instead of training"}}, [])

    @app.post("/admin/v1/channels/{name}/runs", status_code=202, summary="Start a run", **run_body)
    async def start_run(name: str, request: Request) -> JSONResponse:
        """It sees every feedback acknowledged before it.

        409 `run_in_progress` with the other's id in `param`, and `training_not_permitted` where the channel has
        `train: false`: no run may learn or judge there. Put `train` to true first.
        """
        key = await desk.key(request)
        body = await desk.body(request)
        _only(body, "release")
        ends = await asyncio.to_thread(lambda: parts.read_log().ends())

        def move(tx: Connection) -> Run:
            if not release_rows.get_channel(tx, name).policies.train:
                raise Conflict(
                    f"Channel {name} does not permit training (`train: false`), so a run could do nothing. Put its "
                    "`train` to true first; answers from then on may be learnt from.",
                    param="train",
                    code="training_not_permitted",
                )
            busy = [run for run in release_rows.runs_of(tx, name) if run.state in RUN_BUSY]
            if busy:
                raise Conflict(
                    f"Run {busy[0].id} of this channel is {busy[0].state}; wait for it.",
                    param=busy[0].id,
                    code="run_in_progress",
                )
            release = None if body.get("release") is None else _draft(tx, name, body["release"]).id
            return rollouts.start_run(tx, name, ends, release, parts.clock(), key.id)

        run = await desk.change(move)
        return JSONResponse({"id": run.id, "state": run.state}, 202)

    @app.get("/admin/v1/runs/{run}", summary="A run and how far it is", description=RUN_WORDS)
    async def get_run(run: str, request: Request) -> dict[str, Any]:
        await desk.key(request)
        return await desk.read(lambda tx: views.run_view(release_rows.get_run(tx, run)))

    @app.get("/admin/v1/runs/{run}/report", summary="A run's evaluation report", responses=REPORT_RESPONSES)
    async def get_report(run: str, request: Request, format: Literal["json", "md"] = "json") -> Response:
        """What was measured and what the gate said of it; with `format=md` for people. It quotes the test questions.

        404 `no_report` where the run has not been evaluated.
        """
        await desk.key(request)
        found = await desk.read(lambda tx: release_rows.get_run(tx, run))
        artifacts = ArtifactStore(parts.home.artifacts)
        if format == "md":
            text = await asyncio.to_thread(reports.read_markdown, artifacts, found)
            return Response(text, media_type="text/markdown; charset=utf-8")
        return JSONResponse(await asyncio.to_thread(reports.read_json, artifacts, found))

    async def decide(run_id: str, verdict: str, word: str, who: str) -> dict[str, Any]:
        def move(tx: Connection) -> Run:
            run = release_rows.get_run(tx, run_id)
            return rollouts.decide_run(tx, run, verdict, word, parts.clock(), who)

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


def _rollouts(app: FastAPI, desk: Desk) -> None:
    parts = desk.parts
    start_body = json_body({"release": {"type": "string"}, "stages": {"type": "array"}}, ["release"])

    @app.post("/admin/v1/channels/{name}/rollouts", summary="Start a rollout by hand", **start_body)
    async def start_rollout(name: str, request: Request) -> dict[str, Any]:
        """Of a draft or rejected release too; the checks of its files stay.

        409 `channel_logs_nothing` where the channel has `log: off`: a candidate could never be judged. Set `log` to
        metadata first.
        """
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


def _observation(app: FastAPI, desk: Desk) -> None:
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

    @app.get("/metrics", summary="Every gateway worker's figures and the store's, for Prometheus")
    async def metrics() -> Response:
        """No key needed on this listener."""
        text = await asyncio.to_thread(lambda: parts.metrics.exposition(parts.siblings.texts()))
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
