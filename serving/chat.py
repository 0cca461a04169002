"""The hot path: /v1/chat/completions and /v1/completions in bare ASGI.

A request is read, checked and assigned without touching a disk; an engine's answer is passed on as it comes, with our
id and the channel's name in it. Until the first byte has gone out, what fails at a candidate is asked of the stable
release once, and an engine that is away is waited for, within bounds. After it, a stream that fails, by whosever fault,
ends with one error event and no `[DONE]`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from serving.asking import CONVERSATION_HEADER, PIN_HEADER, Asking, understand
from serving.exchange import Exchange, as_event
from serving.parts import Parts, authenticate
from serving.replies import (
    EVENT_STREAM,
    RETRY_AFTER_S,
    ClientLeft,
    Receive,
    Reply,
    Scope,
    Send,
    as_request_error,
    error_headers,
    header,
    internal_error,
    read_json,
    send_json,
)
from serving.upstream import Target, events, translated
from thumbwheel.errors import (
    ClientRejected,
    EngineError,
    EngineTooSlow,
    EngineUnreachable,
    MethodNotAllowed,
    NotFound,
    ReleaseFailed,
    ThumbwheelError,
    Unavailable,
)
from thumbwheel.ids import feedback_token, mint_inference_id, new_id
from thumbwheel.records import Key, Release, Variant
from thumbwheel.routing import assign

log = logging.getLogger(__name__)

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
ATTEMPTS = 3  # connections tried for one release before its engines count as away
ALIVE_S = 1.0  # within which a live engine gives one token again
BROKEN = {
    "error": {
        "message": "The engine stopped in the middle of this answer. Ask again.",
        "type": "server_error",
        "param": None,
        "code": "engine_failed",
    }
}


class Chat:
    """The ASGI application behind both routes."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        given = header(scope, b"x-request-id")
        reply = Reply(send, given if given is not None and REQUEST_ID.fullmatch(given) else None)
        try:
            await self._serve(scope, receive, reply)
        except ClientLeft:
            return
        except ThumbwheelError as error:
            told = as_request_error(error)
            await reply.fail(told.status, told.body(), [*error_headers(told), *self._named(reply)])
        except Exception:
            # The outermost edge of a request, and so a place for a broad except: what gets here is a fault of ours
            # that nobody foresaw. Without it the client would see its connection break, or a stream that just
            # stops as if it had been finished; it is told that we failed, the log gets the traceback, once.
            named = self._named(reply)
            log.exception("request %s failed", reply.request_id)
            await reply.fail(500, internal_error(), named)

    def _named(self, reply: Reply) -> list[tuple[bytes, bytes]]:
        """The header by which a request can be reported, an answer's inference id where there is one."""
        reply.request_id = reply.request_id or new_id("req", self._parts.clock())
        return [(b"x-request-id", reply.request_id.encode())]

    async def _serve(self, scope: Scope, receive: Receive, reply: Reply) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowed(scope["method"], ("POST",))
        parts = self._parts
        key = await authenticate(parts, header(scope, b"authorization"), "app")
        with parts.in_flight.entered(key.id):
            raw = await read_json(scope, receive, parts.settings.max_body_bytes)
            chat = scope["path"].endswith("/chat/completions")
            conversation = header(scope, CONVERSATION_HEADER.encode())
            asking = understand(raw, chat, key, conversation, header(scope, PIN_HEADER.encode()))
            exchange = self._begin(asking, key, reply)
            await self._while_there(exchange, receive)

    def _begin(self, asking: Asking, key: Key, reply: Reply) -> Exchange:
        parts, now = self._parts, self._parts.watch.now
        channel = now.channels.get(asking.channel)
        if channel is None:
            raise NotFound(
                f"There is no channel {asking.channel[:64]!r}. `GET /v1/models` lists the channels.",
                param="model",
                code="model_not_found",
            )
        stopped = now.is_stopped(channel.name)
        variant = Variant(channel.stable, "stable") if stopped else assign(channel, asking.unit)
        at_ms = parts.clock()
        logged = channel.policies.log != "off"
        id_ = mint_inference_id(asking.kind, channel.name, key.tenant, at_ms, parts.secret, logged=logged)
        reply.request_id = reply.request_id or id_
        began = time.monotonic()  # its body is here: what the client took to send it is not the engine's doing
        return Exchange(asking, key, channel, variant, reply, id_, at_ms, began, variant.release)

    async def _while_there(self, exchange: Exchange, receive: Receive) -> None:
        """Answer for as long as the client listens; when it leaves, so does the work in the engine."""
        work = asyncio.create_task(self._answer(exchange))
        watch = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
            if work.cancelled():
                raise ClientLeft
            work.result()
        except asyncio.CancelledError:  # the process is told to end and will not wait any longer
            work.cancel()
            await asyncio.wait({work})
            raise
        finally:
            watch.cancel()

    async def _answer(self, exchange: Exchange) -> None:
        """Answer, and log how it went."""
        if exchange.channel.policies.log != "off":
            self._parts.inference_log.expect(exchange.id)
        status = None
        try:
            status = await self._answer_by_release(exchange)
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        except ClientRejected as error:
            status = "client_error"
            exchange.note(error)
            await exchange.reply.fail(error.status, {"error": error.payload}, self._named(exchange.reply))
        except ReleaseFailed as error:
            status = "release_error"
            exchange.note(error)
            await self._fail(exchange, "The model failed to answer this request. Try again.", "engine_failed")
        except EngineUnreachable as error:
            # After the first byte nothing can be retried, nor the engine's fault told from the release's: it counts
            # against the release.
            status = "release_error" if exchange.sent else "unavailable"
            exchange.note(error)
            await self._fail(exchange, "No engine can answer just now. Try again.", "engine_unavailable")
        finally:
            if status is None:  # a fault of our own, on its way to `__call__`
                status, exchange.error = "unavailable", "internal error"
            self._record(exchange, status)

    async def _answer_by_release(self, exchange: Exchange) -> str:
        """Ask the assigned release, and of a candidate that fails before the first byte, the stable one. The status."""
        releases = self._parts.watch.now.releases
        assigned, stable = releases[exchange.variant.release], releases[exchange.channel.stable]
        try:
            await self._ask(exchange, assigned)
            return "ok"
        except (ReleaseFailed, EngineUnreachable) as error:
            too_late = isinstance(error.__cause__, EngineTooSlow)
            if exchange.sent or assigned.id == stable.id or too_late:
                raise
            first: EngineError = error
        # With the engine away the stable release would have waited in vain too: that is no failure of the candidate.
        at_fault = isinstance(first, ReleaseFailed) or self._parts.proofs.find(stable) is not None
        log.warning("release %s failed a request, which %s gets now: %s", assigned.id, stable.id, first)
        exchange.note(first)
        exchange.served_by = stable.id
        try:
            await self._ask(exchange, stable)
        except ReleaseFailed as error:
            if exchange.sent:
                raise
            # What breaks both is the request's or the engine's doing, and no reason to roll a candidate back.
            raise EngineUnreachable(f"both releases failed: {first}; {error}", said=first.said) from error
        return "release_error" if at_fault else "unavailable"

    async def _ask(self, exchange: Exchange, release: Release) -> None:
        """Get the answer from an engine where `release` has answered before, and pass it on. Raises EngineError."""
        proofs, wait_s = self._parts.proofs, self._parts.settings.engine_wait_s
        deadline = time.monotonic() + wait_s
        for attempt in range(1, ATTEMPTS + 1):
            target = await proofs.wait(release, max(0.0, deadline - time.monotonic()))
            if target is None:
                reason = proofs.failure(release)
                if reason is not None:
                    raise ReleaseFailed("no engine can serve the release", status=503, said=reason)
                raise EngineUnreachable(f"no engine that answers for {release.id} came within {wait_s:g} s")
            try:
                await self._pass_on(exchange, target)
                return
            except EngineTooSlow as error:
                if exchange.sent:
                    raise
                raise ReleaseFailed(str(error), status=504) from error
            except EngineUnreachable:
                if exchange.sent:
                    raise
                proofs.doubt(target.engine)
                if attempt == ATTEMPTS or time.monotonic() > deadline or await self._is_alive(exchange, release):
                    raise

    async def _is_alive(self, exchange: Exchange, broke: Release) -> bool:
        """Whether an engine answers for the stable release after it broke a candidate's connection: it is not away."""
        stable = self._parts.watch.now.releases[exchange.channel.stable]
        return broke.id != stable.id and await self._parts.proofs.wait(stable, ALIVE_S) is not None

    async def _pass_on(self, exchange: Exchange, target: Target) -> None:
        asking = exchange.asking
        exchange.restart()
        # Retries get another id: the engine may still hold the first.
        suffix = "" if exchange.attempt == 1 else f"-{exchange.attempt}"
        engine_id = exchange.id.partition("-")[2] + suffix
        deadline = asyncio.get_running_loop().time() + self._parts.settings.engine_timeout_s
        with translated():
            async with (
                asyncio.timeout_at(deadline) as limit,
                self._parts.upstream.post(target, asking.path, asking.body, engine_id) as response,
            ):
                if asking.stream:
                    async for block in self._stream(exchange, events(response)):
                        limit.reschedule(None)  # the engine's time stands still while the client reads
                        deadline += await self._send_block(exchange, block)
                        limit.reschedule(deadline)
                else:
                    whole = await response.read()
        if asking.stream:
            await exchange.reply.send({"type": "http.response.body", "body": b""})
        else:
            await self._send_whole(exchange, whole)

    async def _send_block(self, exchange: Exchange, block: bytes) -> float:
        """Send a part of a stream; returns how many seconds the client took."""
        send, began = exchange.reply.send, time.monotonic()
        if not exchange.sent:
            kind = [(b"content-type", EVENT_STREAM), (b"cache-control", b"no-cache")]
            await send({"type": "http.response.start", "status": 200, "headers": [*kind, *self._headers(exchange)]})
        await send({"type": "http.response.body", "body": block, "more_body": True})
        kept_s = time.monotonic() - began
        if exchange.answered is None:
            exchange.kept_s += kept_s
        return kept_s

    async def _send_whole(self, exchange: Exchange, raw: bytes) -> None:
        answer = _decoded(raw)
        choices = _choices(answer)
        if not choices:
            raise ReleaseFailed("the engine's answer has no choices", status=200)
        for choice in choices:
            exchange.read(choice)
        exchange.count(answer.get("usage"))
        exchange.answered = time.monotonic()
        answer["id"], answer["model"] = exchange.id, exchange.channel.name
        await send_json(exchange.reply.send, 200, answer, self._headers(exchange))

    async def _stream(self, exchange: Exchange, data: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The client's events. Nothing comes out before the first token, so that until then another may be asked."""
        held = b""
        done = False
        async for raw in data:
            if done:
                continue  # to the end, so that the connection can be used again
            if raw == b"[DONE]":
                done, exchange.answered = True, time.monotonic()
                yield held + b"data: [DONE]\n\n"
                continue
            chunk = _decoded(raw)
            if chunk.get("error"):
                raise ReleaseFailed("the engine broke its answer off", status=200, said=str(chunk["error"])[:500])
            exchange.count(chunk.get("usage"))
            if not exchange.asking.wants_usage:
                chunk.pop("usage", None)
                if not chunk.get("choices"):
                    continue
            said = [exchange.read(choice) for choice in _choices(chunk)]  # each is noted
            if any(said) and exchange.first_token is None:
                exchange.first_token = time.monotonic()
            chunk["id"], chunk["model"] = exchange.id, exchange.channel.name
            held += b"data: " + msgspec.json.encode(chunk) + b"\n\n"
            if exchange.first_token is not None:
                yield held
                held = b""
        if not done:
            raise EngineUnreachable("the engine's stream ended early")

    async def _fail(self, exchange: Exchange, message: str, code: str) -> None:
        told = Unavailable(message, code=code, retry_after=RETRY_AFTER_S)
        body = BROKEN if exchange.sent else told.body()
        await exchange.reply.fail(told.status, body, [*error_headers(told), *self._named(exchange.reply)])

    def _headers(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        parts = self._parts
        role = exchange.variant.role if exchange.served_by == exchange.variant.release else "stable"
        expires_ms = exchange.at_ms + parts.settings.feedback_window_s * 1000
        return [
            *self._named(exchange.reply),
            (b"x-thumbwheel-release", exchange.served_by.encode()),
            (b"x-thumbwheel-variant", role.encode()),
            (b"x-thumbwheel-feedback-token", feedback_token(exchange.id, expires_ms, parts.secret).encode()),
        ]

    def _record(self, exchange: Exchange, status: str) -> None:
        event = as_event(exchange, status, time.monotonic())
        self._parts.metrics.count(event)
        if exchange.channel.policies.log != "off":
            self._parts.inference_log.put(event, keep_text=exchange.keeps_text, excused=exchange.asking.excused)


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseFailed("the engine's answer is no JSON", status=200) from error
    if not isinstance(value, dict):
        raise ReleaseFailed("the engine's answer is no JSON object", status=200)
    return value


def _choices(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """An answer's choices, or a chunk's, which may have none. Raises ReleaseFailed where they are not as OpenAI's."""
    choices = answer.get("choices") or []
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        parts = [choice.get(name) for choice in choices for name in ("delta", "message")]
        if all(isinstance(part, dict | None) for part in parts):
            return choices
    raise ReleaseFailed("the engine's answer has choices of an unknown form", status=200)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
