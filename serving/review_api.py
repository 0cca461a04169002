"""The review queue on the administrator's listener: what waits, what reviewers say of it, and how far they agree.

A reviewer sees the case and never what another has said of it; an arbiter sees the words that disagree, without names.
Personal data is masked, unless a key with the right `raw` asks for it, and each such look is an audit row. A review is
an event, on disk before the 202; the next run takes it into account.

It knows nothing of what becomes of the row: curation decides that (feedback/curate.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from sqlalchemy import Connection

from serving import cases
from serving.auth import need_right
from serving.desk import Desk
from serving.openapi import REVIEW_BODY
from serving.review_queue import STATES, Reviews, accept, argued, get_case, queue, reviews_of
from serving.saying import parse_review
from thumbwheel import adjudication, events
from thumbwheel.agreement import agreement
from thumbwheel.errors import InvalidRequest, Unavailable
from thumbwheel.events import ReviewEvent
from thumbwheel.keys import ARBITER, RAW
from thumbwheel.ledger import REVIEWABLE
from thumbwheel.records import Channel, Key
from thumbwheel.redact import Allowed, allowing
from thumbwheel.store import curation_rows, data_rows, fleet_rows, release_rows
from thumbwheel.store.review_rows import Case

MOST = 100  # cases of one answer
CATCH_UP_S, POLL_S = 2.0, 0.05
Count = Annotated[int, Query(ge=1, le=MOST)]


def reviews(app: FastAPI, desk: Desk) -> None:
    """Add the routes."""
    parts = desk.parts

    @app.get("/admin/v1/channels/{name}/reviews", summary="What waits for a reviewer, oldest first")
    async def get_queue(
        name: str,
        request: Request,
        state: Annotated[list[str] | None, Query(description=f"of {', '.join(STATES)}; several may be named")] = None,
        feedback: Annotated[str | None, Query(description="this one alone, whether or not it waits")] = None,
        limit: Count = 20,
        sample: Annotated[int | None, Query(ge=1, le=MOST, description="so many at random, not the oldest")] = None,
        seed: Annotated[str, Query(max_length=64, description="the same one draws the same sample")] = "0",
        reviewer: Annotated[str | None, Query(description="leaves out what they said or reviewed")] = None,
        unmasked: Annotated[bool, Query(description="with personal data; needs the right `raw`")] = False,
    ) -> dict[str, Any]:
        """Personal data are placeholders. What is decided is not there any more, and no reviewer's word is shown: only
        to a key with the right `arbiter` those that disagree.
        """
        key = await desk.key(request)
        if unmasked:
            need_right(key, RAW, "unmasked")
        for one in state or ():
            if one not in STATES:
                raise InvalidRequest(f"`state` is one of {', '.join(STATES)}.", param="state")
        await _caught_up(desk)

        def ask(tx: Connection) -> tuple[Channel, Reviews, dict[str, str], list[Case]]:
            channel = release_rows.get_channel(tx, name)
            said = reviews_of(tx, channel)
            waiting = queue(tx, channel, said, frozenset(state or REVIEWABLE), reviewer)
            if feedback is not None:
                chosen = [feedback]
            elif sample is not None:
                chosen = adjudication.sample(list(waiting), sample, seed)
            else:
                chosen = list(waiting)[:limit]
            return channel, said, waiting, [get_case(tx, channel, one) for one in chosen]

        channel, said, waiting, found = await desk.read(ask)
        if unmasked:
            await desk.change(lambda tx: _note_look(tx, parts.clock(), key, found))

        def show() -> list[dict[str, Any]]:
            allowed = None if unmasked else allowing(channel.policies.clean.allow)
            return [_shown(one, said, waiting, key, allowed) for one in found]

        shown = await asyncio.to_thread(show)
        return {"channel": name, "needed": channel.policies.reviews, "waiting": len(waiting), "reviews": shown}

    @app.get("/admin/v1/channels/{name}/reviews/agreement", summary="How far the channel's reviewers agree")
    async def get_agreement(name: str, request: Request) -> dict[str, Any]:
        """Krippendorff's alpha of the verdicts (nominal) and of each of the rubric's scores (ordinal), null where it
        cannot be computed; means of the scores, and of their weighted sum. Arbiters' words are counted apart.
        """
        await desk.key(request)
        await _caught_up(desk)

        def ask(tx: Connection) -> dict[str, Any]:
            channel = release_rows.get_channel(tx, name)
            decided = [adjudication.decision(one) for one in reviews_of(tx, channel).judged.values()]
            states = [adjudication.OPEN if one is None else one.state for one in decided]
            return {
                "channel": name,
                "feedback": {word: states.count(word) for word in adjudication.STATES},
                **agreement(curation_rows.of_channel(tx, name, ReviewEvent)),
            }

        return await desk.read(ask)

    @app.post("/admin/v1/channels/{name}/reviews", status_code=202, summary="Judge a feedback", **REVIEW_BODY)
    async def post_review(name: str, request: Request) -> JSONResponse:
        """Its correction or, with `proposal`, what a model proposed. The next run takes it into account.

        The same again changes nothing and has the same id; another word of the same reviewer takes the place of the one
        before. 400 `secret_in_target` or `personal_data_in_target` where an edit holds what the conversation does not.
        """
        key = await desk.key(request)
        said = parse_review(await desk.body(request), name, parts.clock(), key.id)
        if said.role == adjudication.ARBITER:
            need_right(key, ARBITER, "role")
        if not await _caught_up(desk):
            raise Unavailable("Earlier reviews may not have reached the store yet.", code="not_yet", retry_after=2)
        event, is_new = await desk.read(lambda tx: accept(tx, said))
        if is_new:
            await parts.feedback_log.append(event)
            # Not the verdict: the audit trail is shown to whoever asks where a feedback came from.
            told = {"review": event.id, "reviewer": event.reviewer, "role": event.role}
            await desk.change(
                lambda tx: fleet_rows.record(tx, parts.clock(), key.id, "review", event.feedback, None, told)
            )
        return JSONResponse({"id": event.id, "feedback": event.feedback, "verdict": event.verdict}, 202)


async def _caught_up(desk: Desk) -> bool:
    """Whether all curation events that were written before are in the store; waits a moment for the consumer."""
    ends = await asyncio.to_thread(lambda: desk.parts.read_log().ends())
    wanted = {events.CURATION: ends.get(events.CURATION, {})}
    deadline = time.monotonic() + CATCH_UP_S
    while not await desk.read(lambda tx: data_rows.caught_up(tx, wanted)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def _note_look(tx: Connection, now_ms: int, key: Key, found: Sequence[Case]) -> None:
    for one in found:
        fleet_rows.record(tx, now_ms, key.id, "unmask", one.feedback.id, None, {"channel": one.feedback.channel})


def _shown(case: Case, said: Reviews, waiting: dict[str, str], key: Key, allowed: Allowed | None) -> dict[str, Any]:
    id_ = case.feedback.id
    judged = said.judged.get(id_, {})
    refused = frozenset(one for one, found in judged.items() if one and found.state == adjudication.REFUSED)
    words = argued(said, id_) if ARBITER in key.rights else []
    return cases.view(case, waiting.get(id_), words, refused, allowed)
