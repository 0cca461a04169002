"""Feedback by token: what strangers may cost, and what they may learn. What a feedback holds, test_saying has."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from feedback import consumer, ingest
from serving.app import application_api
from serving.feedback_api import MAX_BYTES_BY_TOKEN, TOKEN_HEADER
from serving.limits import InFlight
from serving.replies import Message
from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel import events, why
from thumbwheel.clock import system_clock
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.ids import feedback_token, mint_inference_id
from thumbwheel.keys import as_record, mint
from thumbwheel.store import fleet_rows, ingestion

MINUTE_MS = 60_000


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path) as made:
        made.engine.parts = [b'{"choices": [{"message": {"content": "Hi"}}]}']
        yield made


def minted(gateway: Worker, valid_ms: int = MINUTE_MS) -> tuple[str, str]:
    """An inference's id and its token."""
    now_ms, secret = system_clock(), gateway.gateway.parts.secret
    id_ = mint_inference_id("chatcmpl", CHANNEL, "default", now_ms, secret)
    return id_, feedback_token(id_, now_ms + valid_ms, secret)


def with_token(gateway: Worker, token: str, **parts: Any) -> httpx.AsyncClient:
    """A browser: it holds a token and no key."""
    client = gateway.replaced(**parts)
    del client.headers["authorization"]
    client.headers[TOKEN_HEADER] = token
    return client


class Body:
    """A body whose end never comes, sent by hand; knows whether anybody read of it."""

    def __init__(self) -> None:
        self.read = asyncio.Event()

    async def receive(self) -> Message:
        self.read.set()
        await asyncio.sleep(60)
        raise AssertionError("nobody waits for so long")

    async def post(self, gateway: Worker, token: str, **parts: Any) -> tuple[int, dict[str, Any]]:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (TOKEN_HEADER.encode(), token.encode())]
        scope = {"type": "http", "method": "POST", "path": "/v1/feedback", "headers": headers, "query_string": b""}
        await application_api(replace(gateway.gateway.parts, **parts))(scope, self.receive, send)
        return sent[0]["status"], json.loads(sent[1]["body"])


async def test_a_token_that_is_none_is_refused_before_its_body_is_read(gateway: Worker) -> None:
    _, genuine = minted(gateway)
    _, expired = minted(gateway, -1)
    none = "invalid_feedback_token"
    for token, code in (("x", none), (genuine[:-1] + "-", none), ("fbt-" + "0" * 46, none), (expired, "expired")):
        body = Body()
        status, told = await asyncio.wait_for(body.post(gateway, token), 5)
        assert (status, told["error"]["code"]) == (401, code) and not body.read.is_set()


async def test_all_tokens_together_have_so_many_requests_under_way(gateway: Worker) -> None:
    first, second = minted(gateway), minted(gateway)
    body, places = Body(), InFlight(1)
    under_way = asyncio.create_task(body.post(gateway, first[1], in_flight=places))
    await body.read.wait()
    client = with_token(gateway, second[1], in_flight=places)
    said = {"inference_id": second[0], "thumb": "up"}
    for refused in (await client.post("/v1/feedback", json=said), await client.get("/v1/feedback/fb-1")):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert refused.headers["retry-after"]
    by_key = await gateway.replaced(in_flight=places).post("/v1/feedback", json=said)
    assert by_key.status_code == 202, "a key waits for no stranger"
    under_way.cancel()
    await asyncio.wait({under_way})
    assert (await client.post("/v1/feedback", json=said)).status_code == 202


