"""The engine as a process: what it opens, what it knows, and that nothing of it is left when it is killed."""

from __future__ import annotations

import stat
from pathlib import Path

import psutil
import pytest

from tests.real_engine import SECRET, RealEngine, descendants

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/load_lora_adapter"),
        ("POST", "/v1/unload_lora_adapter"),
        ("POST", "/adapters"),
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
        tokens = client.post("/tokenize", json={"model": "base", "prompt": "hello there"}).json()["tokens"]
        assert client.post("/detokenize", json={"model": "base", "tokens": tokens}).json()["prompt"] == "hello there"


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
def test_a_killed_engine_leaves_no_process_behind(engine: RealEngine) -> None:
    below = descendants(engine.process.pid)
    assert len(below) >= 2  # the core and its worker, at least
    engine.process.kill()
    engine.process.wait(10)
    _, alive = psutil.wait_procs(below, timeout=10)
    assert alive == []
