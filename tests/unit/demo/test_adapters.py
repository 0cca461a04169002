"""Damaged copies differ from the adapter in just what they are to differ in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from demo.adapters import (
    CONFIG,
    WEIGHTS,
    copy_adapter,
    flip_bit,
    nan_weight,
    other_base,
    other_width,
    random_weights,
    read_header,
)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    source = tmp_path / "artifact"
    source.mkdir()
    arrays = {
        f"base_model.model.layers.{layer}.lora_{half}.weight": np.full(shape, 0.5 + layer, dtype=np.float32)
        for layer in range(3)
        for half, shape in (("A", (2, 18)), ("B", (18, 2)))
    }
    save_file(arrays, source / WEIGHTS)
    (source / CONFIG).write_text(json.dumps({"base_model_name_or_path": "ours", "r": 2}))
    (source / "manifest.json").write_text("{}")
    (source / "origin.json").write_text("{}")
    for file in source.iterdir():
        file.chmod(0o400)
    return copy_adapter(source, tmp_path / "copy")


def test_a_copy_leaves_the_manifest_behind_and_can_be_written(adapter: Path) -> None:
    assert {file.name for file in adapter.iterdir()} == {WEIGHTS, CONFIG, "origin.json"}
    (adapter / CONFIG).write_text("{}")


def test_random_weights_keep_names_and_shapes(adapter: Path) -> None:
    before = load_file(adapter / WEIGHTS)
    random_weights(adapter, deviation=0.25, seed=1)
    after = load_file(adapter / WEIGHTS)
    assert {name: array.shape for name, array in after.items()} == {name: array.shape for name, array in before.items()}
    values = np.concatenate([array.ravel() for array in after.values()])
    assert np.std(values) == pytest.approx(0.25, rel=0.2)
    assert np.isfinite(values).all()


def test_one_value_becomes_nan(adapter: Path) -> None:
    nan_weight(adapter)
    assert sum(int(np.isnan(array).sum()) for array in load_file(adapter / WEIGHTS).values()) == 1


def test_another_width_narrows_the_a_matrices_alone(adapter: Path) -> None:
    other_width(adapter)
    shapes = {name: tensor.shape for name, tensor in read_header(adapter / WEIGHTS).items()}
    assert {shape for name, shape in shapes.items() if ".lora_A." in name} == {(2, 16)}
    assert {shape for name, shape in shapes.items() if ".lora_B." in name} == {(18, 2)}


def test_another_base_is_named_and_nothing_else_says_otherwise(adapter: Path) -> None:
    other_base(adapter, "another/base")
    assert json.loads((adapter / CONFIG).read_text()) == {"base_model_name_or_path": "another/base", "r": 2}
    assert {file.name for file in adapter.iterdir()} == {WEIGHTS, CONFIG}


def test_one_bit_flips_in_a_read_only_file_and_the_value_stays_finite(adapter: Path) -> None:
    weights = adapter / WEIGHTS
    weights.chmod(0o400)
    before = weights.read_bytes()
    flip_bit(weights)
    after = weights.read_bytes()
    assert sum((a ^ b).bit_count() for a, b in zip(before, after, strict=True)) == 1
    assert weights.stat().st_mode & 0o777 == 0o400
    assert all(np.isfinite(array).all() for array in load_file(weights).values())
