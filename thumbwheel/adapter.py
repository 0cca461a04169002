"""What makes a LoRA adapter fit to be served on a base: names, shapes, rank and finite values, before it is loaded.

An engine that is handed an adapter of another width may serve it silently, so each tensor is held against the base's
own weights here: by the importer, by the trainer before it publishes, and by the engine's resolver before it hands
over. Only headers and raw numbers are read: nothing is unpickled, and torch is not needed.

It knows LoRA on the linear layers of safetensors checkpoints whose weights are stored (out, in), as Llama's, Qwen's
and Mistral's are. It does not know LoRA on embeddings or the output head, fused experts, DoRA, biases or rank patterns:
those are refused. It cannot tell a good adapter from random numbers; the gate does.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thumbwheel.errors import AdapterRefused, ArtifactError

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
ORIGIN = "thumbwheel-adapter.json"  # ours, optional: {"base": fingerprint}

MAX_HEADER_BYTES = 64 << 20
MAX_CONFIG_BYTES = 1 << 20
LARGEST = 65_504.0  # float16's largest value: what every 16-bit engine can hold, bfloat16's being far larger
SAMPLE_BYTES = 1024
SLAB_BYTES = 16 << 20

_WIDTH = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_WIDTH |= {"U64": 8, "U32": 4, "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
_SERVED_DTYPES = ("BF16", "F16", "F32")
_MOST = 1 << 53  # of r and lora_alpha: JSON's whole numbers have no end, and floats do
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_TENSOR = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]+)\.lora_(?P<half>[AB])\.weight")
_NO_LORA = re.compile(r"(^|\.)(lm_head|embed_tokens|wte|wpe|shared)$|embed")  # tables and the output head

# PEFT features that change what an adapter means, with the values that leave it plain LoRA.
_PLAIN: Mapping[str, tuple[object, ...]] = {
    "peft_type": ("LORA",),
    "bias": (None, "none"),
    "use_dora": (None, False),
    "lora_bias": (None, False),
    "use_qalora": (None, False),
    "fan_in_fan_out": (None, False),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layer_replication": (None, []),
    "target_parameters": (None, []),
    "trainable_token_indices": (None, [], {}),
    "alora_invocation_tokens": (None, []),
    "use_bdlora": (None, False, {}),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a safetensors file: dtype as the format names it, shape, first byte, and one past the last."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class BaseModules:
    """A base: the names it goes by (lower case), its fingerprint, and each adaptable module's (out, in) shape."""

    names: frozenset[str]
    fingerprint: str
    modules: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class AdapterSummary:
    """What a checked adapter is: its rank, its scale alpha / rank, its modules, its parameters, its largest value."""

    rank: int
    scale: float
    modules: tuple[str, ...]
    parameters: int
    largest: float


def base_modules(model_dir: Path) -> BaseModules:
    """Read a checkpoint's headers (milliseconds; the weights are only sampled). Raises ArtifactError, OSError.

    The fingerprint covers names, dtypes, shapes and three samples of each tensor, so another training of the same
    architecture has another one. It tells bases apart; it does not prove that a checkpoint is undamaged.
    """
    config = _json(model_dir / "config.json", MAX_CONFIG_BYTES)
    shards = sorted(model_dir.glob("*.safetensors"))
    if config is None or not shards:
        raise ArtifactError("the base has no config.json or no *.safetensors")
    digest = hashlib.sha256()
    modules: dict[str, tuple[int, int]] = {}
    try:
        tensors = sorted(_sampled(shards))
    except AdapterRefused as error:
        raise ArtifactError(f"the base cannot be read: {error}") from error
    for name, tensor, sample in tensors:
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode() + sample)
        module, _, part = name.rpartition(".")
        if part == "weight" and len(tensor.shape) == 2 and not _NO_LORA.search(module):
            modules[module] = (tensor.shape[0], tensor.shape[1])
    if not modules:
        raise ArtifactError("the base has no linear layer that an adapter could change")
    known = (
        model_dir.resolve().name,
        str(config.get("_name_or_path") or ""),
        str(config.get("_model_name_or_path") or ""),
    )
    return BaseModules(frozenset(filter(None, map(_short, known))), digest.hexdigest(), modules)


def write_origin(directory: Path, base: BaseModules) -> None:
    """Note in an adapter's directory which base it was trained on; `check_adapter` then goes by that, not by names."""
    (directory / ORIGIN).write_text(json.dumps({"base": base.fingerprint}) + "\n")


