"""The application's listener beside chat: feedback, the list of models, and whether the service is ready.

Feedback is checked by what its inference id says of itself, so it is taken before its inference has reached the
store, and it is on disk before the 202, after its inference where this worker holds that in memory. It knows nothing
of what becomes of it: the consumer and curation decide that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from serving.auth import need_right
from serving.openapi import FEEDBACK_BODY, LEDGER_WORDS, document
from serving.parts import Parts, authenticate, picture
from serving.replies import read_json
from serving.shape import answer_errors_in_openai_shape
from thumbwheel import events
from thumbwheel.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unavailable
from thumbwheel.events import FeedbackEvent
from thumbwheel.ids import (
    InferenceId,
    channel_tag,
    check_feedback_token,
    feedback_id,
    read_inference_id,
    tenant_tag,
)
from thumbwheel.ledger import WAITING
from thumbwheel.records import Feedback, Key
from thumbwheel.store import data_rows

TOKEN_HEADER = "x-thumbwheel-feedback-token"
MAX_TEXT = 64 * 1024
MAX_NAME = 512
MAX_TAGS, MAX_TAG_CHARS = 32, 128
MAX_METRICS = 32
INGEST_WAIT_S = 2.0
INGEST_POLL_S = 0.05
CONTENT = ("thumb", "score", "comment", "correction", "tags", "metrics")


@dataclass(frozen=True)
class Said:
    """A feedback's content, checked."""

    inference: str
    thumb: str | None = None
    score: float | None = None
    comment: str | None = None
    correction: str | None = None
    tags: tuple[str, ...] = ()
    metrics: Mapping[str, bool | float] = field(default_factory=dict)
    author: str | None = None

    @property
    def content(self) -> bytes:
        """The same content has the same bytes, in whatever order it was sent."""
        return msgspec.json.encode(
            [self.thumb, self.score, self.comment, self.correction, sorted(self.tags), self.metrics], order="sorted"
        )


def parse_feedback(body: Mapping[str, Any]) -> Said:
    """Raises InvalidRequest naming the field."""
    for name in body:
        if name not in (*CONTENT, "inference_id", "author"):
            shown = name[:64]
            raise InvalidRequest(f"`{shown}` is no field of a feedback.", param=shown, code="unknown_field")
    given = {name: value for name, value in body.items() if value is not None}
    inference = given.pop("inference_id", None)
    if not isinstance(inference, str) or not inference:
        raise InvalidRequest("`inference_id` is the `id` of the answer.", param="inference_id", code="missing_field")
    if given.get("thumb", "up") not in ("up", "down"):
        raise _invalid("thumb", '"up" or "down"')
    score = given.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        raise _invalid("score", "a number from 0 to 1")
    for name, limit in (("comment", MAX_TEXT), ("correction", MAX_TEXT), ("author", MAX_NAME)):
        if name in given and (not isinstance(given[name], str) or len(given[name]) > limit):
            raise _invalid(name, f"a string of at most {limit} characters")
        if name in given and not given[name].strip():
            raise _invalid(name, "a string that is not empty; leave it out instead")
    tags, metrics = given.get("tags", []), given.get("metrics", {})
    if (
        not isinstance(tags, list)
        or len(tags) > MAX_TAGS
        or not all(isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_CHARS for tag in tags)
    ):
        raise _invalid("tags", f"a list of at most {MAX_TAGS} strings of 1 to {MAX_TAG_CHARS} characters")
    if not isinstance(metrics, dict) or len(metrics) > MAX_METRICS:
        raise _invalid("metrics", f"an object of at most {MAX_METRICS} names")
    for name, value in metrics.items():
        if not 0 < len(name) <= MAX_TAG_CHARS or not isinstance(value, bool | int | float) or abs(value) > 1e15:
            raise _invalid(f"metrics.{name[:64]}", "true, false or a number")
    if not any(given.get(name) not in (None, [], {}) for name in CONTENT):
        raise InvalidRequest(f"A feedback holds at least one of {', '.join(CONTENT)}.", code="empty_feedback")
    return Said(
        inference=inference,
        thumb=given.get("thumb"),
        score=None if score is None else float(score),
        comment=given.get("comment"),
        correction=given.get("correction"),
        tags=tuple(tags),
        metrics=metrics,
        author=given.get("author"),
    )


def _invalid(name: str, right: str) -> InvalidRequest:
    return InvalidRequest(f"`{name}` is {right}.", param=name, code="invalid_value")


