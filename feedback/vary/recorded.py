"""What a model said in other words, as it was recorded before curation: pure functions.

An event is of one wording of one question: its id follows from both, so that what was said of another text, or before
names were taken out of it, counts for nothing. What a model says is not trusted to mean the same. It has to be of the
same script, of no other length than a sentence can be said in, to hold the same numbers, names, codes, negations and
placeholders, and no personal data more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from feedback.clean import clean, compared, width
from feedback.near import marks
from feedback.vary.fixed import draw
from thumbwheel.events import ComputedEvent
from thumbwheel.ids import digest32
from thumbwheel.redact import find
from thumbwheel.scripts import script_of

PARAPHRASE, BACK_TRANSLATION = KINDS = ("paraphrase", "back_translation")
LEAST, MOST = 0.4, 2.5  # of the question's width
SLACK = 10  # columns that it may be wider than that

EMPTY, THE_SAME, OTHER_SCRIPT, OTHER_LENGTH, OTHER_MARKS, PERSONAL = (
    "empty",
    "the_same",
    "other_script",
    "other_length",
    "other_marks",
    "personal_data",
)


def event_id(kind: str, feedback: str, model: str, question: str) -> str:
    """The same for the same question in the same feedback, however often the model is asked."""
    return f"computed-{digest32(json.dumps([kind, feedback, model, question]).encode(), 26)}"


def fault(question: str, text: str) -> str | None:
    """Why `text` is no other wording of `question`; None where nothing is known."""
    if not text.strip() or text != clean(text).strip():
        return EMPTY
    if compared(text) == compared(question):
        return THE_SAME
    if script_of(text) != script_of(question):
        return OTHER_SCRIPT
    if not LEAST * width(question) <= width(text) <= MOST * width(question) + SLACK:
        return OTHER_LENGTH
    if Counter(marks(text)) != Counter(marks(question)):
        return OTHER_MARKS
    return PERSONAL if len(find(text)) > len(find(question)) else None


def by_feedback(events: Iterable[ComputedEvent]) -> dict[tuple[str, str], tuple[ComputedEvent, ...]]:
    """The events of these kinds, by kind and feedback, ordered by id, without those that hold nothing (any more)."""
    found: dict[tuple[str, str], list[ComputedEvent]] = {}
    for event in sorted(events, key=lambda event: event.id):
        if event.what in KINDS and isinstance(event.value, str):
            found.setdefault((event.what, event.feedback), []).append(event)
    return {key: tuple(some) for key, some in found.items()}


def recorded(
    events: Mapping[tuple[str, str], tuple[ComputedEvent, ...]], kind: str, feedback: str, question: str, seed: str
) -> ComputedEvent | None:
    """One of the wordings that are recorded of the question, drawn by `seed`."""
    fit = [
        event
        for event in events.get((kind, feedback), ())
        if event.id == event_id(kind, feedback, event.model, question) and fault(question, str(event.value)) is None
    ]
    return fit[draw(seed, kind) % len(fit)] if fit else None
