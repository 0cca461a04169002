"""The recorded engine: answers over a Unix socket as vLLM 0.32 was seen to answer, without weights and in milliseconds.

    python -m tests.recorded_engine --model DIR --socket PATH --engine-dir DIR --artifacts DIR

It takes the flags of `serving.engine`. What a model says is written in `recorded.json` (see tests/recorded_model.py).
Adapters are found under `--artifacts` by name, verified, and checked against the base where the base has
weights; one that fails is 404, as with the resolver, and with `"refuse": true` in its behaviour file 400, as when vLLM
cannot load it.

Faults are asked for in `<engine-dir>/faults.json`, read at each request; every key is optional:

    {"models": ["adapter-..."],     only these (names as the engine is asked for them); "adapter-*" is every adapter
     "delay_ms": 500,               before the first byte
     "token_ms": 20,                before each token
     "status": 500,                 this error instead of an answer
     "die_mid_stream": true,        the connection breaks after two chunks, or before an unstreamed answer's body
     "exit_mid_stream": true,       the same, and the process ends (never in a thread)
     "text": "!!!!!!",              this instead of the answer
     "nan": true}                   log-probabilities that are NaN, which JSON writes as null

`<engine-dir>/requests.jsonl` says what came in and how it ended: {"id", "model", "path", "body"}, then {"id", "end":
"done" | "cancelled" | "broken"}. It knows nothing of sampling: temperature, seeds and penalties change nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.engine_guard import EngineGuard
from tests.recorded_checks import Refused, check_fields, check_values, out_of_range, read_body
from tests.recorded_model import BEHAVIOUR, Behaviour, RecordedModel, read_behaviour
from thumbwheel.adapter import BaseModules, base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import ArtifactError
from thumbwheel.ids import adapter_sha

BASE_NAME = "base"
FINGERPRINT = "vllm-0.32.0-recorded"
ALWAYS_NULL = ("service_tier", "kv_transfer_params", "ec_transfer_params", "metrics")
CHUNKS_BEFORE_DEATH = 2


class Broken(Exception):
    """A fault that was asked for: the connection ends here."""


@dataclass(frozen=True)
class Fault:
    delay_ms: float = 0.0
    token_ms: float = 0.0
    status: int | None = None
    die_mid_stream: bool = False
    exit_mid_stream: bool = False
    text: str | None = None
    nan: bool = False
    models: tuple[str, ...] | None = None

    def hits(self, model: str) -> bool:
        if self.models is None or model in self.models:
            return True
        return model.startswith("adapter-") and "adapter-*" in self.models


class RecordedEngine:
    """One engine's state: its model, the adapters it has taken, and what it was asked."""

    def __init__(self, model: Path, engine_dir: Path, artifacts: Path, max_lora_rank: int, max_model_len: int) -> None:
        self.model = RecordedModel(model)
        self.engine_dir = engine_dir
        self.store = ArtifactStore(artifacts)
        self.max_lora_rank = max_lora_rank
        self.max_model_len = max_model_len
        self.modules: BaseModules | None = base_modules(model) if any(model.glob("*.safetensors")) else None
        self.adapters: dict[str, Behaviour] = {}
        self.counts = {"requests": 0, "tokens": 0, "adapter_loads": 0}
        self.running = 0
        self._log_lock = threading.Lock()

    def behaviour(self, name: str) -> Behaviour:
        """The behaviour behind a model's name. Raises Refused."""
        if name == BASE_NAME:
            return self.model.base
        if name not in self.adapters:
            self.adapters[name] = self._load(name)
        return self.adapters[name]

    def _load(self, name: str) -> Behaviour:
        missing = Refused(
            404, "NotFoundError", f"The model `{name}` does not exist. Valid aliases: {BASE_NAME}.", "model"
        )
        sha = adapter_sha(name)
        if sha is None:
            raise missing
        try:
            directory = self.store.copy_verified(sha, self.engine_dir / "adapters" / sha)
            if self.modules is not None and (directory / "adapter_config.json").is_file():
                check_adapter(directory, self.modules, self.max_lora_rank)
        except ArtifactError as error:
            raise missing from error
        file = directory / BEHAVIOUR
        if file.is_file() and json.loads(file.read_text()).get("refuse"):
            raise Refused(400, "BadRequestError", f"LoRA adapter '{name}' was found but could not be loaded.")
        self.counts["adapter_loads"] += 1
        return read_behaviour(directory, name)

    def fault(self, model: str) -> Fault:
        """What is to go wrong with a request to `model`."""
        try:
            raw = json.loads((self.engine_dir / "faults.json").read_text())
        except (FileNotFoundError, ValueError):
            return Fault()
        models = raw.pop("models", None)
        fault = Fault(**raw, models=None if models is None else tuple(models))
        return fault if fault.hits(model) else Fault()

    def note(self, entry: dict[str, Any]) -> None:
        """One line of requests.jsonl."""
        with self._log_lock, (self.engine_dir / "requests.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")


