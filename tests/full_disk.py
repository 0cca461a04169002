"""A disk without room, for tests: this process can write no further into any file than so many bytes.

The kernel itself refuses, through SQLite and everything else: it takes what still fits and then says EFBIG, where a
full disk says ENOSPC. tests/integration/test_full_disk.py has a file system that really is full.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_room(over: int = 0) -> Iterator[None]:
    """While it lasts, no file can be written at an offset of `over` bytes or more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (over, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
