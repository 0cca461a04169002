"""A real vLLM engine for tests, started as the product starts it, and LoRA adapters made of random numbers."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from safetensors.numpy import save_file

from thumbwheel.adapter import CONFIG, WEIGHTS, BaseModules, write_origin
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.ids import engine_name

START_S = 240.0  # about 30 s on two free cores
STOP_S = 20.0
LOADED = re.compile(r"fetched: load \d+ of this engine")
RANK = 8
SECRET = "THUMBWHEEL_TEST_SECRET"  # a name in the parent's environment that an engine must not see


@dataclass(frozen=True)
class RealEngine:
    """A running engine: its process, its socket, the store that it takes adapters from, the base, its log."""

    process: subprocess.Popen[bytes]
    socket: Path
    store: ArtifactStore
    base: Path
    log: Path

    def client(self) -> httpx.Client:
        """A client of the engine's own API; close it, or use it as a context."""
        return httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://engine", timeout=120)

    def async_client(self) -> httpx.AsyncClient:
        """The same for asynchronous tests, without a bound on connections."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket), limits=limits)
        return httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=120)

    def publish(self, adapter: Path) -> str:
        """Store an adapter's directory and return the name by which the engine serves it."""
        return engine_name(self.store.publish(adapter, "adapter", {}))

    def loads(self) -> int:
        """How many adapters the resolver has copied and checked since the start."""
        return len(LOADED.findall(self.log.read_text()))


def start_engine(home: Path, base: Path, *flags: str, environment: Mapping[str, str] | None = None) -> RealEngine:
    """Start an engine under `home` (made private) and wait until it is healthy; RuntimeError with its log if not."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    socket, log, artifacts = home / "engine.sock", home / "engine.log", home / "artifacts"
    command = [sys.executable, "-m", "serving.engine", "--model", str(base), "--socket", str(socket)]
    command += ["--engine-dir", str(home / "engine"), "--artifacts", str(artifacts), *flags]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
        )
    engine = RealEngine(process, socket, ArtifactStore(artifacts), base, log)
    deadline = time.monotonic() + START_S
    with engine.client() as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise RuntimeError(f"the engine ended with {process.returncode}:\n{log.read_text()[-4000:]}")
            try:
                if client.get("/health").status_code == 200:
                    return engine
            except httpx.TransportError:
                pass
            time.sleep(0.2)
    stop_engine(engine)
    raise RuntimeError(f"the engine was not healthy after {START_S:.0f} s:\n{log.read_text()[-4000:]}")


def stop_engine(engine: RealEngine) -> None:
    """End the engine if it is still there: asked first, then killed."""
    engine.process.send_signal(signal.SIGTERM)
    try:
        engine.process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        engine.process.kill()
        engine.process.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below `pid`, now."""
    return psutil.Process(pid).children(recursive=True)


def random_lora(base: BaseModules, seed: int, size: float, modules: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """PEFT tensors of rank `RANK` on the modules whose names end so (none given: all).

    For unit input, A keeps the scale and B multiplies it by `size`: 0.05 shifts log-probabilities, 0.3 garbles text.
    """
    generator = np.random.default_rng(seed)
    tensors: dict[str, NDArray[Any]] = {}
    for module, (out_width, in_width) in base.modules.items():
        if modules and module.rpartition(".")[2] not in modules:
            continue
        prefix = f"base_model.model.{module}.lora_"
        tensors[prefix + "A.weight"] = generator.normal(0, in_width**-0.5, (RANK, in_width)).astype(np.float32)
        tensors[prefix + "B.weight"] = generator.normal(0, size, (out_width, RANK)).astype(np.float32)
    return tensors


def write_adapter(directory: Path, base: BaseModules, tensors: Mapping[str, NDArray[Any]], **config: object) -> Path:
    """Write an adapter's files as PEFT and the trainer do; `config` changes adapter_config.json."""
    directory.mkdir(parents=True)
    save_file(dict(tensors), directory / WEIGHTS)
    targets = sorted({name.split(".lora_")[0].rpartition(".")[2] for name in tensors})
    plain = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": targets}
    (directory / CONFIG).write_text(json.dumps(plain | config))
    write_origin(directory, base)
    return directory


async def prompt_logprobs(client: httpx.AsyncClient, model: str, text: str) -> NDArray[np.float64]:
    """The log-probability of each of the text's tokens but the first, given what is before it."""
    body = {"model": model, "prompt": text, "echo": True, "max_tokens": 1, "temperature": 0, "logprobs": 0}
    answer = (await client.post("/v1/completions", json=body)).raise_for_status().json()
    return np.array(answer["choices"][0]["logprobs"]["token_logprobs"][1:-1])


@dataclass(frozen=True)
class Greedy:
    """A greedy answer: its tokens, the log-probability of each, and how far the second choice was below."""

    tokens: tuple[str, ...]
    logprobs: NDArray[np.float64]
    leads: NDArray[np.float64]


async def greedy(client: httpx.AsyncClient, model: str, text: str, length: int) -> Greedy:
    """Decode exactly `length` tokens."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": length,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "ignore_eos": True,
    }
    answer = (await client.post("/v1/chat/completions", json=body)).raise_for_status().json()
    content = answer["choices"][0]["logprobs"]["content"]
    leads = [entry["top_logprobs"][0]["logprob"] - entry["top_logprobs"][1]["logprob"] for entry in content]
    logprobs = [entry["logprob"] for entry in content]
    return Greedy(tuple(entry["token"] for entry in content), np.array(logprobs), np.array(leads))


async def first_logprob(client: httpx.AsyncClient, model: str, text: str) -> float:
    """The log-probability of the greedy answer's first token: a fingerprint of who answered."""
    return float((await greedy(client, model, text, 1)).logprobs[0])


async def together(*jobs: Any) -> list[Any]:
    """Run requests at the same time, so that they share batches; results in order."""
    return list(await asyncio.gather(*jobs))
