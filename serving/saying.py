"""What people say, as the gateway understands it: feedback on an answer, and reviews of feedback.

Pure: a body makes a `Said` or a ReviewEvent, or an error that names the field. Whether its sender may say it, others
ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from serving.fields import invalid_value
from thumbwheel import adjudication
from thumbwheel.agreement import HIGHEST, LOWEST, WEIGHTS
from thumbwheel.errors import InvalidRequest
from thumbwheel.events import MAX_NAME_CHARS, MAX_TAG_CHARS, ReviewEvent

MAX_TEXT = 64 * 1024
MAX_TAGS = 32
MAX_METRICS = 32
MAX_REASON = 2_000
REVIEW = ("feedback", "verdict", "target", "reason", "scores", "reviewer", "role", "proposal")
CONTENT = ("thumb", "score", "comment", "correction", "tags", "metrics")
UNSAID = (("comment", ""), ("correction", ""))


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
    given = {name: value for name, value in body.items() if value is not None and (name, value) not in UNSAID}
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
            raise invalid_value(name, "a string that is not blank; leave it out instead")
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


def parse_review(body: Mapping[str, Any], channel: str, now_ms: int, key: str) -> ReviewEvent:
    """A review without an id yet, by the key's holder where it names no reviewer. Raises InvalidRequest."""
    for name in body:
        if name not in REVIEW:
            raise InvalidRequest(f"`{name[:64]}` is no field of a review.", param=name[:64], code="unknown_field")
    given = {name: value for name, value in body.items() if value is not None}
    for name in ("feedback", "verdict"):
        if name not in given:
            raise InvalidRequest(f"`{name}` is missing.", param=name, code="missing_field")
    limits = {"target": MAX_TEXT, "reason": MAX_REASON}
    for name in REVIEW:
        limit = limits.get(name, MAX_NAME_CHARS)
        value = given.get(name, "set")
        if name != "scores" and not (isinstance(value, str) and value.strip() and len(value) <= limit):
            raise invalid_value(name, f"a string of 1 to {limit} characters")
    for name in ("feedback", "proposal", "reviewer"):
        if "\0" in given.get(name, ""):  # of which PostgreSQL knows none
            raise invalid_value(name, "a name or an id, which holds no NUL")
    verdict, role = given["verdict"], given.get("role", adjudication.REVIEWER)
    if verdict not in adjudication.VERDICTS:
        raise invalid_value("verdict", f"one of {', '.join(adjudication.VERDICTS)}")
    if role not in adjudication.ROLES:
        raise invalid_value("role", f"one of {', '.join(adjudication.ROLES)}")
    if (verdict == adjudication.EDIT) != ("target" in given):
        code = "missing_field" if verdict == adjudication.EDIT else "invalid_value"
        raise InvalidRequest("`target` goes with the verdict `edit`, and with no other.", param="target", code=code)
    if verdict == adjudication.REFUSE and "reason" not in given:
        raise InvalidRequest("A refusal says its `reason`.", param="reason", code="missing_field")
    return ReviewEvent(
        id="",
        feedback=given["feedback"],
        channel=channel,
        at_ms=now_ms,
        reviewer=given.get("reviewer", key),
        verdict=verdict,
        role=role,
        target=given.get("target"),
        reason=given.get("reason"),
        proposal=given.get("proposal"),
        scores=_scores(given.get("scores", {})),
    )


def _scores(value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not value.keys() <= WEIGHTS.keys():
        raise invalid_value("scores", f"an object of {', '.join(WEIGHTS)}")
    for name, score in value.items():
        if isinstance(score, bool) or not isinstance(score, int) or not LOWEST <= score <= HIGHEST:
            raise invalid_value(f"scores.{name}", f"a whole number from {LOWEST} to {HIGHEST}")
    return dict(value)
