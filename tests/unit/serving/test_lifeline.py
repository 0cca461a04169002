"""An engine's processes end with the first of them, even where it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]

SPAWNED = """
import multiprocessing, time
from serving.lifeline import register

def live(ready):
    register()
    ready.set()
    time.sleep(60)

if __name__ == "__main__":
    register()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    child = context.Process(target=live, args=(ready,))
    child.start()
    ready.wait()
    print(child.pid, flush=True)
    time.sleep(60)
"""


def test_the_plug_in_ties_an_engines_child_processes() -> None:
    command = [sys.executable, "-c", SPAWNED]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
    assert psutil.wait_procs([child], timeout=5)[1] == []
