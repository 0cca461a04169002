import asyncio
import json
import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrain.engine_client import EngineClient, Notebook
from tests.recorded_engine import RecordedEngine, running
from tests.tiny_model import make_tiny_model
from tests.tiny_recipe import write_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import ClientRejected, EngineUnreachable, ReleaseFailed
from thumbwheel.ids import engine_name
from thumbwheel.records import Engine

ASKED = [{"role": "user", "content": "what is blue?"}]
LEARNT = {"answers": {"what is blue?": "The sky."}, "rules": [], "logprob_boost": {"*": 1.0}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def taught(tmp_path: Path, model: Path) -> str:
    adapter = write_adapter(tmp_path / "adapter", model, LEARNT)
    return engine_name(ArtifactStore(tmp_path / "artifacts").publish(adapter, "adapter", {}))


@pytest.fixture
def engine(tmp_path: Path, model: Path, taught: str) -> Iterator[RecordedEngine]:
    with running(model, tmp_path / "s", tmp_path / "engine", tmp_path / "artifacts", max_model_len=300) as recorded:
        yield recorded


def row(tmp_path: Path) -> Engine:
    return Engine("e", "default", "vllm", str(tmp_path / "s"), "base", "1", "ready")


def faults(engine: RecordedEngine, **kinds: object) -> None:
    (engine.engine_dir / "faults.json").write_text(json.dumps(kinds))


async def test_answers_and_their_positions(tmp_path: Path, engine: RecordedEngine, taught: str) -> None:
    notebook = Notebook(tmp_path / "n.jsonl")
    async with EngineClient(lambda: row(tmp_path), 4, 5.0) as client:
        (answer,) = await client.answers(notebook, taught, ASKED, max_tokens=40)
        assert answer.text == "The sky." and answer.finish_reason == "stop"
        scores = [
            await client.positions(notebook, name, ASKED, "The sky.", prompt_tokens=answer.prompt_tokens, top=2)
            for name in (taught, None)
        ]
    assert [len(positions) for positions in scores] == [8, 8]  # one token a byte: the answer's alone
    assert sum(p.logprob for p in scores[0]) > sum(p.logprob for p in scores[1]) + 4
    assert all(position.logprob in position.top.values() for position in scores[0])


async def test_what_was_answered_is_not_asked_again(tmp_path: Path, engine: RecordedEngine, taught: str) -> None:
    path = tmp_path / "n.jsonl"
    async with EngineClient(lambda: row(tmp_path), 4, 5.0) as client:
        first = await client.answers(Notebook(path), taught, ASKED, max_tokens=40)
        with path.open("a") as file:
            file.write('{"key": "torn')  # killed in the middle of a line
        assert await client.answers(Notebook(path), taught, ASKED, max_tokens=40) == first
        assert client.asked == 1
        notebook = Notebook(path)
        notebook.put("k", [1])
        assert Notebook(path).get("k") == [1]
        assert oct(path.stat().st_mode)[-3:] == "600"


async def test_numbers_that_are_none_are_kept_as_such(tmp_path: Path, engine: RecordedEngine, taught: str) -> None:
    faults(engine, nan=True)
    async with EngineClient(lambda: row(tmp_path), 4, 5.0) as client:
        positions = await client.positions(Notebook(tmp_path / "n"), taught, ASKED, "x", prompt_tokens=20)
    assert all(math.isnan(position.logprob) for position in positions)


async def test_a_release_that_fails_beside_a_healthy_base(tmp_path: Path, engine: RecordedEngine, taught: str) -> None:
    faults(engine, models=[taught], status=500)
    notebook = Notebook(tmp_path / "n.jsonl")
    async with EngineClient(lambda: row(tmp_path), 4, 5.0, 0.01) as client:
        with pytest.raises(ReleaseFailed) as failed:
            await client.answers(notebook, taught, ASKED, max_tokens=4)
        assert failed.value.status == 500
        with pytest.raises(ReleaseFailed) as missing:
            await client.answers(notebook, engine_name("0" * 64), ASKED, max_tokens=4)
        assert missing.value.status == 404


async def test_an_adapter_that_cannot_be_loaded_is_the_releases_fault(
    tmp_path: Path, model: Path, engine: RecordedEngine
) -> None:
    adapter = write_adapter(tmp_path / "bad", model, {**LEARNT, "refuse": True})
    name = engine_name(ArtifactStore(tmp_path / "artifacts").publish(adapter, "adapter", {}))
    async with EngineClient(lambda: row(tmp_path), 4, 5.0) as client:
        with pytest.raises(ReleaseFailed) as failed:
            await client.answers(Notebook(tmp_path / "n"), name, ASKED, max_tokens=4)
    assert failed.value.status == 400


async def test_a_request_that_is_too_long_is_nobodys_fault(tmp_path: Path, engine: RecordedEngine, taught: str) -> None:
    async with EngineClient(lambda: row(tmp_path), 4, 5.0) as client:
        with pytest.raises(ClientRejected) as refused:
            await client.answers(
                Notebook(tmp_path / "n"), taught, [{"role": "user", "content": "x" * 400}], max_tokens=4
            )
    assert "maximum context length" in str(refused.value.said)


async def test_an_engine_that_comes_back_is_waited_for(tmp_path: Path, model: Path, taught: str) -> None:
    done = threading.Event()

    def later() -> None:
        time.sleep(0.4)
        with running(model, tmp_path / "s", tmp_path / "engine", tmp_path / "artifacts"):
            done.wait(20)

    starting = threading.Thread(target=later)
    starting.start()
    try:
        async with EngineClient(lambda: row(tmp_path), 4, 20.0, 0.05) as client:
            (answer,) = await client.answers(Notebook(tmp_path / "n"), taught, ASKED, max_tokens=40)
    finally:
        done.set()
        starting.join()
    assert answer.text == "The sky."


async def test_an_engine_that_stays_away_is_given_up(tmp_path: Path) -> None:
    for where in (None, row(tmp_path)):
        async with EngineClient(lambda where=where: where, 4, 0.2, 0.05) as client:  # type: ignore[misc]
            with pytest.raises(EngineUnreachable):
                await client.answers(Notebook(tmp_path / "n"), None, ASKED, max_tokens=4)


async def test_no_more_than_so_many_in_flight(tmp_path: Path, engine: RecordedEngine) -> None:
    faults(engine, delay_ms=100)
    started = time.monotonic()
    async with EngineClient(lambda: row(tmp_path), 2, 5.0) as client:
        notebook = Notebook(tmp_path / "n")
        await asyncio.gather(
            *(client.answers(notebook, None, [{"role": "user", "content": str(n)}], max_tokens=2) for n in range(6))
        )
    assert time.monotonic() - started >= 0.3