@dataclass(frozen=True)
class Job:
    """One request, understood."""

    id: str
    chat: bool
    model: str
    behaviour: Behaviour
    fault: Fault
    prompt: list[int]
    body: dict[str, Any]
    tokens: list[int]
    finish_reason: str
    stop_reason: str | None
    others: tuple[Job, ...] = ()  # of the request's further prompts

    @property
    def usage(self) -> dict[str, Any]:
        """As vLLM counts: one prompt however many choices."""
        jobs = (self, *self.others)
        asked = sum(len(job.prompt) for job in jobs)
        # A completion that is to be scored and not continued takes one token, and does not show it.
        done = sum(len(job.tokens) or job.finish_reason == "length" for job in jobs) * (self.body.get("n") or 1)
        return {"prompt_tokens": asked, "total_tokens": asked + done, "completion_tokens": done}


def understand(engine: RecordedEngine, chat: bool, request_id: str, body: dict[str, Any]) -> Job:
    """Raises Refused as vLLM would."""
    check_fields(chat, body)
    name = str(body.get("model") or BASE_NAME)
    behaviour, fault = engine.behaviour(name), engine.fault(name)
    check_values(chat, body)
    if chat:
        prompts = [engine.model.encode(_rendered(engine, body))]
    else:
        raw = body["prompt"]
        single = isinstance(raw, str) or isinstance(raw[0], int)
        prompts = [engine.model.encode(each) if isinstance(each, str) else each for each in ([raw] if single else raw)]
    jobs = [_job(engine, chat, request_id, name, behaviour, fault, prompt, body) for prompt in prompts]
    return replace(jobs[0], others=tuple(jobs[1:]))


def _job(
    engine: RecordedEngine,
    chat: bool,
    request_id: str,
    name: str,
    behaviour: Behaviour,
    fault: Fault,
    prompt: list[int],
    body: dict[str, Any],
) -> Job:
    if len(prompt) >= engine.max_model_len:
        raise Refused(
            400,
            "BadRequestError",
            f"This model's maximum context length is {engine.max_model_len} tokens. However, your prompt contains at "
            f"least {engine.max_model_len + 1} input tokens, which exceeds this limit even without any output tokens. "
            "Please reduce the length of the input prompt.",
            "input_tokens",
        )
    name_of_limit = "max_completion_tokens" if body.get("max_completion_tokens") else "max_tokens"
    asked = body.get(name_of_limit)
    if asked is not None and asked > engine.max_model_len:
        message = f"{name_of_limit}={asked} cannot be greater than max_model_len={engine.max_model_len}."
        raise out_of_range(f"{message} Please request fewer output tokens.", name_of_limit)
    room = engine.max_model_len - len(prompt)  # an answer that is asked to be longer than that is cut, and not refused
    limit = min(asked or (room if chat else 16), room)
    scoring = not chat and body.get("max_tokens") == 0
    turn = engine.model.last_turn(engine.model.decode(prompt))
    text = fault.text if fault.text is not None else engine.model.answer(behaviour, turn.prompt)
    stop_reason = None
    for stop in [body["stop"]] if isinstance(body.get("stop"), str) else body.get("stop") or []:
        if stop in text:
            text, stop_reason = text.split(stop)[0], stop
    tokens = engine.model.encode(text)
    cut = [] if scoring else tokens[:limit]
    whole = len(cut) == len(tokens) and not scoring
    return Job(
        id=f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
        chat=chat,
        model=name,
        behaviour=behaviour,
        fault=fault,
        prompt=prompt,
        body=body,
        tokens=cut,
        finish_reason="stop" if whole else "length",
        stop_reason=stop_reason if whole else None,
    )


