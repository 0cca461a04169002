"""A vLLM plug-in that corrects LoRA on the CPU backend: a base request is never answered by an adapter.

vLLM 0.32's CPU operations take the index -1 (no adapter) for the last slot (vLLM issue 48421), so a base request in one
batch with adapter requests is answered by an adapter, and they are slow. `register` has vLLM build `DensePunicaCPU`
instead of its own class. On other platforms it does nothing: their kernels skip -1.

Which class serves is decided by what the stock operation does, tried on two numbers at start. Where it is right, stock
is left alone. Where it is wrong and the version is one that the replacement was written for, it is replaced. Where it
is wrong and the version is unknown, the engine does not start: a wrong release's answers are worse than none.
"""

from __future__ import annotations

import logging
import re
from enum import Enum

LOG = logging.getLogger("vllm.thumbwheel.lora_cpu")  # below vLLM's logger, so that its handlers write it
KNOWN_VERSIONS = re.compile(r"0\.32\.\d+")
REPLACEMENT = "serving.punica_dense.DensePunicaCPU"


class Arithmetic(Enum):
    """Whose LoRA operations an engine is to use."""

    STOCK = "stock"
    DENSE = "dense"
    NEITHER = "neither"


def choose(version: str, stock_is_right: bool) -> Arithmetic:
    """The decision described at the top of this module, for a CPU backend."""
    if stock_is_right:
        return Arithmetic.STOCK
    return Arithmetic.DENSE if KNOWN_VERSIONS.fullmatch(version) else Arithmetic.NEITHER


def stock_skips_minus_one() -> bool:
    """Whether the stock expand operation leaves a token of index -1 as it was."""
    import torch
    from vllm.lora.ops.torch_ops import bgmv_expand

    output = torch.zeros(1, 1)
    bgmv_expand(torch.ones(1, 1), torch.ones(1, 1, 1, 1), output, torch.tensor([-1]), True)
    return bool(output.item() == 0.0)


def register() -> None:
    """vLLM's general plug-in; runs in each of its processes. Raises RuntimeError where no arithmetic is right."""
    # Imported here and not at the top: vLLM logs a plug-in that cannot be imported and goes on without it, which
    # would be the fault that this one is for. What `register` raises ends the engine.
    import vllm
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    version: str = vllm.__version__
    choice = choose(version, stock_skips_minus_one())
    if choice is Arithmetic.NEITHER:
        raise RuntimeError(
            f"vLLM {version} mixes adapters up on CPUs and thumbwheel knows how to mend 0.32 only; install that version"
        )
    if choice is Arithmetic.DENSE:
        from vllm.platforms.cpu import CpuPlatform

        import serving.punica_dense  # noqa: F401  # fails here, loudly, if vLLM's class is not where it was

        CpuPlatform.get_punica_wrapper = classmethod(lambda cls: REPLACEMENT)
    LOG.info("LoRA on the CPU: %s operations (vLLM %s)", choice.value, version)