def api(parts: Parts) -> FastAPI:
    """The application listener's routes, but for the two of the hot path."""
    app = FastAPI(title="Thumbwheel", version="1", redoc_url=None)
    answer_errors_in_openai_shape(app)
    document(app)

    @app.post("/v1/feedback", status_code=202, summary="Say what a user thought of an answer", **FEEDBACK_BODY)
    async def post_feedback(request: Request) -> JSONResponse:
        """By the application's key, or by the answer's `x-thumbwheel-feedback-token` alone.

        409 `inference_not_logged` where the channel had `log: off` when it answered.
        """
        said, inference, tenant = await _entitled(parts, request)
        channel = next((n for n in parts.watch.now.channels if channel_tag(n) == inference.channel_tag), None)
        if channel is None:
            raise NotFound("The channel of this inference is not known here.", param="inference_id")
        event = FeedbackEvent(
            id=feedback_id(said.inference, said.author, said.content),
            inference=said.inference,
            tenant=tenant,
            channel=channel,
            at_ms=parts.clock(),
            author=said.author,
            thumb=said.thumb,
            score=said.score,
            comment=said.comment,
            correction=said.correction,
            tags=list(said.tags),
            metrics=dict(said.metrics),
        )
        await parts.inference_log.settled(event.inference)
        await parts.feedback_log.append(event)
        return JSONResponse({"id": event.id, "state": WAITING}, 202)

    @app.get("/v1/feedback/{feedback}", summary="What became of a feedback", description=LEDGER_WORDS)
    async def get_feedback(feedback: str, request: Request) -> dict[str, Any]:
        """For a key of its tenant, or its answer's feedback token."""
        token = request.headers.get(TOKEN_HEADER)
        key = None
        if request.headers.get("authorization") or token is None:
            key = await authenticate(parts, request.headers.get("authorization"), "app")
        row, view = await _seen(parts, feedback)
        if key is not None:
            if key.tenant != row.tenant:
                raise Forbidden("This feedback belongs to another tenant.", code="foreign_tenant")
        elif token is not None:
            check_feedback_token(token, row.inference, parts.clock(), parts.secret)
        return view

    @app.get("/v1/models", summary="The channels; for keys with the right `pin` the releases too")
    async def models(request: Request) -> dict[str, Any]:
        """In OpenAI's shape."""
        key = await authenticate(parts, request.headers.get("authorization"), "app")
        now = parts.watch.now
        data = [_model(name, now.channels[name].created_ms) for name in sorted(now.channels)]
        if "pin" in key.rights:
            data += [_model(release.id, release.created_ms) for release in now.releases.values()]
        return {"object": "list", "data": data}

    @app.get("/healthz", summary="Answers as long as the process lives")
    async def healthz() -> dict[str, str]:
        """No key needed."""
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether real tokens have come from the base and every stable release")
    async def readyz() -> JSONResponse:
        """No key needed; 503 names what has not answered yet."""
        missing = parts.proofs.missing()
        return JSONResponse({"ready": not missing, "waiting_for": missing}, 503 if missing else 200)

    return app


async def _entitled(parts: Parts, request: Request) -> tuple[Said, InferenceId, str]:
    """The feedback, its inference, and the tenant it belongs to.

    Refuses the forged, the foreign, the late, and what is about an answer that was not logged.
    """
    token = request.headers.get(TOKEN_HEADER)
    authorization = request.headers.get("authorization")
    key: Key | None = None
    if authorization is not None or token is None:
        key = await authenticate(parts, authorization, "app")
    said = parse_feedback(await read_json(request.scope, request.receive, parts.settings.max_body_bytes))
    inference = read_inference_id(said.inference, parts.secret)
    if said.author is not None:
        if key is None:
            raise Forbidden("`author` needs a key with the right `author`, not a token.", param="author")
        need_right(key, "author", "author")
    if key is not None:
        tenant = key.tenant
        if tenant_tag(parts.secret, tenant) != inference.tenant_tag:
            raise Forbidden("This inference belongs to another tenant.", param="inference_id", code="foreign_tenant")
    else:
        check_feedback_token(str(token), said.inference, parts.clock(), parts.secret)
        tenant = _tenant_of(parts, inference)
    if not inference.logged:
        raise Conflict(
            "This answer was not logged (`log: off` of its channel), so nothing can be learnt from feedback on it. Set "
            "the channel's `log` to metadata or full; answers from then on take feedback.",
            param="inference_id",
            code="inference_not_logged",
        )
    if inference.at_ms + parts.settings.feedback_window_s * 1000 < parts.clock():
        raise InvalidRequest(
            "Feedback on this answer is closed: its window has passed.",
            param="inference_id",
            code="feedback_window_closed",
        )
    return said, inference, tenant


def _tenant_of(parts: Parts, inference: InferenceId) -> str:
    for tenant in {key.tenant for key in picture(parts).keys.values()}:
        if tenant_tag(parts.secret, tenant) == inference.tenant_tag:
            return tenant
    raise NotFound("The tenant of this inference is not known here.", param="inference_id")


async def _seen(parts: Parts, feedback: str) -> tuple[Feedback, dict[str, Any]]:
    """The feedback as the store has it; waits a moment for the consumer. Raises NotFound, Unavailable.

    What was acknowledged before counts, so that an author's second word is seen to have superseded the first.
    """
    deadline = time.monotonic() + INGEST_WAIT_S
    ends = await asyncio.to_thread(lambda: parts.read_log().ends())
    while True:
        row, view, caught_up = await asyncio.to_thread(_look, parts, feedback, ends)
        late = time.monotonic() > deadline
        if row is not None and view is not None and (caught_up or late):
            return row, view
        if caught_up:
            raise NotFound("No feedback has this id.", code="feedback_not_found")
        if late:
            raise Unavailable("This may not have reached the store yet. Try again.", code="not_yet", retry_after=2)
        await asyncio.sleep(INGEST_POLL_S)


def _look(
    parts: Parts, feedback: str, ends: Mapping[str, Mapping[int, int]]
) -> tuple[Feedback | None, dict[str, Any] | None, bool]:
    with parts.store.read() as tx:
        wanted = {events.FEEDBACK: ends.get(events.FEEDBACK, {})}
        caught_up = data_rows.caught_up(tx, wanted)
        return data_rows.feedback_row(tx, feedback), data_rows.feedback_view(tx, feedback), caught_up


def _model(name: str, created_ms: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created_ms // 1000, "owned_by": "thumbwheel"}