def _rendered(engine: RecordedEngine, body: dict[str, Any]) -> str:
    messages = body.get("messages")
    if not messages:
        raise out_of_range("Cannot apply chat template to an empty conversation. Provide at least one message.", None)
    open_turn = bool(body.get("add_generation_prompt", True)) and not body.get("continue_final_message")
    text = engine.model.render(messages, open_turn=open_turn)
    if body.get("continue_final_message"):
        text = text.rstrip().removesuffix(engine.model.answer_closing)
    return text


def _prompt_logprobs(engine: RecordedEngine, job: Job) -> list[dict[str, Any] | None] | None:
    wanted = job.body.get("prompt_logprobs")
    if wanted is None and job.body.get("echo"):
        wanted = job.body.get("logprobs")
    if wanted is None:
        return None
    values = engine.model.logprobs(job.behaviour, job.prompt)
    found: list[dict[str, Any] | None] = [None]
    for token, value in list(zip(job.prompt, values, strict=True))[1:]:
        entry = {str(token): _entry(engine, job, token, value, 1)}
        rest = math.log(max(1e-9, 1 - math.exp(value)) / (wanted + 1))
        for rank in range(2, wanted + 1):
            other = (token + rank) % engine.model.tokenizer.get_vocab_size()
            entry[str(other)] = _entry(engine, job, other, rest, rank)
        found.append(entry)
    return found


def _entry(engine: RecordedEngine, job: Job, token: int, value: float, rank: int) -> dict[str, Any]:
    return {
        "logprob": None if job.fault.nan else value,
        "rank": rank,
        "decoded_token": engine.model.decode([token]),
    }


def _answer_logprobs(engine: RecordedEngine, job: Job, begin: int, parts: list[str]) -> dict[str, Any] | None:
    """Of as many tokens as `parts`, from the `begin`th of prompt and answer; null where none were asked for."""
    wanted = job.body.get("logprobs")
    if wanted is None or wanted is False:
        return None
    known = engine.model.logprobs(job.behaviour, job.prompt + job.tokens)
    values: list[float | None] = [*known[begin : begin + len(parts)]]
    if job.chat:
        content = []
        for part, value in zip(parts, values, strict=True):
            entry = {"token": part, "logprob": value, "bytes": list(part.encode())}
            content.append({**entry, "top_logprobs": [entry] if job.body.get("top_logprobs") else []})
        return {"content": content}
    if begin == 0:
        values[0] = None  # nothing is before the first token
    top = [None if value is None else {part: value} for part, value in zip(parts, values, strict=True)]
    offsets = list(accumulate((len(part) for part in parts[:-1]), initial=0))
    return {"text_offset": offsets, "token_logprobs": values, "tokens": parts, "top_logprobs": top}


def whole(engine: RecordedEngine, job: Job) -> dict[str, Any]:
    """The unstreamed answer."""
    choices: list[dict[str, Any]] = []
    for each in (job, *job.others):
        for _ in range(job.body.get("n") or 1):
            choices.append({"index": len(choices), **_choice(engine, each)})
    answer: dict[str, Any] = {
        "id": job.id,
        "object": "chat.completion" if job.chat else "text_completion",
        "created": int(time.time()),
        "model": job.model,
        "choices": choices,
        "usage": {**job.usage, "prompt_tokens_details": None, "completion_tokens_details": None},
        "system_fingerprint": FINGERPRINT,
        **dict.fromkeys(ALWAYS_NULL),
    }
    if job.chat:
        answer |= {"prompt_logprobs": _prompt_logprobs(engine, job), "prompt_token_ids": None, "prompt_text": None}
    return answer