async def test_a_token_may_send_less_than_a_key(gateway: Worker) -> None:
    id_, token = minted(gateway)
    blank = " " * MAX_BYTES_BY_TOKEN
    sent = {"content": json.dumps({"inference_id": id_, "thumb": "up"}) + blank}
    headers = {"content-type": "application/json"}
    refused = await with_token(gateway, token).post("/v1/feedback", **sent, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert (await gateway.api.post("/v1/feedback", **sent, headers=headers)).status_code == 202


async def test_a_token_of_another_answer_is_refused(gateway: Worker) -> None:
    (one, _), (_, token) = minted(gateway), minted(gateway)
    refused = await with_token(gateway, token).post("/v1/feedback", json={"inference_id": one, "thumb": "up"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "feedback_token_mismatch")


class NoLookUp:
    def read(self) -> None:
        raise AssertionError("the store was asked")


async def test_what_a_token_may_learn_of_a_feedback(gateway: Worker) -> None:
    (one, own), (_, other) = minted(gateway), minted(gateway)
    said = await with_token(gateway, own).post("/v1/feedback", json={"inference_id": one, "thumb": "up"})
    parts = gateway.gateway.parts
    log = SqliteEventLog(parts.home.events)
    for at in consumer.take_partitions(parts.store, log):
        ingest.step(parts.store, log, at, 0)
    log.close()
    path = f"/v1/feedback/{said.json()['id']}"
    assert (await with_token(gateway, own).get(path)).json()["inference_id"] == one
    foreign, unknown = [await with_token(gateway, other).get(where) for where in (path, "/v1/feedback/fb-unknown")]
    assert foreign.status_code == unknown.status_code == 404 and foreign.json() == unknown.json()
    forged = await with_token(gateway, "fbt-" + "0" * 46, store=NoLookUp()).get(path)
    assert forged.status_code == 401


async def test_a_feedback_among_the_dead_letters_is_told_as_such(gateway: Worker) -> None:
    (id_, own), (_, other) = minted(gateway), minted(gateway)
    parts = gateway.gateway.parts
    event = {"type": "feedback.v1", "id": "fb-1", "inference": id_, "tenant": "default", "channel": CHANNEL}
    broken = [{**event, "at_ms": True}, {**event, "id": "fb-2", "inference": 7, "at_ms": 1}]
    log = SqliteEventLog(parts.home.events)
    log.append(events.FEEDBACK, [(id_, json.dumps(one).encode()) for one in broken], durable=True)
    for at in consumer.take_partitions(parts.store, log):
        ingest.step(parts.store, log, at, 0)
    log.close()
    told = (await gateway.api.get("/v1/feedback/fb-1")).json()
    assert told == (await with_token(gateway, own).get("/v1/feedback/fb-1")).json()
    assert (told["inference_id"], told["state"], told["reason"], told["runs"]) == (id_, "waiting", "dead_letter", [])
    assert (await with_token(gateway, other).get("/v1/feedback/fb-1")).status_code == 404
    assert (await gateway.api.get("/v1/feedback/fb-2")).status_code == 404, "nobody can say whose it is"
    ledger = (await gateway.admin.get(f"/admin/v1/channels/{CHANNEL}/ledger")).json()
    assert ledger["waiting"] == {"dead_letter": 2} and ledger["acknowledged"] == 2
    with parts.store.read() as tx:
        assert "feedback/0/1" in " ".join(why.explain(tx, "fb-1"))
    with parts.store.write() as tx:
        ingestion.give_up(tx, 0)
    told = (await gateway.api.get("/v1/feedback/fb-1")).json()
    assert (told["state"], told["reason"]) == ("refused", "unhandled")


@pytest.mark.parametrize(
    ("rights", "role"), [((), "user"), (("expert",), "expert"), (("teacher",), "teacher"), (("author",), "user")]
)
async def test_the_role_is_what_the_key_gives(gateway: Worker, rights: tuple[str, ...], role: str) -> None:
    parts, text = gateway.gateway.parts, mint("app")
    with parts.store.write() as tx:
        fleet_rows.insert_key(tx, as_record(text, "app", "default", frozenset(rights), 0), 0)
    id_, token = minted(gateway)
    said = {"inference_id": id_, "correction": "Free return."}
    by_key = gateway.replaced()
    by_key.headers["authorization"] = f"Bearer {text}"
    first = await by_key.post("/v1/feedback", json=said)
    again = await by_key.post("/v1/feedback", json=said)
    users = await with_token(gateway, token).post("/v1/feedback", json=said)
    assert [one.status_code for one in (first, again, users)] == [202, 202, 202]
    assert first.json()["id"] == again.json()["id"]
    assert (first.json()["id"] == users.json()["id"]) == (role == "user"), "another role's word is another feedback"
    log = SqliteEventLog(parts.home.events)
    roles = [msgspec.json.decode(record.value).get("role", "user") for record in log.read(events.FEEDBACK, 0, 0, 10)]
    log.close()
    assert roles == [role, role, "user"]
