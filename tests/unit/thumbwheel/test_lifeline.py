"""A tied process ends with its parent, even where the parent is killed, and one that cannot be tied does not run."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys

import pytest

from tests.killed_parent import ROOT, takes_its_child_along
from thumbwheel.lifeline import tie

STARTS_TIED = """
import signal, subprocess, sys, time
from thumbwheel.lifeline import tie
child = subprocess.Popen(["/bin/sleep", "60"], preexec_fn=tie(signal.Signals[sys.argv[1]]))
print(child.pid, flush=True)
time.sleep(60)
"""
STARTS_ONE_THAT_TIES_ITSELF = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
TIES_ITSELF = """
import os, time
from thumbwheel.lifeline import die_with_parent
die_with_parent(os.getppid())
print("tied", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    "script", [(STARTS_TIED, "SIGKILL"), (STARTS_TIED, "SIGTERM"), (STARTS_ONE_THAT_TIES_ITSELF, TIES_ITSELF)]
)
def test_a_killed_parent_takes_its_tied_child_along(script: tuple[str, ...]) -> None:
    assert takes_its_child_along(*script)


def test_a_process_whose_parent_is_gone_already_ends_at_once() -> None:
    script = "from thumbwheel.lifeline import die_with_parent; die_with_parent(1 << 22); print('lived')"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 1 and "is gone" in ended.stderr and "lived" not in ended.stdout


def test_a_child_that_the_kernel_will_not_tie_does_not_run() -> None:
    no_signal = 9_999
    child = subprocess.run(["/bin/echo", "untied"], preexec_fn=tie(no_signal), capture_output=True)
    assert (child.returncode, child.stdout) == (127, b"")


def test_between_fork_and_exec_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    tied = tie(signal.SIGKILL)
    monkeypatch.setattr(ctypes, "CDLL", None)  # to load a library in the child would fail now
    assert subprocess.run(["/bin/true"], preexec_fn=tied).returncode == 0
