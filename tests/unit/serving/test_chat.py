"""The edge of a request: what the client, the log and the inference log are told when it fails."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.app import application_api
from serving.replies import Message, Send
from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel import events
from thumbwheel.errors import ClientRejected, ReleaseFailed

FAULT = ZeroDivisionError("in /secret/place.py")


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path) as made:
        yield made


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def said(text: str) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}}])


def tracebacks(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.exc_info]


async def test_a_fault_of_ours_after_the_first_byte_is_one_error_event(
    gateway: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.engine.parts = [said("Hel"), said("lo"), FAULT]
    answer = await gateway.chat(stream=True)
    assert answer.status_code == 200
    *chunks, last = [json.loads(block.removeprefix("data: ")) for block in answer.text.strip().split("\n\n")]
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == ["Hel", "lo"]
    assert set(last) == {"error"} and set(last["error"]) == {"message", "type", "param", "code"}
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", "internal_error")
    assert "[DONE]" not in answer.text and "secret" not in answer.text and "Traceback" not in answer.text
    (record,) = tracebacks(caplog)
    assert answer.headers["x-request-id"] in record.getMessage()
    (noted,) = gateway.noted.events
    assert (noted.status, noted.error, noted.answer) == ("unavailable", "internal error", "Hello")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_ours_before_the_first_byte_is_a_500(
    gateway: Worker, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    gateway.engine.parts = [FAULT]
    answer = await gateway.chat(stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text and len(tracebacks(caplog)) == 1
    (noted,) = gateway.noted.events
    assert (noted.status, noted.id) == ("unavailable", answer.headers["x-request-id"])


class BrokenLimits:
    def entered(self, _key: object) -> None:
        raise FAULT


async def test_a_fault_of_ours_before_anything_was_asked_has_openais_shape_too(
    gateway: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway.replaced(in_flight=BrokenLimits()) as client:
        answer = await client.post("/v1/chat/completions", json={"model": CHANNEL})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert answer.headers["x-request-id"].startswith("req-") and len(tracebacks(caplog)) == 1


async def test_a_stream_that_fails_after_its_end_says_no_more(gateway: Worker) -> None:
    gateway.engine.parts = [said("x"), b"data: [DONE]\n\n"]

    class BrokenMetrics:
        def count(self, _event: object) -> None:
            raise FAULT

    parts = {"metrics": BrokenMetrics(), "upstream": gateway.engine, "proofs": gateway.engine}
    async with gateway.replaced(**parts) as client:
        body = {"model": CHANNEL, "messages": [{"role": "user", "content": "x"}], "stream": True}
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n") and "error" not in answer.text


@pytest.mark.parametrize("choices", [7, "text", ["text"], [{"delta": "text"}], [{"message": [1]}], {"index": 0}])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_answers_in_no_known_form_is_not_our_fault(
    gateway: Worker, choices: object, stream: bool
) -> None:
    chunk = {"choices": choices}
    gateway.engine.parts = [event(**chunk)] if stream else [json.dumps(chunk).encode()]
    answer = await gateway.chat(stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_failed")
    assert [noted.status for noted in gateway.noted.events] == ["release_error"]


@pytest.mark.parametrize("odd", ["many", -1, True, 2.5, 10**30])
async def test_odd_values_of_an_engine_are_passed_on_and_not_logged(gateway: Worker, odd: object) -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    choice = {"index": 0, "message": message, "finish_reason": 3}
    usage = {"prompt_tokens": odd, "completion_tokens": odd}
    gateway.engine.parts = [json.dumps({"choices": [choice], "usage": usage}).encode()]
    answer = await gateway.chat()
    assert answer.status_code == 200 and answer.json()["choices"] == [choice]
    (noted,) = gateway.noted.events
    assert (noted.status, noted.finish_reason, noted.prompt_tokens, noted.completion_tokens) == ("ok", None, None, None)


async def test_an_answer_that_is_not_logged_says_so_in_its_id(gateway: Worker) -> None:
    gateway.channel(log="off")
    await gateway.gateway.parts.watch.refresh()
    gateway.engine.parts = [json.dumps({"choices": [{"message": {"content": "Hi"}}]}).encode()]
    answer = await gateway.chat()
    token = answer.headers["x-thumbwheel-feedback-token"]
    said_of_it = {"inference_id": answer.json()["id"], "thumb": "up"}
    by_key = await gateway.api.post("/v1/feedback", json=said_of_it)
    del gateway.api.headers["authorization"]
    by_token = await gateway.api.post("/v1/feedback", json=said_of_it, headers={"x-thumbwheel-feedback-token": token})
    for refused in (by_key, by_token):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "inference_not_logged")
    assert "metadata" in by_key.json()["error"]["message"] and not gateway.noted.events


async def test_feedback_is_taken_once_its_inference_has_left_the_workers_memory(gateway: Worker) -> None:
    gateway.engine.parts = [json.dumps({"choices": [{"message": {"content": "Hi"}}]}).encode()]
    inference = (await gateway.chat()).json()["id"]
    assert gateway.noted.expected == [inference]
    gateway.noted.slow.add(inference)
    said = asyncio.create_task(gateway.api.post("/v1/feedback", json={"inference_id": inference, "thumb": "up"}))
    await asyncio.sleep(0.3)
    assert not said.done() and gateway.gateway.parts.read_log().ends()[events.FEEDBACK] == {0: 0}
    gateway.noted.slow.clear()
    assert (await said).status_code == 202
    assert gateway.gateway.parts.read_log().ends()[events.FEEDBACK] == {0: 1}


@pytest.mark.parametrize(
    ("written", "role"),
    [(f'{{"{CHANNEL}": {{}}}}', "stable"), ("{", "stable"), ('{"another": {}}', "candidate")],
)
async def test_an_emergency_stop_keeps_the_candidate_from_answering(gateway: Worker, written: str, role: str) -> None:
    await gateway.candidate()
    gateway.gateway.parts.home.emergency.write_text(written)
    await gateway.gateway.parts.watch.refresh()
    gateway.engine.parts = [json.dumps({"choices": [{"message": {"content": "hello"}}]}).encode()]
    assert (await gateway.chat()).headers["x-thumbwheel-variant"] == role


@pytest.mark.parametrize(("away", "status"), [(False, "release_error"), (True, "unavailable")])
async def test_an_outage_of_the_engine_is_not_held_against_the_candidate(
    gateway: Worker, away: bool, status: str
) -> None:
    candidate = await gateway.candidate()
    gateway.engine.silent, gateway.engine.away = candidate.id, away  # away: back while the stable release is waited for
    gateway.engine.parts = [json.dumps({"choices": [{"message": {"content": "hello"}}]}).encode()]
    answer = await gateway.chat()
    assert answer.status_code == 200 and answer.headers["x-thumbwheel-variant"] == "stable"
    (noted,) = gateway.noted.events
    assert (noted.assigned, noted.status) == (candidate.id, status)
    assert noted.served_by != candidate.id


async def asked_by_hand(gateway: Worker, send: Send, **body: Any) -> None:
    """A chat request over bare ASGI, so that the test is the client's side of each message."""
    fields = {"model": CHANNEL, "messages": [{"role": "user", "content": "x"}], **body}
    inbox = [{"type": "http.request", "body": json.dumps(fields).encode(), "more_body": False}]

    async def receive() -> Message:
        if not inbox:
            await asyncio.sleep(60)
        return inbox.pop()

    headers = [(b"authorization", gateway.api.headers["authorization"].encode())]
    headers.append((b"content-type", b"application/json"))
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    parts = {"upstream": gateway.engine, "proofs": gateway.engine, "inference_log": gateway.noted}
    await application_api(replace(gateway.gateway.parts, **parts))(scope, receive, send)