def _choice(engine: RecordedEngine, job: Job) -> dict[str, Any]:
    text, parts = engine.model.decode(job.tokens), engine.model.pieces(job.tokens)
    ended = {"finish_reason": job.finish_reason, "stop_reason": job.stop_reason}
    choice: dict[str, Any] = {**ended, "token_ids": None, "routed_experts": None}
    if job.chat:
        silent = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
        choice["message"] = {"role": "assistant", "content": text, **silent}
        choice["logprobs"] = _answer_logprobs(engine, job, len(job.prompt), parts)
        return choice
    echoed = job.prompt if job.body.get("echo") else []
    choice["text"] = engine.model.decode(echoed) + text
    begin = len(job.prompt) - len(echoed)
    choice["logprobs"] = _answer_logprobs(engine, job, begin, engine.model.pieces(echoed) + parts)
    return {**choice, "prompt_logprobs": _prompt_logprobs(engine, job), "prompt_token_ids": None}


async def chunks(engine: RecordedEngine, job: Job) -> AsyncIterator[bytes]:
    """The streamed answer, as server-sent events."""
    head = {
        "id": job.id,
        "object": "chat.completion.chunk" if job.chat else "text_completion",
        "created": int(time.time()),
        "model": job.model,
    }
    counted = (job.body.get("stream_options") or {}).get("include_usage")
    ending = {} if counted else {"system_fingerprint": FINGERPRINT}  # it is in the last event that has an answer's form
    if job.chat:
        opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        yield _event({**head, "choices": [opening], "prompt_token_ids": None, "prompt_text": None})
    parts = engine.model.pieces(job.tokens)
    for count, part in enumerate(parts):
        if job.fault.token_ms:
            await asyncio.sleep(job.fault.token_ms / 1000)
        if count == CHUNKS_BEFORE_DEATH and job.fault.exit_mid_stream:
            os._exit(9)
        if count == CHUNKS_BEFORE_DEATH and job.fault.die_mid_stream:
            raise Broken
        logprobs = _answer_logprobs(engine, job, len(job.prompt) + count, [part])
        last = count == len(parts) - 1
        yield _event({**head, "choices": [_chunk(job, part, logprobs, last=last)], **(ending if last else {})})
    if not job.tokens:
        yield _event({**head, "choices": [_chunk(job, "", None, last=True)], **ending})
    if counted:
        yield _event({**head, "choices": [], "usage": job.usage, "system_fingerprint": FINGERPRINT})
    yield b"data: [DONE]\n\n"


def _chunk(job: Job, text: str, logprobs: dict[str, Any] | None, *, last: bool) -> dict[str, Any]:
    """One token's event. A chat's says why it stopped in its last alone, a completion's in each."""
    said = {"delta": {"content": text}} if job.chat else {"text": text, "prompt_token_ids": None}
    ended: dict[str, Any] = {"finish_reason": job.finish_reason if last else None}
    if last or not job.chat:
        ended["stop_reason"] = job.stop_reason if last else None
    return {"index": 0, **said, "logprobs": logprobs, **ended, "token_ids": None}


