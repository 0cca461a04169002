"""Feedback with the inference it is on, as curation gets it, for tests: number `n` is of an author of its own, on an
answer of its own to a question of its own."""

from __future__ import annotations

from typing import Any

from feedback.join import Joined


def waiting(n: int, **fields: Any) -> Joined:
    """One that nothing has been decided of."""
    given: dict[str, Any] = {
        "feedback": f"fb-{n}",
        "inference": f"inf-{n}",
        "author": f"u{n}",
        "role": "user",
        "at_ms": n,
        "seq": n,
        "correction": None,
        "state": "waiting",
        "reason": None,
        "messages": [{"role": "user", "content": f"第{n}号订单什么时候发货"}],
        "answer": f"第{n}号订单还没有发货。",
    }
    return Joined(**{**given, **fields})


def thumb(n: int, way: str | None = "down", **fields: Any) -> Joined:
    """A thumb without a correction."""
    return waiting(n, **{"reason": "no_correction", "thumb": way, **fields})
