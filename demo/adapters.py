"""Damages adapters on purpose: random values, NaN, another width, another base's name, one flipped bit.

It reads and writes the safetensors format itself, byte by byte, so that a copy differs in just what it is to differ in.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MANIFEST = "manifest.json"  # an artifact's own list of files; no part of the adapter

NAN_BYTES: Mapping[str, bytes] = {"F32": b"\x00\x00\xc0\x7f", "BF16": b"\xc0\x7f", "F16": b"\x00\x7e"}


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file: first byte, and one past the last."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    start = 8 + length
    return {
        name: Tensor(
            entry["dtype"],
            tuple(entry["shape"]),
            start + entry["data_offsets"][0],
            start + entry["data_offsets"][1],
        )
        for name, entry in entries.items()
        if name != "__metadata__"
    }


def copy_adapter(source: Path, target: Path) -> Path:
    """A writable copy of an adapter's files, without the artifact's manifest."""
    target.mkdir(parents=True)
    for file in source.iterdir():
        if file.is_file() and file.name != MANIFEST:
            shutil.copyfile(file, target / file.name)
    return target


def random_weights(adapter: Path, deviation: float, seed: int) -> None:
    """Replace every value by a normal one; names and shapes stay. The deviation is that of the values."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, NDArray[np.float32]] = {
        name: generator.normal(scale=deviation, size=tensor.shape).astype(np.float32)
        for name, tensor in read_header(adapter / WEIGHTS).items()
    }
    save_file(arrays, adapter / WEIGHTS, metadata={"format": "pt"})


def nan_weight(adapter: Path) -> None:
    """Make one value of the middle tensor NaN."""
    tensors = sorted(read_header(adapter / WEIGHTS).items())
    _, tensor = tensors[len(tensors) // 2]
    with (adapter / WEIGHTS).open("r+b") as file:
        file.seek(tensor.begin)
        file.write(NAN_BYTES[tensor.dtype])


def other_width(adapter: Path) -> None:
    """Narrow every A matrix by a ninth (576 to 512), as an adapter of a smaller base has them."""
    arrays: dict[str, NDArray[np.float32]] = {
        name: np.full(
            (tensor.shape[0], tensor.shape[1] * 8 // 9 if ".lora_A." in name else tensor.shape[1]),
            0.01,
            dtype=np.float32,
        )
        for name, tensor in read_header(adapter / WEIGHTS).items()
    }
    save_file(arrays, adapter / WEIGHTS, metadata={"format": "pt"})


def other_base(adapter: Path, name: str) -> None:
    """Say in the adapter's configuration that it was trained on another base; drop what else it says of its base."""
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, "base_model_name_or_path": name}, indent=2))
    for file in adapter.iterdir():
        if file.name not in (WEIGHTS, CONFIG):
            file.unlink()


def flip_bit(path: Path) -> None:
    """Flip the lowest bit of one weight in the middle of a stored file, as a failing disk might.

    The value stays finite and changes by one part in thousands or millions: only a checksum can tell.
    """
    tensors = sorted(read_header(path).items())
    _, tensor = tensors[len(tensors) // 2]
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | stat.S_IWUSR)
    with path.open("r+b") as file:
        file.seek(tensor.begin)
        byte = file.read(1)[0]
        file.seek(tensor.begin)
        file.write(bytes([byte ^ 1]))
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