def _event(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


class Answer(Response):
    """Sends one job's answer and notes how it ended; a client that leaves cancels it, as in vLLM."""

    def __init__(self, engine: RecordedEngine, job: Job) -> None:
        super().__init__()
        self.engine, self.job = engine, job

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.engine.running += 1
        try:
            await self._serve(receive, send)
        finally:
            self.engine.running -= 1

    async def _serve(self, receive: Receive, send: Send) -> None:
        work = asyncio.create_task(self._send(send))
        left = asyncio.create_task(_left(receive))
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if work.done() and work.exception() is None:
            self.engine.note({"id": self.job.id, "end": "done"})
        elif work.done():
            self.engine.note({"id": self.job.id, "end": "broken"})
            raise Broken
        else:
            work.cancel()
            self.engine.note({"id": self.job.id, "end": "cancelled"})

    async def _send(self, send: Send) -> None:
        engine, job = self.engine, self.job
        await asyncio.sleep(job.fault.delay_ms / 1000)
        engine.counts["tokens"] += len(job.tokens)
        if job.body.get("stream"):
            await _start(send, b"text/event-stream; charset=utf-8")
            async for chunk in chunks(engine, job):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return
        await asyncio.sleep(job.fault.token_ms * len(job.tokens) / 1000)
        if job.fault.exit_mid_stream:
            os._exit(9)
        body = json.dumps(whole(engine, job)).encode()
        await _start(send, b"application/json")
        if job.fault.die_mid_stream:
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            raise Broken
        await send({"type": "http.response.body", "body": body})


async def _start(send: Send, kind: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def application(engine: RecordedEngine) -> EngineGuard:
    """The engine's routes, behind the guard that the real engine has."""

    async def answer(request: Request) -> Response:
        chat = request.url.path.endswith("chat/completions")
        try:
            body = read_body(await request.body())
        except Refused as refused:
            return JSONResponse(refused.body, refused.status)
        request_id = request.headers.get("x-request-id") or uuid.uuid4().hex
        engine.counts["requests"] += 1
        engine.note({"id": request_id, "model": body.get("model"), "path": request.url.path, "body": body})
        try:
            fault = engine.fault(str(body.get("model")))
            if fault.status is not None:
                raise Refused(fault.status, "InternalServerError", "EngineCore encountered an issue.")
            return Answer(engine, understand(engine, chat, request_id, body))
        except Refused as refused:
            engine.note({"id": request_id, "end": str(refused.status)})
            return JSONResponse(refused.body, refused.status)

    async def models(_request: Request) -> Response:
        names = [BASE_NAME, *engine.adapters]
        data = [{"id": n, "object": "model", "created": 0, "owned_by": "vllm", "max_model_len": 0} for n in names]
        return JSONResponse({"object": "list", "data": [{**d, "max_model_len": engine.max_model_len} for d in data]})

    async def health(_request: Request) -> Response:
        return Response(status_code=200)

    async def metrics(_request: Request) -> Response:
        lines = [f'vllm:{name}_total{{model_name="{BASE_NAME}"}} {value}' for name, value in engine.counts.items()]
        lines.append(f'vllm:num_requests_running{{engine="0",model_name="{BASE_NAME}"}} {float(engine.running)}')
        return PlainTextResponse("\n".join(lines) + "\n")

    routes = Starlette(
        routes=[
            Route("/v1/chat/completions", answer, methods=["POST"]),
            Route("/v1/completions", answer, methods=["POST"]),
            Route("/v1/models", models),
            Route("/health", health),
            Route("/metrics", metrics),
        ]
    )
    return EngineGuard(routes)


def serve(engine: RecordedEngine, socket: Path) -> uvicorn.Server:
    """A server that `run` starts; it listens on `socket` alone."""
    socket.parent.mkdir(parents=True, exist_ok=True)
    config = uvicorn.Config(
        application(engine), uds=str(socket), log_level="critical", loop="asyncio", timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


@contextmanager
def running(
    model: Path, socket: Path, engine_dir: Path, artifacts: Path, *, max_model_len: int = 2048
) -> Iterator[RecordedEngine]:
    """The engine in a thread of this process, listening when the block begins."""
    engine_dir.mkdir(parents=True, exist_ok=True)
    engine = RecordedEngine(model, engine_dir, artifacts, max_lora_rank=32, max_model_len=max_model_len)
    server = serve(engine, socket)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        if time.monotonic() > deadline or not thread.is_alive():
            raise RuntimeError("the recorded engine did not start")
        time.sleep(0.005)
    try:
        yield engine
    finally:
        server.should_exit = True
        thread.join(10)


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    for flag in ("--model", "--socket", "--engine-dir", "--artifacts"):
        parser.add_argument(flag, type=Path, required=True)
    for flag, default in (("--max-lora-rank", 32), ("--max-loras", 4), ("--max-model-len", 2048)):
        parser.add_argument(flag, type=int, default=default)
    flags, _others = parser.parse_known_args()
    flags.engine_dir.mkdir(parents=True, exist_ok=True)
    engine = RecordedEngine(flags.model, flags.engine_dir, flags.artifacts, flags.max_lora_rank, flags.max_model_len)
    server = serve(engine, flags.socket)
    server.run()


if __name__ == "__main__":
    main()
