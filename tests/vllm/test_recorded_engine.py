"""The recorded engine answers like the real one: the same requests to both, compared in all but the texts.

What is compared is what a client can rely on: the status, the content type, every key and the type of its value, the
values that are words of the protocol (`FIXED`), the order of a stream's events, and who is to blame by an error. Both
serve the same base, and under the same name the same adapter, which says one word for ever; so both end for the same
reason. Where this fails the recorded engine lies, and the suites that run on it prove too little: mend it there.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import recorded_engine
from tests.real_engine import RealEngine
from tests.recorded_model import BEHAVIOUR
from thumbwheel.ids import engine_name

pytestmark = pytest.mark.vllm

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
WORD = "ox"
FIXED = ("object", "role", "finish_reason", "stop_reason", "type", "param", "code", "index", "owned_by")
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Name three colours."}], "max_tokens": 5}
SAY: dict[str, Any] = {"prompt": "The capital of France is", "max_tokens": 5}
SCORE: dict[str, Any] = {
    "messages": [*ASK["messages"], {"role": "assistant", "content": "Red, blue and"}],
    "add_generation_prompt": False,
    "continue_final_message": True,
    "max_tokens": 1,
}
USAGE = {"include_usage": True}
LONG = "word " * 3_000  # over 2,048 tokens
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

ANSWERED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, ASK),
    "chat of the adapter": (CHAT, ASK | {"model": "ADAPTER"}),
    "chat, two choices": (CHAT, ASK | {"n": 2, "temperature": 0.7}),
    "chat, stopped": (CHAT, ASK | {"model": "ADAPTER", "stop": [WORD]}),
    "chat, max_completion_tokens": (CHAT, {"messages": ASK["messages"], "max_completion_tokens": 3}),
    "chat, longer than there is room": (CHAT, ASK | {"max_tokens": 2_048, "stop": ["e"]}),
    "completion, longer than there is room": (COMPLETIONS, SAY | {"max_tokens": 2_048, "stop": ["e"]}),
    "chat, content in parts": (
        CHAT,
        ASK | {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    ),
    "chat, a system prompt": (CHAT, ASK | {"messages": [{"role": "system", "content": "Be brief."}, *ASK["messages"]]}),
    "chat, tools that are not to be used": (CHAT, ASK | {"tools": [TOOL], "tool_choice": "none"}),
    "chat, log-probabilities": (CHAT, ASK | {"logprobs": True}),
    "chat, top log-probabilities": (CHAT, ASK | {"logprobs": True, "top_logprobs": 2}),
    "chat, the prompt's log-probabilities": (CHAT, SCORE | {"prompt_logprobs": 0}),
    "chat, the prompt's top log-probabilities": (CHAT, SCORE | {"prompt_logprobs": 3}),
    "chat, unknown field": (CHAT, ASK | {"no_such_field": 1}),
    "completion": (COMPLETIONS, SAY),
    "completion of the adapter": (COMPLETIONS, SAY | {"model": "ADAPTER"}),
    "completion of token ids": (COMPLETIONS, SAY | {"prompt": [504, 1141, 282]}),
    "completion of two prompts": (COMPLETIONS, SAY | {"prompt": ["One, two,", "Red, blue,"]}),
    "completion, two choices": (COMPLETIONS, SAY | {"n": 2, "temperature": 0.7}),
    "completion, log-probabilities": (COMPLETIONS, SAY | {"logprobs": 0}),
    "completion, top log-probabilities": (COMPLETIONS, SAY | {"logprobs": 2}),
    "completion, echoed and scored": (COMPLETIONS, SAY | {"echo": True, "logprobs": 0, "max_tokens": 1}),
    "completion, scored only": (COMPLETIONS, SAY | {"echo": True, "logprobs": 0, "max_tokens": 0}),
    "completion, the prompt's log-probabilities": (COMPLETIONS, SAY | {"prompt_logprobs": 1}),
}
STREAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": (CHAT, ASK),
    "chat of the adapter": (CHAT, ASK | {"model": "ADAPTER"}),
    "chat with usage": (CHAT, ASK | {"stream_options": USAGE}),
    "chat, log-probabilities": (CHAT, ASK | {"logprobs": True, "top_logprobs": 2}),
    "chat, one token": (CHAT, ASK | {"max_tokens": 1}),
    "completion": (COMPLETIONS, SAY),
    "completion with usage": (COMPLETIONS, SAY | {"stream_options": USAGE}),
    "completion, log-probabilities": (COMPLETIONS, SAY | {"logprobs": 1}),
}
REFUSED: dict[str, tuple[str, Any]] = {
    "chat, unknown model": (CHAT, ASK | {"model": "gpt"}),
    "chat, unknown model, streamed": (CHAT, ASK | {"model": "gpt", "stream": True}),
    "chat, adapter that is not there": (CHAT, ASK | {"model": engine_name("0" * 64)}),
    "completion, unknown model": (COMPLETIONS, SAY | {"model": "gpt"}),
    "chat, prompt too long": (CHAT, ASK | {"messages": [{"role": "user", "content": LONG}]}),
    "chat, prompt too long, streamed": (CHAT, ASK | {"messages": [{"role": "user", "content": LONG}], "stream": True}),
    "chat, prompt too long, no limit": (CHAT, {"messages": [{"role": "user", "content": LONG}]}),
    "chat, answer too long for any prompt": (CHAT, ASK | {"max_tokens": 2_049}),
    "completion, answer too long for any prompt": (COMPLETIONS, SAY | {"max_tokens": 2_049}),
    "completion, prompt too long": (COMPLETIONS, SAY | {"prompt": LONG}),
    "chat, no JSON": (CHAT, b"{no"),
    "chat, a list": (CHAT, []),
    "completion, no JSON": (COMPLETIONS, b""),
    "chat, no messages": (CHAT, {"max_tokens": 1}),
    "chat, empty messages": (CHAT, ASK | {"messages": []}),
    "chat, messages of another type": (CHAT, ASK | {"messages": "hello"}),
    "chat, a message without a role": (CHAT, ASK | {"messages": [{"content": "hello"}]}),
    "completion, no prompt": (COMPLETIONS, {"max_tokens": 1}),
    "chat, temperature too high": (CHAT, ASK | {"temperature": 3.0}),
    "chat, temperature below zero": (CHAT, ASK | {"temperature": -1}),
    "chat, temperature of another type": (CHAT, ASK | {"temperature": "hot"}),
    "chat, top_p too high": (CHAT, ASK | {"top_p": 2}),
    "chat, two choices of one": (CHAT, ASK | {"n": 2}),
    "chat, no choice": (CHAT, ASK | {"n": 0}),
    "chat, fewer tokens than none": (CHAT, ASK | {"max_tokens": -1}),
    "chat, max_tokens of another type": (CHAT, ASK | {"max_tokens": "many"}),
    "chat, top_logprobs without logprobs": (CHAT, ASK | {"top_logprobs": 2}),
    "chat, too many top_logprobs": (CHAT, ASK | {"logprobs": True, "top_logprobs": 50}),
    "chat, too many prompt_logprobs": (CHAT, SCORE | {"prompt_logprobs": 50}),
    "chat, prompt_logprobs in a stream": (CHAT, SCORE | {"prompt_logprobs": 1, "stream": True}),
    "chat, stream_options without a stream": (CHAT, ASK | {"stream_options": USAGE}),
    "chat, tools": (CHAT, ASK | {"tools": [TOOL]}),
    "chat, tools to be used": (CHAT, ASK | {"tools": [TOOL], "tool_choice": "auto"}),
}


class Both:
    """The two engines: a client of each, the adapter's name in both, and the recorded one's folder."""

    def __init__(self, real: Path, recorded: Path, adapter: str, folder: Path) -> None:
        self.sockets = {"real": real, "recorded": recorded}
        self.real, self.recorded = (
            httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://engine", timeout=120)
            for socket in (real, recorded)
        )
        self.adapter, self.folder = adapter, folder

    def asynchronous(self, which: str) -> httpx.AsyncClient:
        """A client of one of them for asynchronous tests; use it as a context."""
        transport = httpx.AsyncHTTPTransport(uds=str(self.sockets[which]))
        return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=120)

    def ask(self, path: str, body: Any) -> tuple[httpx.Response, httpx.Response]:
        """The answers of the real one and of the recorded one."""
        if isinstance(body, dict):
            body = {"model": "base", "temperature": 0, **body}
            body["model"] = self.adapter if body["model"] == "ADAPTER" else body["model"]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        one, other = (client.post(path, content=content, headers=headers) for client in (self.real, self.recorded))
        return one, other


@pytest.fixture(scope="module")
def both(engine: RealEngine, base_dir: Path, speakers: dict[str, Path], tmp_path_factory: Any) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("both")
    word, speaker = next(iter(speakers.items()))
    assert word == WORD
    adapter = shutil.copytree(speaker, folder / "adapter")
    (adapter / BEHAVIOUR).write_text(json.dumps({"default": f" {WORD}" * 2_000}))
    name = engine.publish(adapter)
    with tempfile.TemporaryDirectory(prefix="recorded-") as short:  # a socket's path is at most 107 bytes
        socket = Path(short) / "engine.sock"
        with recorded_engine.running(base_dir, socket, folder / "engine", engine.store.root):
            found = Both(engine.socket, socket, name, folder / "engine")
            yield found
            found.real.close()
            found.recorded.close()


def shape(value: Any, key: str = "") -> Any:
    """What a client relies on of a JSON value; see the module."""
    if key in FIXED:
        return value
    if isinstance(value, dict):
        if key == "by token":
            return {"*": unique([shape(each) for each in value.values()])}
        return {name: shape(each, name) for name, each in sorted(value.items())}
    if isinstance(value, list):
        if key == "choices":
            return [shape(each) for each in value]
        mapped = key == "prompt_logprobs" or (
            key == "top_logprobs" and not any("token" in (each or ()) for each in value)
        )
        return [unique([shape(each, "by token" if mapped else "") for each in value])]
    return type(value).__name__


def unique(shapes: list[Any]) -> list[Any]:
    """Each shape once, in an order that is not the values'."""
    return [json.loads(text) for text in sorted({json.dumps(each, sort_keys=True) for each in shapes})]


