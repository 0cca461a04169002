"""Ties a process to its parent's life, so that a killed parent leaves nothing running behind it.

The kernel is asked for a signal at the parent's end (PR_SET_PDEATHSIG): by `tie` between fork and exec of a child that
is about to start, by `die_with_parent` in a process that runs. The setting outlives execve, not fork.

It does not know: the kernel watches the *thread* that started the child, so whoever starts a tied process must do it
from a thread that lives as long as the child should. It is Linux's own means; there is none elsewhere.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def tie(death_signal: int) -> Callable[[], None]:
    """A `preexec_fn`: the child gets `death_signal` when this thread ends. A child that cannot be tied exits with 127.

    Call it in the parent. Everything is looked up here: between fork and exec another thread's locks may be held for
    ever, so nothing may be imported or loaded there.
    """
    parent = os.getpid()
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def made() -> None:
        if prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0 or os.getppid() != parent:
            os._exit(127)  # the kernel refused, or the parent died before the tie was made

    return made


def die_with_parent(parent: int) -> None:
    """Have this process killed (SIGKILL) when its parent, of pid `parent`, ends; exits at once where it already has.

    Raises OSError where the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:  # it ended before the kernel was asked
        raise SystemExit("the process that started this one is gone")
