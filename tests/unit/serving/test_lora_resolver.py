"""Fetching adapters for an engine: once each, however many ask; refusals are answers, not exceptions."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from serving.lora_resolver import (
    ENV_ARTIFACTS,
    ENV_BASE,
    ENV_ENGINE_DIR,
    ENV_MAX_LORA_RANK,
    AdapterSource,
    ResolverSettings,
)
from thumbwheel.adapter import CONFIG, WEIGHTS, BaseModules
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.ids import engine_name

BASE = BaseModules(frozenset({"tiny"}), "f" * 64, {"model.layers.0.self_attn.q_proj": (8, 8)})


def write_adapter(directory: Path, width: int = 8) -> Path:
    prefix = "base_model.model.model.layers.0.self_attn.q_proj."
    directory.mkdir()
    halves = {"lora_A.weight": np.ones((2, width), np.float32), "lora_B.weight": np.ones((8, 2), np.float32)}
    save_file({prefix + name: array for name, array in halves.items()}, directory / WEIGHTS)
    (directory / CONFIG).write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}')
    return directory


@pytest.fixture
def source(tmp_path: Path) -> AdapterSource:
    return AdapterSource(ArtifactStore(tmp_path / "artifacts"), tmp_path / "copies", BASE, max_lora_rank=8)


def reasons(caplog: pytest.LogCaptureFixture) -> str:
    return " ".join(record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)


async def test_many_who_ask_at_once_share_one_copy(source: AdapterSource, tmp_path: Path) -> None:
    name = engine_name(source.store.publish(write_adapter(tmp_path / "a"), "adapter", {}))
    paths = await asyncio.gather(*(source.fetch(name) for _ in range(20)))
    assert set(paths) == {source.copies / name.removeprefix("adapter-")}
    assert await source.fetch(name) == paths[0]
    assert source.loads == 1
    assert (source.copies / name.removeprefix("adapter-") / WEIGHTS).is_file()


async def test_one_who_leaves_does_not_end_what_others_wait_for(source: AdapterSource, tmp_path: Path) -> None:
    name = engine_name(source.store.publish(write_adapter(tmp_path / "a"), "adapter", {}))
    first = asyncio.create_task(source.fetch(name))
    second = asyncio.create_task(source.fetch(name))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None
    assert source.loads == 1


@pytest.mark.parametrize("name", ["base", "../x", "adapter-../../etc", "adapter-" + "A" * 64, "x" * 10_000])
async def test_other_names_are_refused(
    source: AdapterSource, caplog: pytest.LogCaptureFixture, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    assert await source.fetch(name) is None
    assert "no adapter's" in reasons(caplog) and len(reasons(caplog)) < 200


async def test_refusals_say_why_and_are_not_kept(
    source: AdapterSource, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    assert await source.fetch(engine_name("0" * 64)) is None
    assert "UnknownArtifact" in reasons(caplog)

    sha = source.store.publish(write_adapter(tmp_path / "narrow", width=7), "adapter", {})
    assert await source.fetch(engine_name(sha)) is None
    assert "wrong_shape" in reasons(caplog)

    sha = source.store.publish(write_adapter(tmp_path / "data"), "dataset", {})
    assert await source.fetch(engine_name(sha)) is None
    assert "dataset" in reasons(caplog)

    sha = source.store.publish(write_adapter(tmp_path / "good"), "adapter", {})
    file = source.store.path(sha) / WEIGHTS
    right = file.read_bytes()
    file.chmod(0o600)
    file.write_bytes(right[:-1] + b"\1")
    assert await source.fetch(engine_name(sha)) is None
    assert "ArtifactCorrupt" in reasons(caplog)
    file.write_bytes(right)
    assert await source.fetch(engine_name(sha)) is not None
    assert source.loads == 1


def test_settings_are_read_from_the_environment_or_there_are_none() -> None:
    assert ResolverSettings.read({}) is None
    environment = {ENV_ARTIFACTS: "/a", ENV_ENGINE_DIR: "/e", ENV_BASE: "/b", ENV_MAX_LORA_RANK: "16"}
    assert ResolverSettings.read(environment) == ResolverSettings(Path("/a"), Path("/e/adapters"), Path("/b"), 16)


async def test_a_fault_of_our_own_is_not_kept(source: AdapterSource, tmp_path: Path) -> None:
    class BrokenOnce(ArtifactStore):
        broken = True

        def copy_verified(self, sha: str, target: Path) -> Path:
            if self.broken:
                self.broken = False
                raise ZeroDivisionError
            return super().copy_verified(sha, target)

    name = engine_name(source.store.publish(write_adapter(tmp_path / "a"), "adapter", {}))
    source.store = BrokenOnce(tmp_path / "artifacts")
    with pytest.raises(ZeroDivisionError):
        await source.fetch(name)
    assert await source.fetch(name) is not None