def same_kind(one: httpx.Response, other: httpx.Response) -> None:
    assert other.status_code == one.status_code, (one.text, other.text)
    assert other.headers["content-type"] == one.headers["content-type"]


@pytest.mark.parametrize("name", ANSWERED)
def test_whole_answers(both: Both, name: str) -> None:
    one, other = both.ask(*ANSWERED[name])
    same_kind(one, other)
    assert one.status_code == 200, one.text
    assert shape(other.json()) == shape(one.json())
    assert [len(choice.get("prompt_logprobs") or ()) for choice in other.json()["choices"]] == [
        len(choice.get("prompt_logprobs") or ()) for choice in one.json()["choices"]
    ]
    assert other.json()["usage"]["prompt_tokens"] == one.json()["usage"]["prompt_tokens"]  # the same template, too


@pytest.mark.parametrize("name", STREAMED)
def test_streams(both: Both, name: str) -> None:
    path, body = STREAMED[name]
    one, other = both.ask(path, body | {"stream": True})
    same_kind(one, other)
    assert one.status_code == 200, one.text
    assert kinds(other.text) == kinds(one.text)


def test_a_stream_that_is_stopped_ends_by_saying_so(both: Both) -> None:
    """Only its end: how much text the engine holds back on the way, for fear of the stop, is its own affair."""
    body = ASK | {"model": "ADAPTER", "stop": [f"{WORD} {WORD}"], "stream": True}
    one, other = both.ask(CHAT, body)
    same_kind(one, other)
    assert kinds(other.text)[-2:] == kinds(one.text)[-2:]


