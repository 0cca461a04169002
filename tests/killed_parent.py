"""A parent that is killed, and what becomes of the child that it started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]


def takes_its_child_along(*script: str) -> bool:
    """Whether the child of `python -c *script`, whose pid that prints, ends within 5 s of its parent's SIGKILL."""
    command = [sys.executable, "-c", *script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
    return psutil.wait_procs([child], timeout=5)[1] == []
