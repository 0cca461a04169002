"""What is excluded from teaching: one feedback, all feedback on one inference, or all of one author in a channel. Pure.

The latest word on the same thing holds, so an exclusion can be withdrawn. It bears on datasets from then on: one that
is frozen stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from thumbwheel.events import ExclusionEvent

FEEDBACK, INFERENCE, AUTHOR = "feedback", "inference", "author"
KINDS = (FEEDBACK, INFERENCE, AUTHOR)


@dataclass(frozen=True)
class Exclusions:
    """The exclusions of one channel that hold, by what they exclude."""

    held: dict[tuple[str, str], ExclusionEvent]

    def of(self, feedback: str, inference: str, author: str | None) -> ExclusionEvent | None:
        """The one by which this feedback is excluded, or None."""
        by = ((FEEDBACK, feedback), (INFERENCE, inference), (AUTHOR, author or ""))
        return next((self.held[one] for one in by if one in self.held), None)


def holding(said: Iterable[ExclusionEvent]) -> Exclusions:
    """What holds of all that was said of one channel, in whatever order it comes."""
    latest = {(one.what, one.value): one for one in sorted(said, key=lambda one: (one.at_ms, one.id))}
    return Exclusions({thing: one for thing, one in latest.items() if not one.withdrawn})