def check_adapter(directory: Path, base: BaseModules, max_rank: int) -> AdapterSummary:
    """Check a PEFT LoRA adapter's files against `base`, or raise AdapterRefused.

    Reasons: `not_safetensors` (another format, or a pickle beside it), `truncated`, `bad_config` (not plain LoRA),
    `wrong_base`, `unknown_module`, `wrong_shape`, `rank_too_high`, `missing_pair` (A without B), `not_finite` (NaN,
    infinite, or too large for 16 bits). Reads the weights once (about 0.1 s for 20 MB).
    """
    _refuse_other_formats(directory)
    config = _json(directory / CONFIG, MAX_CONFIG_BYTES)
    if config is None:
        raise AdapterRefused("bad_config", f"{CONFIG} is missing or is no JSON object")
    rank, scale = _rank_and_scale(config)
    if rank > max_rank:
        raise AdapterRefused("rank_too_high", f"rank {rank} is over the engine's maximum of {max_rank}")
    _check_base(directory, config, base)
    weights = directory / WEIGHTS
    tensors = safetensors_header(weights)
    modules = _check_tensors(tensors, base, rank)
    largest = 0.0
    for name, tensor in tensors.items():
        held = _largest(weights, tensor) * (abs(scale) if ".lora_B." in name else 1.0)  # engines fold the scale into B
        if not held <= LARGEST:
            raise AdapterRefused("not_finite", f"{name} holds NaN, infinite or too large values")
        largest = max(largest, held)
    parameters = sum(math.prod(tensor.shape) for tensor in tensors.values())
    return AdapterSummary(rank, scale, modules, parameters, largest)


