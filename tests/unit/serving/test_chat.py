"""The edge of a request: what the client, the log and the inference log are told when it fails."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel import events

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


async def test_odd_values_of_an_engine_are_passed_on_and_not_logged(gateway: Worker) -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    choice = {"index": 0, "message": message, "finish_reason": 3}
    usage = {"prompt_tokens": "many", "completion_tokens": -1}
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
