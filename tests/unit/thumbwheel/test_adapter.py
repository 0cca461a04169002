"""What an adapter must be to be served: each way to be refused, with its reason."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save_file

from thumbwheel.adapter import (
    CONFIG,
    ORIGIN,
    WEIGHTS,
    BaseModules,
    base_modules,
    check_adapter,
    safetensors_header,
    write_origin,
)
from thumbwheel.errors import AdapterRefused, ArtifactError
from thumbwheel.ids import adapter_sha, engine_name

Arrays = dict[str, NDArray[np.float32]]
RANK = 4


def write_base(directory: Path, seed: int = 1) -> Path:
    generator = np.random.default_rng(seed)

    def weight(*shape: int) -> NDArray[np.float32]:
        return generator.normal(size=shape).astype(np.float32)

    directory.mkdir(parents=True)
    layer = "model.layers.0."
    save_file(
        {
            "model.embed_tokens.weight": weight(32, 8),
            "lm_head.weight": weight(32, 8),
            "model.norm.weight": weight(8),
            layer + "self_attn.q_proj.weight": weight(8, 8),
            layer + "self_attn.k_proj.weight": weight(4, 8),
            layer + "mlp.down_proj.weight": weight(8, 16),
        },
        directory / "model.safetensors",
    )
    (directory / "config.json").write_text(json.dumps({"model_type": "llama"}))
    return directory


@pytest.fixture
def base(tmp_path: Path) -> BaseModules:
    return base_modules(write_base(tmp_path / "models" / "Tiny-Base"))


def lora(module: str, shape_a: tuple[int, int], shape_b: tuple[int, int]) -> Arrays:
    prefix = f"base_model.model.model.layers.0.{module}."
    generator = np.random.default_rng(2)
    return {
        prefix + "lora_A.weight": generator.normal(size=shape_a).astype(np.float32),
        prefix + "lora_B.weight": generator.normal(size=shape_b).astype(np.float32),
    }


def good_tensors() -> Arrays:
    return lora("self_attn.k_proj", (RANK, 8), (4, RANK)) | lora("mlp.down_proj", (RANK, 16), (8, RANK))


def good_config() -> dict[str, object]:
    return {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": 8,
        "target_modules": ["k_proj", "down_proj"],
        "base_model_name_or_path": "someone/tiny-base",
    }


def write_adapter(directory: Path, tensors: Mapping[str, NDArray[np.float32]] | None = None, **changes: object) -> Path:
    directory.mkdir(parents=True)
    save_file(dict(tensors if tensors is not None else good_tensors()), directory / WEIGHTS)
    (directory / CONFIG).write_text(json.dumps(good_config() | changes))
    return directory


def reason(directory: Path, base: BaseModules, max_rank: int = 8) -> str:
    with pytest.raises(AdapterRefused) as refused:
        check_adapter(directory, base, max_rank)
    return refused.value.reason


def test_the_base_lists_what_lora_may_change(base: BaseModules) -> None:
    assert base.modules == {
        "model.layers.0.self_attn.q_proj": (8, 8),
        "model.layers.0.self_attn.k_proj": (4, 8),
        "model.layers.0.mlp.down_proj": (8, 16),
    }
    assert base.names == {"tiny-base"}


def test_the_fingerprint_is_of_the_weights_not_of_the_place(base: BaseModules, tmp_path: Path) -> None:
    assert base_modules(write_base(tmp_path / "elsewhere")).fingerprint == base.fingerprint
    assert base_modules(write_base(tmp_path / "other", seed=3)).fingerprint != base.fingerprint


def test_a_base_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    directory = write_base(tmp_path / "cut")
    _cut(directory / "model.safetensors")
    with pytest.raises(ArtifactError, match="cannot be read"):
        base_modules(directory)
    (directory / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="no config"):
        base_modules(directory)


def test_a_good_adapter_is_summed_up(base: BaseModules, tmp_path: Path) -> None:
    summary = check_adapter(write_adapter(tmp_path / "a"), base, RANK)
    assert (summary.rank, summary.scale) == (RANK, 2.0)
    assert summary.modules == ("model.layers.0.mlp.down_proj", "model.layers.0.self_attn.k_proj")
    assert summary.parameters == sum(array.size for array in good_tensors().values())
    largest = max(np.abs(array).max() * (2 if "lora_B" in name else 1) for name, array in good_tensors().items())
    assert summary.largest == pytest.approx(float(largest))


def test_rank_stabilised_scaling_is_known(base: BaseModules, tmp_path: Path) -> None:
    assert check_adapter(write_adapter(tmp_path / "a", use_rslora=True), base, RANK).scale == 4.0


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        (lora("self_attn.k_proj", (RANK, 7), (4, RANK)), "wrong_shape"),
        (lora("self_attn.k_proj", (RANK, 8), (5, RANK)), "wrong_shape"),
        (lora("self_attn.k_proj", (2, 8), (4, 2)), "wrong_shape"),
        (lora("self_attn.x_proj", (RANK, 8), (4, RANK)), "unknown_module"),
        ({"lm_head.lora_A.weight": np.ones((RANK, 8), np.float32)}, "unknown_module"),
        (dict(list(good_tensors().items())[:1]), "missing_pair"),
        (dict(list(good_tensors().items())[1:]), "missing_pair"),
        ({}, "missing_pair"),
        ({name: array.astype(np.float64) for name, array in good_tensors().items()}, "bad_config"),
    ],
)
def test_tensors_that_do_not_fit_the_base_are_refused(
    base: BaseModules, tmp_path: Path, tensors: Arrays, expected: str
) -> None:
    assert reason(write_adapter(tmp_path / "a", tensors), base) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 0},
        {"r": True},
        {"r": "4"},
        {"lora_alpha": None},
        {"r": 10**400},
        {"lora_alpha": math.nan},
        {"lora_alpha": 10**400},
        {"lora_alpha": -(10**400)},
        {"peft_type": "IA3"},
        {"bias": "all"},
        {"use_dora": True},
        {"modules_to_save": ["lm_head"]},
        {"rank_pattern": {"k_proj": 2}},
        {"trainable_token_indices": [1]},
        {"target_modules": None},
    ],
)
def test_anything_but_plain_lora_is_refused(base: BaseModules, tmp_path: Path, changes: dict[str, object]) -> None:
    assert reason(write_adapter(tmp_path / "a", None, **changes), base) == "bad_config"


def test_a_config_that_is_no_object_is_refused(base: BaseModules, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a")
    for text in ("[]", "{", "[" * 100_000, "\xff"):
        (adapter / CONFIG).write_text(text, encoding="latin-1")
        assert reason(adapter, base) == "bad_config"
    (adapter / CONFIG).unlink()
    assert reason(adapter, base) == "bad_config"


def test_a_rank_over_the_engines_is_refused(base: BaseModules, tmp_path: Path) -> None:
    assert reason(write_adapter(tmp_path / "a"), base, max_rank=RANK - 1) == "rank_too_high"


def test_the_fingerprint_decides_over_the_name(base: BaseModules, tmp_path: Path) -> None:
    assert reason(write_adapter(tmp_path / "a", base_model_name_or_path="x/Big"), base) == "wrong_base"
    write_origin(tmp_path / "a", base)
    check_adapter(tmp_path / "a", base, RANK)
    (tmp_path / "a" / ORIGIN).write_text(json.dumps({"base": "0" * 64}))
    assert reason(tmp_path / "a", base) == "wrong_base"
    check_adapter(write_adapter(tmp_path / "b", base_model_name_or_path=None), base, RANK)
    check_adapter(write_adapter(tmp_path / "c", base_model_name_or_path="/data/Tiny-Base/"), base, RANK)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 7e4, -1e38])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_values_that_16_bits_cannot_hold_are_refused(
    base: BaseModules, tmp_path: Path, value: float, dtype: str
) -> None:
    tensors = good_tensors()
    tensors[next(iter(tensors))].flat[-1] = value
    adapter = write_adapter(tmp_path / "a", tensors)
    recast(adapter / WEIGHTS, dtype)
    assert reason(adapter, base) == "not_finite"


def test_a_scale_that_makes_b_overflow_is_refused(base: BaseModules, tmp_path: Path) -> None:
    assert reason(write_adapter(tmp_path / "a", None, lora_alpha=1e9), base) == "not_finite"


def recast(weights: Path, dtype: str) -> None:
    """Rewrite a float32 file in another dtype, by hand, as numpy has no bfloat16."""
    header: dict[str, object] = {}
    body = b""
    for name, tensor in safetensors_header(weights).items():
        raw = weights.read_bytes()[tensor.begin : tensor.end]
        with np.errstate(over="ignore"):
            values = np.frombuffer(raw, "<f4")
            if dtype == "F16":
                raw = values.astype("<f2").tobytes()
            elif dtype == "BF16":
                raw = (values.view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    encoded = json.dumps(header).encode()
    weights.write_bytes(len(encoded).to_bytes(8, "little") + encoded + body)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_all_served_dtypes_pass_and_agree(base: BaseModules, tmp_path: Path, dtype: str) -> None:
    adapter = write_adapter(tmp_path / "a")
    exact = check_adapter(adapter, base, RANK).largest
    recast(adapter / WEIGHTS, dtype)
    assert check_adapter(adapter, base, RANK).largest == pytest.approx(exact, rel=2**-7)


def _cut(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-1])


def _cut_header(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:40])


def _garbage(weights: Path) -> None:
    weights.write_bytes(bytes(range(256)) * 8)


def _empty(weights: Path) -> None:
    weights.write_bytes(b"")


def _longer(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes() + b"\0")


def _pickle_beside(weights: Path) -> None:
    weights.with_suffix(".bin").write_bytes(b"x")


def _link(weights: Path) -> None:
    weights.rename(weights.parent.parent / "weights")
    weights.symlink_to(weights.parent.parent / "weights")


def _gone(weights: Path) -> None:
    weights.unlink()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_cut, "truncated"),
        (_cut_header, "truncated"),
        (_garbage, "not_safetensors"),
        (_empty, "not_safetensors"),
        (_longer, "not_safetensors"),
        (_pickle_beside, "not_safetensors"),
        (_link, "not_safetensors"),
        (_gone, "not_safetensors"),
    ],
)
def test_files_that_are_no_whole_safetensors_are_refused(
    base: BaseModules, tmp_path: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    adapter = write_adapter(tmp_path / "a")
    spoil(adapter / WEIGHTS)
    assert reason(adapter, base) == expected


@pytest.mark.parametrize(
    "header",
    [
        b"{not json",
        b'{"a": 1}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 3]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}',
        b'{"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_a_malformed_header_is_no_safetensors(tmp_path: Path, header: bytes) -> None:
    (tmp_path / WEIGHTS).write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(AdapterRefused) as unreadable:
        safetensors_header(tmp_path / WEIGHTS)
    assert unreadable.value.reason == "not_safetensors"


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.safetensors"
    file.write_bytes(raw)
    try:
        safetensors_header(file)
    except AdapterRefused as unreadable:
        assert unreadable.reason in ("not_safetensors", "truncated")


def test_engine_names_are_strict() -> None:
    sha = "0123456789abcdef" * 4
    assert adapter_sha(engine_name(sha)) == sha
    for name in ("", "base", sha, f"adapter-{sha}\n", f"adapter-{sha}0", f"adapter-{sha.upper()}", "adapter-../x"):
        assert adapter_sha(name) is None
    with pytest.raises(ValueError, match="64 hex"):
        engine_name("../x")
