"""The time that a scorer may take over one answer: a channel's pattern or schema can cost more than any run has.

A pattern such as `^(a+)+$` doubles its work with each further letter. A person finds that out from the run's
reason, and not from a run that never ends. It works in a process's main thread, where an evaluation does its sums.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from thumbwheel.errors import JobError


class _TookTooLong(Exception):
    pass


def _end(*_: object) -> None:
    raise _TookTooLong


@contextmanager
def bounded(label: str, most_s: float) -> Iterator[None]:
    """One scorer's work over one answer; broken off after `most_s`. Raises JobError, which names it by `label`."""
    before = signal.signal(signal.SIGVTALRM, _end)
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, most_s)
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _TookTooLong:
        raise JobError(
            f"{label} took over {most_s:g} s on one answer; simplify its pattern or schema, then try again"
        ) from None
    finally:
        signal.signal(signal.SIGVTALRM, before)
