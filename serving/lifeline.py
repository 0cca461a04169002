"""Ties an engine's processes to each other's life, so that a killed one leaves nothing running behind it.

vLLM is several processes. When the first is killed with SIGKILL, the ones that hold the weights notice late or never.
`register` is a plug-in that vLLM runs in each of them; there it asks the kernel to end the child with its parent. How
that is asked, and what it cannot do, is thumbwheel/lifeline.py's.
"""

from __future__ import annotations

import multiprocessing

from thumbwheel.lifeline import die_with_parent


def register() -> None:
    """vLLM's general plug-in: in an engine's child process, `die_with_parent`; in its first process, nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:
        die_with_parent(parent.pid)