def kinds(stream: str) -> list[Any]:
    """The events' shapes in order, equal ones in a row once; each event is one `data:` line and an empty one."""
    assert stream.endswith("\n\n")
    found = []
    for event in stream.removesuffix("\n\n").split("\n\n"):
        assert event.startswith("data: ") and "\n" not in event
        data = event.removeprefix("data: ")
        found.append(data if data == "[DONE]" else shape(json.loads(data)))
    return [each for each, _ in groupby(found)]


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(both: Both, name: str) -> None:
    one, other = both.ask(*REFUSED[name])
    same_kind(one, other)
    assert 400 <= one.status_code < 500, one.text
    assert shape(other.json()) == shape(one.json()), (one.text, other.text)
    # The words by which the gateway tells a prompt that is too long.
    marks = "maximum context length"
    assert (marks in other.text) == (marks in one.text), (one.text, other.text)


def test_the_other_routes(both: Both) -> None:
    for method, path, body in (
        ("GET", "/v1/models", None),
        ("GET", "/health", None),
        ("POST", "/tokenize", {"model": "base", "prompt": "hello there"}),
        ("GET", "/v1/chat/completions", None),
        ("POST", "/v1/embeddings", {}),
    ):
        one, other = (client.request(method, path, json=body) for client in (both.real, both.recorded))
        assert other.status_code == one.status_code, path
        if path == "/v1/models":
            bases = [next(m for m in answer.json()["data"] if m["id"] == "base") for answer in (one, other)]
            assert {"id", "object", "max_model_len"} <= bases[1].keys() <= bases[0].keys()
        elif one.content:
            assert shape(other.json()) == shape(one.json()), path


def test_the_request_id_is_the_answers(both: Both) -> None:
    for path, body in ((CHAT, ASK), (COMPLETIONS, SAY)):
        answers = [
            client.post(path, json={"model": "base", **body}, headers={"x-request-id": "abc-1"}).json()["id"]
            for client in (both.real, both.recorded)
        ]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_work(both: Both, slow: None, stream: bool) -> None:
    body = {"model": both.adapter, **ASK, "max_tokens": 1_500, "stream": stream}
    for which, engine in (("real", both.real), ("recorded", both.recorded)):
        async with both.asynchronous(which) as client:
            asked = asyncio.create_task(client.post(CHAT, json=body))
            await until(engine, 1)
            asked.cancel()
            await until(engine, 0)
        with pytest.raises(asyncio.CancelledError):
            await asked


@pytest.fixture
def slow(both: Both) -> Iterator[None]:
    """The recorded engine takes its time, as the other does by itself."""
    faults = both.folder / "faults.json"
    faults.write_text(json.dumps({"token_ms": 50}))
    yield
    faults.unlink()


def running(client: httpx.Client) -> int:
    line = next(
        line for line in client.get("/metrics").text.splitlines() if line.startswith("vllm:num_requests_running{")
    )
    return int(float(line.rpartition(" ")[2]))


async def until(engine: httpx.Client, count: int) -> None:
    """Wait for so many requests to be at work in the engine."""
    deadline = time.monotonic() + 10
    while running(engine) != count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
