"""What the engine does with adapters that must not be served, and with two that must be served side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.real_engine import RANK, RealEngine, first_logprob, greedy, random_lora, together, write_adapter
from thumbwheel.adapter import ORIGIN, WEIGHTS, BaseModules
from thumbwheel.ids import engine_name

pytestmark = pytest.mark.vllm

MESSAGES = [{"role": "user", "content": "Name a colour."}]


def ask(client: httpx.Client, model: str) -> httpx.Response:
    return client.post("/v1/chat/completions", json={"model": model, "messages": MESSAGES, "max_tokens": 4})


@pytest.mark.parametrize(
    "name", ["../x", "/etc", "adapter-../../x", "adapter-" + "A" * 64, engine_name("0" * 64), "gpt"]
)
def test_names_that_are_no_stored_adapters_are_unknown(engine: RealEngine, name: str) -> None:
    with engine.client() as client:
        assert ask(client, name).status_code == 404
        assert ask(client, "base").status_code == 200


def good(folder: Path, base: BaseModules) -> Path:
    return write_adapter(folder, base, random_lora(base, 5, 0.02, ("q_proj",)))


def truncated(folder: Path, base: BaseModules) -> Path:
    adapter = good(folder, base)
    (adapter / WEIGHTS).write_bytes((adapter / WEIGHTS).read_bytes()[:-100])
    return adapter


def garbage(folder: Path, base: BaseModules) -> Path:
    adapter = good(folder, base)
    (adapter / WEIGHTS).write_bytes(b"garbage" * 1000)
    return adapter


def not_a_number(folder: Path, base: BaseModules) -> Path:
    tensors = random_lora(base, 5, 0.02, ("q_proj",))
    next(iter(tensors.values()))[0, 0] = np.nan
    return write_adapter(folder, base, tensors)


def too_narrow(folder: Path, base: BaseModules) -> Path:
    tensors = random_lora(base, 5, 0.02, ("q_proj",))
    narrow = {name: array[:, :-64] if ".lora_A." in name else array for name, array in tensors.items()}
    return write_adapter(folder, base, {name: np.ascontiguousarray(array) for name, array in narrow.items()})


def unknown_module(folder: Path, base: BaseModules) -> Path:
    tensors = random_lora(base, 5, 0.02, ("q_proj",))
    return write_adapter(folder, base, {name.replace("q_proj", "x_proj"): array for name, array in tensors.items()})


def high_rank(folder: Path, base: BaseModules) -> Path:
    return write_adapter(folder, base, random_lora(base, 5, 0.02, ("q_proj",)), r=RANK * 100)


def other_base(folder: Path, base: BaseModules) -> Path:
    adapter = good(folder, base)
    (adapter / ORIGIN).write_text('{"base": "another"}')
    return adapter


@pytest.mark.parametrize(
    "spoilt", [truncated, garbage, not_a_number, too_narrow, unknown_module, high_rank, other_base]
)
def test_adapters_that_must_not_be_served_are_refused_and_the_engine_lives(
    engine: RealEngine, base: BaseModules, tmp_path: Path, spoilt: Callable[[Path, BaseModules], Path]
) -> None:
    name = engine.publish(spoilt(tmp_path / "adapter", base))
    with engine.client() as client:
        assert ask(client, name).status_code == 404
        assert ask(client, "base").status_code == 200


def test_a_bit_flipped_in_the_store_is_refused_and_mended_by_the_right_file(
    engine: RealEngine, base: BaseModules, tmp_path: Path
) -> None:
    name = engine.publish(write_adapter(tmp_path / "adapter", base, random_lora(base, 6, 0.02, ("k_proj",))))
    weights = engine.store.path(name.removeprefix("adapter-")) / WEIGHTS
    right = weights.read_bytes()
    weights.chmod(0o600)
    weights.write_bytes(right[:-7] + bytes([right[-7] ^ 4]) + right[-6:])
    with engine.client() as client:
        assert ask(client, name).status_code == 404
        assert ask(client, "base").status_code == 200
        weights.write_bytes(right)
        assert ask(client, name).status_code == 200


def test_an_artifact_that_is_no_adapter_is_refused(engine: RealEngine, base: BaseModules, tmp_path: Path) -> None:
    sha = engine.store.publish(good(tmp_path / "adapter", base), "dataset", {})
    with engine.client() as client:
        assert ask(client, engine_name(sha)).status_code == 404


async def test_two_adapters_side_by_side_are_both_right_fair_and_loaded_once(
    engine: RealEngine, base: BaseModules, tmp_path: Path
) -> None:
    """At 50/50 under 16 concurrent requests. The ratio of their first-token times is printed, not asserted."""
    questions = ["Name a colour.", "Who wrote Hamlet?", "What is ice?", "Say hello."]
    names = [
        engine.publish(write_adapter(tmp_path / str(seed), base, random_lora(base, seed, 0.1, ("v_proj", "down_proj"))))
        for seed in (7, 8)
    ]
    before = engine.loads()
    async with engine.async_client() as client:
        # The first requests for a name arrive together and must share one load.
        await together(*(first_logprob(client, name, questions[0]) for name in names * 4))
        assert engine.loads() == before + 2
        expected = {
            (name, question): await first_logprob(client, name, question)
            for name in ("base", *names)
            for question in questions
        }
        work = asyncio.Queue[tuple[str, str]]()
        for turn in range(64):
            work.put_nowait((names[turn % 2], questions[turn // 2 % len(questions)]))
        spent: dict[str, list[float]] = {name: [] for name in names}

        async def user() -> None:
            while not work.empty():
                name, question = work.get_nowait()
                started = time.monotonic()
                answer = await greedy(client, name, question, 8)
                spent[name].append(time.monotonic() - started)
                nearest = min(
                    ("base", *names), key=lambda who: abs(expected[who, question] - float(answer.logprobs[0]))
                )
                assert nearest == name

        await together(*(user() for _ in range(16)))
    assert [len(times) for times in spent.values()] == [32, 32]
    slow, fast = sorted((float(np.quantile(times, 0.95)) for times in spent.values()), reverse=True)
    print(f"p95 of 8 tokens: {fast:.2f} s and {slow:.2f} s, ratio {slow / fast:.2f}")
    assert engine.loads() == before + 2
