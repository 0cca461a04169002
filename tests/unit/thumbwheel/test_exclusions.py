from __future__ import annotations

import itertools

from thumbwheel.events import ExclusionEvent
from thumbwheel.exclusions import holding


def exclusion(n: int, what: str, value: str, **fields: bool) -> ExclusionEvent:
    return ExclusionEvent(f"exclusion-{n}", n, "ann", what, value, "support", "because", **fields)


def test_a_feedback_is_excluded_by_its_id_its_inference_or_its_author() -> None:
    said = [exclusion(1, "feedback", "fb-1"), exclusion(2, "inference", "inf-2"), exclusion(3, "author", "u3")]
    held = holding(said)
    assert held.of("fb-1", "inf-1", "u1") == said[0]
    assert held.of("fb-2", "inf-2", None) == said[1]
    assert held.of("fb-3", "inf-3", "u3") == said[2]
    assert held.of("fb-4", "inf-4", "u4") is None
    assert held.of("inf-2", "u3", "fb-1") is None


def test_the_latest_word_holds_in_whatever_order_they_come() -> None:
    said = [
        exclusion(1, "author", "u1"),
        exclusion(2, "author", "u1", withdrawn=True),
        exclusion(3, "feedback", "fb-1", withdrawn=True),
        exclusion(4, "feedback", "fb-1"),
    ]
    for order in itertools.permutations(said):
        held = holding(order)
        assert held.of("fb-2", "inf-1", "u1") is None
        assert held.of("fb-1", "inf-1", "u1") == said[3]
