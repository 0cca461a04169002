"""Ties a process to its parent's life, so that a killed supervisor or engine leaves nothing running behind it.

vLLM is several processes. When the first is killed with SIGKILL, the ones that hold the weights notice late or never.
`register` is a plug-in that vLLM runs in each of them; there it asks the kernel to end the child with its parent.

It does not know: the kernel watches the *thread* that started the child, so whoever starts a tied process must do it
from a thread that lives as long as the child should. It is Linux's own means; there is none elsewhere.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have this process killed (SIGKILL) when its parent, of pid `parent`, ends; exits at once where it already has.

    The setting outlives execve, not fork. Raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the kernel was asked
        raise SystemExit("the process that started this one is gone")


def register() -> None:
    """vLLM's general plug-in: in an engine's child process, `die_with_parent`; in its first process, nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