async def test_a_client_that_reads_slowly_is_not_the_engines_slowness(tmp_path: Path) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) == 3:
            await asyncio.sleep(0.6)

    async with worker(tmp_path, engine_timeout_s=0.3) as gateway:
        await gateway.candidate()
        gateway.engine.parts = [said("Hel"), said("lo"), 0.1, said("!"), b"data: [DONE]\n\n"]
        await asked_by_hand(gateway, send, stream=True)
        (noted,) = gateway.noted.events
    assert (noted.role, noted.status, noted.error, noted.answer) == ("candidate", "ok", None, "Hello!")
    assert b"[DONE]" in sent[-2]["body"] and noted.e2e_ms is not None and 100 <= noted.e2e_ms < 400


async def test_an_engine_that_answers_slowly_is_at_fault_however_fast_its_client(tmp_path: Path) -> None:
    async with worker(tmp_path, engine_timeout_s=0.3) as gateway:
        gateway.engine.parts = [0.2, said("Hel"), 0.2, said("lo"), b"data: [DONE]\n\n"]
        answer = await gateway.chat(stream=True)
        gateway.engine.parts = [0.4, b'{"choices": [{"message": {"content": "Hi"}}]}']
        whole = await gateway.chat()
    assert answer.text.count("data: ") == 2 and "engine_failed" in answer.text
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "engine_failed")
    assert [noted.status for noted in gateway.noted.events] == ["release_error", "release_error"]


async def test_what_a_client_takes_to_send_is_not_in_its_answers_time(gateway: Worker) -> None:
    gateway.engine.parts = [b'{"choices": [{"message": {"content": "Hi"}}]}']

    async def slow_body() -> AsyncIterator[bytes]:
        yield b'{"model": "support", "messages": '
        await asyncio.sleep(0.5)
        yield b'[{"role": "user", "content": "x"}]}'

    kind = {"content-type": "application/json"}
    answer = await gateway.api.post("/v1/chat/completions", content=slow_body(), headers=kind)
    (noted,) = gateway.noted.events
    assert answer.status_code == 200 and noted.e2e_ms is not None and noted.e2e_ms < 400


async def test_a_request_excuses_the_faults_that_it_brings_about(gateway: Worker) -> None:
    gateway.engine.parts = [b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}']
    assert (await gateway.chat(logit_bias={"2": 100})).status_code == 200
    assert (await gateway.chat()).status_code == 200
    assert gateway.noted.excused == [{"empty", "truncated", "degenerate"}, set()]


@pytest.mark.parametrize(
    "fault",
    [
        ReleaseFailed("the engine answered 500", status=500, said="cannot take 'my secret'"),
        ClientRejected({"message": "cannot take 'my secret'"}, status=400),
        event(error={"message": "cannot take 'my secret'"}),
    ],
)
@pytest.mark.parametrize(
    ("policy", "store", "kept"), [("full", True, True), ("metadata", True, False), ("full", False, False)]
)
async def test_what_an_engine_says_of_a_request_is_written_where_text_may_be(
    gateway: Worker, caplog: pytest.LogCaptureFixture, fault: bytes | Exception, policy: str, store: bool, kept: bool
) -> None:
    gateway.channel(log=policy)
    await gateway.gateway.parts.watch.refresh()
    await gateway.candidate()
    gateway.engine.parts = [fault]
    await gateway.chat(stream=True, store=store)
    (noted,) = gateway.noted.events
    assert noted.error is not None and "the engine" in noted.error and ("secret" in noted.error) == kept
    assert "secret" not in caplog.text
