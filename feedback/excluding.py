"""Which feedback may teach no more, by the channel's exclusions: a pure function.

It goes before duplicates are looked for, so whoever said the same keeps the row; and it does not bring back what its
author had said before and then taken back.
"""

from __future__ import annotations

from collections.abc import Iterable

from feedback.join import Joined
from thumbwheel.events import ExclusionEvent
from thumbwheel.exclusions import holding


def excluded(rows: Iterable[Joined], said: Iterable[ExclusionEvent]) -> frozenset[str]:
    """The ids of the feedback that is excluded."""
    exclusions = holding(said)
    return frozenset(row.feedback for row in rows if exclusions.of(row.feedback, row.inference, row.author) is not None)
