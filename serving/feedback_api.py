"""The application's listener beside chat: feedback, the list of models, and whether the service is ready.

Feedback is checked by what its inference id says of itself, so it is taken before its inference has reached the
store, and it is on disk before the 202, after its inference where this worker holds that in memory. It knows nothing
of what becomes of it: the consumer and curation decide that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from serving.auth import need_right
from serving.limits import TOKENS
from serving.openapi import FEEDBACK_BODY, LEDGER_WORDS, document
from serving.parts import Parts, authenticate, picture
from serving.replies import read_json
from serving.saying import Said, parse_feedback
from serving.shape import answer_errors_in_openai_shape
from thumbwheel import events
from thumbwheel.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unavailable
from thumbwheel.events import FeedbackEvent
from thumbwheel.ids import (
    InferenceId,
    channel_tag,
    feedback_id,
    opens,
    read_feedback_token,
    read_inference_id,
    tenant_tag,
)
from thumbwheel.ledger import DEAD_LETTER, REFUSED, UNHANDLED, WAITING
from thumbwheel.records import Key
from thumbwheel.roles import USER, role_of
from thumbwheel.store import data_rows, dead_letter_rows
from thumbwheel.store.dead_letter_rows import DeadLetter

TOKEN_HEADER = "x-thumbwheel-feedback-token"
MAX_BYTES_BY_TOKEN = 512 * 1024  # of a body: less than a key may send, as strangers hold tokens
INGEST_WAIT_S = 2.0
INGEST_POLL_S = 0.05


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
        asker = await _asker(parts, request)
        with _place(parts, asker):
            return JSONResponse({"id": await _take(parts, request, asker), "state": WAITING}, 202)

    @app.get("/v1/feedback/{feedback}", summary="What became of a feedback", description=LEDGER_WORDS)
    async def get_feedback(feedback: str, request: Request) -> dict[str, Any]:
        """For a key of its tenant, or its answer's feedback token."""
        asker = await _asker(parts, request)
        with _place(parts, asker):
            row, view = await _seen(parts, feedback, asker)
        if isinstance(asker, Key) and asker.tenant != row.tenant:
            raise Forbidden("This feedback belongs to another tenant.", code="foreign_tenant")
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


async def _asker(parts: Parts, request: Request) -> Key | str:
    """The key that asks, or the feedback token where there is no key: one of ours, whatever it is shown for.

    Nothing of the body has been read. Raises Unauthenticated.
    """
    token, authorization = request.headers.get(TOKEN_HEADER), request.headers.get("authorization")
    if authorization is not None or token is None:
        return await authenticate(parts, authorization, "app")
    read_feedback_token(token, parts.clock(), parts.secret)
    return token


def _place(parts: Parts, asker: Key | str) -> AbstractContextManager[None]:
    """A place among the requests under way, for tokens: strangers may hold them. Raises RateLimited."""
    return nullcontext() if isinstance(asker, Key) else parts.in_flight.entered(TOKENS)


async def _take(parts: Parts, request: Request, asker: Key | str) -> str:
    """Make a feedback that may be given durable; its id."""
    said, inference, tenant = await _entitled(parts, request, asker)
    channel = next((n for n in parts.watch.now.channels if channel_tag(n) == inference.channel_tag), None)
    if channel is None:
        raise NotFound("The channel of this inference is not known here.", param="inference_id", code="model_not_found")
    role = role_of(asker.rights) if isinstance(asker, Key) else USER
    # An expert's word is not the user's own, though they say the same and have the same unit for an author.
    content = said.content if role == USER else said.content + role.encode()
    event = FeedbackEvent(
        id=feedback_id(said.inference, said.author, content),
        inference=said.inference,
        tenant=tenant,
        channel=channel,
        at_ms=parts.clock(),
        author=said.author,
        role=role,
        thumb=said.thumb,
        score=said.score,
        comment=said.comment,
        correction=said.correction,
        tags=list(said.tags),
        metrics=dict(said.metrics),
    )
    await parts.inference_log.settled(event.inference)
    await parts.feedback_log.append(event)
    return event.id


