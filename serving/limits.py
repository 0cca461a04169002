"""How much one key may have under way at a time, in one worker: several together allow so many times as much.

Feedback tokens, which anyone may hold who was given an answer, count together as if they were one key.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from thumbwheel.errors import RateLimited

TOKENS = "feedback tokens"


class InFlight:
    """Counts requests under way by key's id, or under TOKENS, in memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """All requests under way in this worker."""
        return self._counts.total()

    @contextmanager
    def entered(self, holder: str) -> Iterator[None]:
        """Hold one place for a key's id or TOKENS. Raises RateLimited when all are taken."""
        if self._counts[holder] >= self._most:
            who = "All feedback tokens together have" if holder == TOKENS else "This key has"
            raise RateLimited(
                f"{who} {self._most} requests under way, which is the limit. Try again when one has ended.",
                code="rate_limit_exceeded",
                retry_after=1,
            )
        self._counts[holder] += 1
        try:
            yield
        finally:
            self._counts[holder] -= 1
            if not self._counts[holder]:
                del self._counts[holder]
