"""The engine as a process: what it opens, what it knows, and that nothing of it is left when it is killed."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Iterable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.real_engine import SECRET, RealEngine, descendants, start_engine, stop_engine, together

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/adapters"),
        ("POST", "/tokenize"),
        ("POST", "/pause"),
        ("GET", "/version"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/embeddings"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "//v1/load_lora_adapter"),
        ("POST", "/v1/chat/completions/../load_lora_adapter"),
        ("POST", "/v1%2Fload_lora_adapter"),
        ("GET", "/v1/chat/completions"),
        ("OPTIONS", "/v1/chat/completions"),
    ],
)
def test_routes_that_are_not_listed_are_not_there(engine: RealEngine, method: str, path: str) -> None:
    with engine.client() as client:
        answer = client.request(
            method, path, json={"lora_name": "x", "lora_path": "/tmp"} if method == "POST" else None
        )
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "no such route"


def test_listed_routes_are_there(engine: RealEngine) -> None:
    with engine.client() as client:
        assert client.get("/health").status_code == 200
        assert "base" in [model["id"] for model in client.get("/v1/models").json()["data"]]
        assert "vllm:num_requests_running" in client.get("/metrics").text


def test_all_is_private_to_its_owner_and_this_machine(engine: RealEngine) -> None:
    assert stat.S_IMODE(engine.socket.stat().st_mode) & 0o077 == 0
    for process in (psutil.Process(engine.process.pid), *descendants(engine.process.pid)):
        for connection in process.net_connections("inet"):
            assert connection.laddr.ip in ("127.0.0.1", "::1")


def test_the_parents_secrets_are_not_in_its_environment(engine: RealEngine) -> None:
    environment = Path(f"/proc/{engine.process.pid}/environ").read_bytes()
    assert b"HF_HUB_OFFLINE=1" in environment
    assert SECRET.encode() not in environment


@pytest.mark.ends_engine
async def test_a_killed_engine_leaves_nothing_behind_and_the_next_answers_as_both_releases(
    engine: RealEngine, base_dir: Path, speakers: dict[str, Path]
) -> None:
    """What is asked while it dies breaks; nothing, before or after, is answered by another release than was asked."""
    words = {engine.publish(adapter): word for word, adapter in speakers.items()}
    assert await heard(engine, words) == words

    below = descendants(engine.process.pid)
    assert below  # the core, at least
    async with engine.async_client() as client:
        in_flight = [asyncio.create_task(said(client, name, 400)) for name in [*words] * 4]
        await asyncio.sleep(1.0)  # long enough to have begun, and 400 tokens take longer
        engine.process.kill()
        broken = await asyncio.gather(*in_flight, return_exceptions=True)
    assert all(isinstance(each, httpx.TransportError) for each in broken), broken
    engine.process.wait(10)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []

    following = start_engine(engine.socket.parent, base_dir)
    try:
        assert await heard(following, words) == words
        assert following.loads() == len(words)
    finally:
        stop_engine(following)


async def heard(engine: RealEngine, names: Iterable[str]) -> dict[str, str]:
    """What each release says, asked together, many times; several words where its answers were not all one word."""
    asked = [*names] * 4
    async with engine.async_client() as client:
        answers = await together(*(said(client, name, 8) for name in asked))
    found: dict[str, set[str]] = {}
    for name, answer in zip(asked, answers, strict=True):
        found.setdefault(name, set()).update(answer.split())
    return {name: " ".join(sorted(words)) for name, words in found.items()}


async def said(client: httpx.AsyncClient, model: str, length: int) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Who is there?"}], "max_tokens": length}
    answer = (await client.post("/v1/chat/completions", json=body)).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])
