"""What a route's unforeseen fault looks like from outside and in the log, under the real server."""

from __future__ import annotations

import asyncio
import logging
import socket

import httpx
from fastapi import FastAPI

from serving.app import listener
from serving.shape import answer_errors_in_openai_shape


class Tracebacks(logging.Handler):
    """Keeps what comes with a traceback. Hung on uvicorn's own logger: another server here may have cut it off."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.held.append(record)


async def test_an_unforeseen_fault_is_a_500_without_inside_and_one_traceback() -> None:
    tracebacks, log = Tracebacks(), logging.getLogger("uvicorn.error")
    log.addHandler(tracebacks)
    app = FastAPI()
    answer_errors_in_openai_shape(app)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("in /secret/place.py")

    with socket.create_server(("127.0.0.1", 0)) as opened:
        server = listener(app)
        log.disabled = False
        log.setLevel(logging.ERROR)
        serving = asyncio.create_task(server.serve([opened]))
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{opened.getsockname()[1]}/broken")
        server.should_exit = True
        await serving
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    log.removeHandler(tracebacks)
    assert len(tracebacks.held) == 1