def safetensors_header(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name. Raises AdapterRefused (`not_safetensors`, `truncated`).

    Tensors must lie one after the other and fill the file, which is what the format asks for.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length < 2 or length > MAX_HEADER_BYTES:
            raise AdapterRefused("not_safetensors", f"{path.name} has no safetensors header")
        raw = stream.read(length)
    if not raw.startswith(b"{"):
        raise AdapterRefused("not_safetensors", f"{path.name} has no safetensors header")
    if len(raw) < length:
        raise AdapterRefused("truncated", f"{path.name} ends within its header")
    try:
        entries = json.loads(raw)
        tensors = {name: _tensor(entry, 8 + length) for name, entry in entries.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AdapterRefused("not_safetensors", f"{path.name} has a malformed header") from error
    end = 8 + length
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise AdapterRefused("not_safetensors", f"{path.name} has gaps or overlaps between its tensors")
        end = tensor.end
    if end != size:
        cut = end > size
        what = "ends before its tensors do" if cut else "goes on after its last tensor"
        raise AdapterRefused("truncated" if cut else "not_safetensors", f"{path.name} {what}")
    return tensors


def _tensor(entry: Mapping[str, object], start: int) -> Tensor:
    """Raises ValueError, TypeError or KeyError for an entry that the format does not allow."""
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(dtype, str) and isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2):
        raise TypeError("malformed tensor entry")
    if any(type(number) is not int or number < 0 for number in [*shape, *offsets]):
        raise ValueError("sizes are whole numbers")
    if offsets[1] - offsets[0] != math.prod(shape) * _WIDTH[dtype]:
        raise ValueError("a tensor's bytes do not match its shape")
    return Tensor(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _sampled(shards: list[Path]) -> Iterator[tuple[str, Tensor, bytes]]:
    """Each tensor of a checkpoint, wherever it lies, with bytes from its beginning, middle and end."""
    for shard in shards:
        with shard.open("rb") as stream:
            for name, tensor in safetensors_header(shard).items():
                size = tensor.end - tensor.begin
                sample = b""
                for offset in (0, size // 2, max(0, size - SAMPLE_BYTES)):
                    stream.seek(tensor.begin + offset)
                    sample += stream.read(min(SAMPLE_BYTES, size - offset))
                yield name, Tensor(tensor.dtype, tensor.shape, 0, size), sample


def _refuse_other_formats(directory: Path) -> None:
    for file in directory.iterdir():
        if file.is_symlink():
            raise AdapterRefused("not_safetensors", f"{file.name} is a link; an adapter holds plain files")
        if file.suffix.lower() in _PICKLES:
            raise AdapterRefused("not_safetensors", f"{file.name} may run code when it is loaded; safetensors only")
    if not (directory / WEIGHTS).is_file():
        raise AdapterRefused("not_safetensors", f"there is no {WEIGHTS}")


def _json(path: Path, limit: int) -> dict[str, object] | None:
    """A file's JSON object, or None where there is none."""
    if not path.is_file() or path.stat().st_size > limit:
        return None
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _rank_and_scale(config: Mapping[str, object]) -> tuple[int, float]:
    for key, plain in _PLAIN.items():
        if config.get(key) not in plain:
            raise AdapterRefused(
                "bad_config", f"{CONFIG}: {key} must be {plain[-1]!r} or absent; only plain LoRA is served"
            )
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if type(rank) is not int or not 1 <= rank <= _MOST:
        raise AdapterRefused("bad_config", f"{CONFIG}: r must be a whole number from 1")
    if type(alpha) not in (int, float) or not -_MOST <= alpha <= _MOST:  # type: ignore[operator]
        raise AdapterRefused("bad_config", f"{CONFIG}: lora_alpha must be a finite number")
    if not isinstance(config.get("target_modules"), (list, str)):
        raise AdapterRefused("bad_config", f"{CONFIG}: target_modules must name the modules")
    return rank, float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)  # type: ignore[arg-type]


def _check_base(directory: Path, config: Mapping[str, object], base: BaseModules) -> None:
    """The fingerprint decides where there is one; else the base's name, by its last part, where there is one."""
    if (directory / ORIGIN).exists():
        origin = _json(directory / ORIGIN, MAX_CONFIG_BYTES)
        if origin is None or origin.get("base") != base.fingerprint:
            raise AdapterRefused("wrong_base", "it was trained on other weights than this service's base")
        return
    name = _short(str(config.get("base_model_name_or_path") or ""))
    if name and name not in base.names:
        held = " or ".join(sorted(base.names))
        raise AdapterRefused("wrong_base", f"it was trained on {name!r}; this service's base is {held}")


def _short(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()


def _check_tensors(tensors: Mapping[str, Tensor], base: BaseModules, rank: int) -> tuple[str, ...]:
    """Each tensor's name, dtype and shape; returns the adapted modules in order."""
    halves: dict[str, set[str]] = {}
    for name, tensor in sorted(tensors.items()):
        found = _TENSOR.fullmatch(name)
        if found is None or found["module"] not in base.modules:
            raise AdapterRefused("unknown_module", f"{name} changes nothing that the base has and LoRA may change")
        out_width, in_width = base.modules[found["module"]]
        expected = (rank, in_width) if found["half"] == "A" else (out_width, rank)
        if tensor.shape != expected:
            raise AdapterRefused("wrong_shape", f"{name} is {tensor.shape}; the base and r ask for {expected}")
        if tensor.dtype not in _SERVED_DTYPES:
            raise AdapterRefused("bad_config", f"{name} is {tensor.dtype}; served are {', '.join(_SERVED_DTYPES)}")
        halves.setdefault(found["module"], set()).add(found["half"])
    for module, present in halves.items():
        if present != {"A", "B"}:
            raise AdapterRefused("missing_pair", f"{module} has lora_{present.pop()} without its other half")
    if not halves:
        raise AdapterRefused("missing_pair", f"{WEIGHTS} holds no tensors")
    return tuple(halves)


def _largest(path: Path, tensor: Tensor) -> float:
    """The largest magnitude in a tensor: NaN where it holds one, infinity where it holds one."""
    largest = 0.0
    with path.open("rb") as stream:
        stream.seek(tensor.begin)
        left = tensor.end - tensor.begin
        while left:
            raw = stream.read(min(SLAB_BYTES, left))
            left -= len(raw)
            peak = _peak(raw, tensor.dtype)
            if math.isnan(peak):
                return peak
            largest = max(largest, peak)
    return largest


def _peak(raw: bytes, dtype: str) -> float:
    """Without their sign bit, IEEE numbers order as their bits do; infinity and then NaN come last."""
    if dtype == "F32":
        top = int((np.frombuffer(raw, "<u4") & 0x7FFF_FFFF).max())
        return float(np.array(top, "<u4").view("<f4"))
    top = int((np.frombuffer(raw, "<u2") & 0x7FFF).max())
    if dtype == "F16":
        return float(np.array(top, "<u2").view("<f2"))
    return float(np.array(top << 16, "<u4").view("<f4"))  # bfloat16 is the upper half of a float32
