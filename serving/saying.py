"""One feedback as the gateway understands it: of which answer, what was said of it, and by whom where a key says so.

Pure: a body makes a `Said`, or an error that names the field. Whether its sender may say it, feedback_api asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from serving.fields import MAX_NAME_CHARS, invalid_value
from thumbwheel.errors import InvalidRequest

MAX_TEXT = 64 * 1024
MAX_TAGS, MAX_TAG_CHARS = 32, 128
MAX_METRICS = 32
CONTENT = ("thumb", "score", "comment", "correction", "tags", "metrics")


@dataclass(frozen=True)
class Said:
    """A feedback's content, checked."""

    inference: str
    thumb: str | None = None
    score: float | None = None
    comment: str | None = None
    correction: str | None = None
    tags: tuple[str, ...] = ()
    metrics: Mapping[str, bool | float] = field(default_factory=dict)
    author: str | None = None

    @property
    def content(self) -> bytes:
        """The same content has the same bytes, in whatever order it was sent."""
        return msgspec.json.encode(
            [self.thumb, self.score, self.comment, self.correction, sorted(self.tags), self.metrics], order="sorted"
        )


def parse_feedback(body: Mapping[str, Any]) -> Said:
    """Raises InvalidRequest naming the field."""
    for name in body:
        if name not in (*CONTENT, "inference_id", "author"):
            shown = name[:64]
            raise InvalidRequest(f"`{shown}` is no field of a feedback.", param=shown, code="unknown_field")
    given = {name: value for name, value in body.items() if value is not None}
    inference = given.pop("inference_id", None)
    if not isinstance(inference, str) or not inference:
        raise InvalidRequest("`inference_id` is the `id` of the answer.", param="inference_id", code="missing_field")
    if given.get("thumb", "up") not in ("up", "down"):
        raise invalid_value("thumb", '"up" or "down"')
    score = given.get("score")
    if score is not None and (isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1):
        raise invalid_value("score", "a number from 0 to 1")
    for name, limit in (("comment", MAX_TEXT), ("correction", MAX_TEXT), ("author", MAX_NAME_CHARS)):
        if name in given and (not isinstance(given[name], str) or len(given[name]) > limit):
            raise invalid_value(name, f"a string of at most {limit} characters")
        if name in given and not given[name].strip():
            raise invalid_value(name, "a string that is not empty; leave it out instead")
    tags, metrics = given.get("tags", []), given.get("metrics", {})
    if (
        not isinstance(tags, list)
        or len(tags) > MAX_TAGS
        or not all(isinstance(tag, str) and 0 < len(tag) <= MAX_TAG_CHARS for tag in tags)
    ):
        raise invalid_value("tags", f"a list of at most {MAX_TAGS} strings of 1 to {MAX_TAG_CHARS} characters")
    if not isinstance(metrics, dict) or len(metrics) > MAX_METRICS:
        raise invalid_value("metrics", f"an object of at most {MAX_METRICS} names")
    for name, value in metrics.items():
        if not 0 < len(name) <= MAX_TAG_CHARS or not isinstance(value, bool | int | float) or abs(value) > 1e15:
            raise invalid_value(f"metrics.{name[:64]}", "true, false or a number")
    if not any(given.get(name) not in (None, [], {}) for name in CONTENT):
        raise InvalidRequest(f"A feedback holds at least one of {', '.join(CONTENT)}.", code="empty_feedback")
    return Said(
        inference=inference,
        thumb=given.get("thumb"),
        score=None if score is None else float(score),
        comment=given.get("comment"),
        correction=given.get("correction"),
        tags=tuple(tags),
        metrics=metrics,
        author=given.get("author"),
    )
