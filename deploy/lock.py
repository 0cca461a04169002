"""Writes locks/ from pyproject.toml: `make lock`. Needs `uv` on the PATH and network access to the package index.

vLLM's CPU wheel asks for torchvision, torchaudio and torchcodec, whose published builds are CUDA's and break `import
transformers` beside a CPU torch. Text serving works without them, so the lock leaves them out, and everything is
installed with --no-deps.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).resolve().parent.parent / "locks"
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec")
NOTE = "# Made by `make lock` from pyproject.toml. "


def compile_lock(
    source: str,
    *,
    overrides: Path,
    find_links: str | None,
    extras: tuple[str, ...] = (),
    constraints: Path | None = None,
) -> str:
    """uv's resolution of `source` with every hash."""
    command = [
        "uv",
        "pip",
        "compile",
        source,
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--quiet",
    ]
    command += ["--no-emit-index-url", "--overrides", str(overrides)]
    command += [word for extra in extras for word in ("--extra", extra)]
    if constraints:
        command += ["--constraint", str(constraints)]
    if find_links:
        command += ["--find-links", find_links]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return text.replace("thumbwheel (pyproject.toml)", "thumbwheel")


def split(lock: str, package: str) -> tuple[str, str]:
    """The lock without `package`, and `package`'s own block."""
    own = [block for block in blocks(lock) if block.startswith(f"{package}==")]
    return "".join(block for block in blocks(lock) if block not in own), "".join(own)


def blocks(lock: str) -> list[str]:
    """A package each, with its hashes."""
    return [block for block in re.split(r"(?m)^(?=[A-Za-z0-9])", lock) if block.strip()]


def beyond(lock: str, other: str) -> str:
    """The packages of `lock` that `other` does not have."""
    held = {block.partition("==")[0] for block in blocks(other)}
    return "".join(block for block in blocks(lock) if block.partition("==")[0] not in held)


def main() -> int:
    """Write the four locks. THUMBWHEEL_TORCH_WHEELS names where the CPU wheel of torch lies, for uv's --find-links."""
    with tempfile.TemporaryDirectory() as scratch:
        overrides = Path(scratch) / "overrides.txt"
        overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in LEFT_OUT))
        plain = Path(scratch) / "torch.in"
        plain.write_text("torch==2.13.0\n")
        wheels = os.environ.get("THUMBWHEEL_TORCH_WHEELS")
        rest, torch = split(
            compile_lock("pyproject.toml", overrides=overrides, find_links=wheels, extras=("dev",)), "torch"
        )
        cuda = compile_lock(str(plain), overrides=overrides, find_links=None)
        whole = Path(scratch) / "whole.txt"
        whole.write_text(rest + torch)
        names = compile_lock(
            "pyproject.toml", overrides=overrides, find_links=wheels, extras=("names",), constraints=whole
        )
    if "+cpu" not in torch:
        print("lock: no CPU wheel of torch was found; set THUMBWHEEL_TORCH_WHEELS to where it lies", file=sys.stderr)
        return 1
    (LOCKS / "requirements.lock").write_text(NOTE + "torch is apart: torch-cpu.lock, else torch-cuda.lock.\n" + rest)
    (LOCKS / "torch-cpu.lock").write_text(NOTE + "The CPU build of torch, one wheel of 190 MB.\n" + torch)
    (LOCKS / "torch-cuda.lock").write_text(NOTE + "Plain torch, where no CPU build is to be had.\n" + cuda)
    (LOCKS / "names.lock").write_text(NOTE + "What the extra `names` adds.\n" + beyond(names, rest + torch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
