"""A tied process ends with its parent, even where the parent is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[3]

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
CHILD = """
import os, time
from serving.lifeline import die_with_parent
die_with_parent(os.getppid())
print("tied", flush=True)
time.sleep(60)
"""
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


def child_of_killed(*arguments: str) -> psutil.Process:
    """Start a script that prints its child's pid, kill it, and return the child."""
    command = [sys.executable, "-c", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
        parent.wait()
    return child


def test_a_killed_parent_takes_its_tied_child_along() -> None:
    child = child_of_killed(PARENT, CHILD)
    assert psutil.wait_procs([child], timeout=5)[1] == []


def test_the_plug_in_ties_an_engines_child_processes() -> None:
    child = child_of_killed(SPAWNED)
    assert psutil.wait_procs([child], timeout=5)[1] == []


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    script = "from serving.lifeline import die_with_parent; die_with_parent(1 << 22); print('lived')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1 and "is gone" in ended.stderr and "lived" not in ended.stdout
