"""How much one key may have under way at a time, in one worker: several together allow so many times as much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from thumbwheel.errors import RateLimited
from thumbwheel.records import Key


class InFlight:
    """Counts requests under way by key, in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All requests under way in this worker."""
        return self._counts.total()

    @contextmanager
    def entered(self, key: Key) -> Iterator[None]:
        """Hold one place for `key`. Raises RateLimited when all are taken."""
        if self._counts[key.id] >= self._most:
            raise RateLimited(
                f"This key has {self._most} requests under way, which is its limit. Try again when one has ended.",
                code="rate_limit_exceeded",
                retry_after=1,
            )
        self._counts[key.id] += 1
        try:
            yield
        finally:
            self._counts[key.id] -= 1
            if not self._counts[key.id]:
                del self._counts[key.id]