async def _entitled(parts: Parts, request: Request, asker: Key | str) -> tuple[Said, InferenceId, str]:
    """The feedback, its inference, and the tenant it belongs to.

    Refuses the foreign, the late, and what is about an answer that was not logged.
    """
    most = parts.settings.max_body_bytes
    if isinstance(asker, str):
        most = min(most, MAX_BYTES_BY_TOKEN)
    said = parse_feedback(await read_json(request.scope, request.receive, most))
    inference = read_inference_id(said.inference, parts.secret)
    if said.author is not None:
        if isinstance(asker, str):
            raise Forbidden(
                "`author` needs a key with the right `author`, not a token.", param="author", code="right_missing"
            )
        need_right(asker, "author", "author")
    if isinstance(asker, Key):
        tenant = asker.tenant
        if tenant_tag(parts.secret, tenant) != inference.tenant_tag:
            raise Forbidden("This inference belongs to another tenant.", param="inference_id", code="foreign_tenant")
    elif opens(asker, said.inference, parts.secret):
        tenant = _tenant_of(parts, inference)
    else:
        raise Forbidden(
            "This feedback token was not made for this inference. Send the token that came with that answer.",
            code="feedback_token_mismatch",
        )
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
    raise NotFound("The tenant of this inference is not known here.", param="inference_id", code="inference_not_found")


class _Owner(msgspec.Struct, frozen=True):
    """Whose a feedback is, and on which answer."""

    tenant: str
    inference: str


_owner = msgspec.json.Decoder(_Owner)


async def _seen(parts: Parts, feedback: str, asker: Key | str) -> tuple[_Owner, dict[str, Any]]:
    """The feedback as the store has it; waits a moment for the consumer. Raises NotFound, Unavailable.

    What was acknowledged before counts, so that an author's second word is seen to have superseded the first. What a
    token does not open is not there for it, and takes as long to be found missing.
    """
    deadline = time.monotonic() + INGEST_WAIT_S
    ends = await asyncio.to_thread(lambda: parts.read_log().ends())
    while True:
        row, view, caught_up = await asyncio.to_thread(_look, parts, feedback, ends)
        late = time.monotonic() > deadline
        if row is not None and isinstance(asker, str) and not opens(asker, row.inference, parts.secret):
            row = None
        if row is not None and view is not None and (caught_up or late):
            return row, view
        if caught_up:
            raise NotFound("No feedback has this id.", param="feedback", code="feedback_not_found")
        if late:
            raise Unavailable("This may not have reached the store yet. Try again.", code="not_yet", retry_after=2)
        await asyncio.sleep(INGEST_POLL_S)


def _look(
    parts: Parts, feedback: str, ends: Mapping[str, Mapping[int, int]]
) -> tuple[_Owner | None, dict[str, Any] | None, bool]:
    with parts.store.read() as tx:
        wanted = {events.FEEDBACK: ends.get(events.FEEDBACK, {})}
        caught_up = data_rows.caught_up(tx, wanted)
        row = data_rows.feedback_row(tx, feedback)
        if row is not None:
            return _Owner(row.tenant, row.inference), data_rows.feedback_view(tx, feedback), caught_up
        letter = dead_letter_rows.of_feedback(tx, feedback)
        return (None, None, caught_up) if letter is None else (*_buried(letter), caught_up)


def _buried(letter: DeadLetter) -> tuple[_Owner | None, dict[str, Any] | None]:
    """What can be said of a feedback that could not be ingested, where it can be read whose it is."""
    try:
        owner = _owner.decode(letter.record.value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None
    stands = (REFUSED, UNHANDLED) if letter.given_up else (WAITING, DEAD_LETTER)
    view = {"id": letter.event, "inference_id": owner.inference, "state": stands[0], "reason": stands[1]}
    return owner, {**view, "dataset": None, "runs": [], "releases": []}


def _model(name: str, created_ms: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created_ms // 1000, "owned_by": "thumbwheel"}
