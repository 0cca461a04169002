"""Reads channel policies as PUT /admin/v1/channels/{name} takes them: unknown keys and values are refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from thumbwheel.errors import InvalidRequest
from thumbwheel.records import Clean, Policies, Stage
from thumbwheel.scorers import parse_scorer

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
CHOICES = {
    "log": ("off", "metadata", "full"),
    "trust": ("single-user", "two-sources", "reviewed"),
    "compression": ("none",),
}
LATER = {
    "compression": ("merge", "quantized-base"),
}
POLICIES = tuple(field.name for field in fields(Policies))
CLEAN_KEYS = tuple(field.name for field in fields(Clean))
STAGE_KEYS = ("weight", "min_units", "min_requests", "deadline_s")
MAX_SCORERS, MAX_STAGES = 16, 20
MAX_TERMS, MAX_TERM_CHARS = 1_000, 200  # of `blocked_terms` and of `allow`, each
MOST = 1_000_000_000  # of corrections, units, requests or seconds that a policy can wait for


def check_name(name: str) -> str:
    """A channel's name. Raises InvalidRequest."""
    if not NAME.fullmatch(name):
        raise InvalidRequest(
            "A channel's name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and starts with a letter or digit.",
            param="name",
        )
    return name


def parse_changes(body: object) -> dict[str, Any]:
    """The policies that `body` changes, by the names of `Policies`. Raises InvalidRequest naming the key.

    A scorer's schema can take seconds to check.
    """
    if not isinstance(body, Mapping):
        raise InvalidRequest("The body is a JSON object of policies; {} keeps them as they are.")
    changes: dict[str, Any] = {}
    for key, value in body.items():
        if key not in POLICIES:
            known = ", ".join(sorted(POLICIES))
            raise InvalidRequest(f"`{key}` is no channel policy. Known: {known}.", param=str(key))
        changes[key] = _value(key, value)
    return changes


def _value(key: str, value: object) -> Any:
    if key in CHOICES:
        if value in LATER.get(key, ()):
            raise InvalidRequest(f"`{key}: {value}` is not available in this version.", param=key)
        if value not in CHOICES[key]:
            raise InvalidRequest(f"`{key}` is one of {', '.join(CHOICES[key])}.", param=key)
        return value
    if key in ("train", "auto_rollout"):
        if not isinstance(value, bool):
            raise InvalidRequest(f"`{key}` is true or false.", param=key)
        return value
    if key == "train_after":
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST):
            raise InvalidRequest(f"`train_after` is a whole number of corrections, 1 to {MOST}, or null.", param=key)
        return value
    if key == "scorers":
        if not isinstance(value, list) or len(value) > MAX_SCORERS:
            raise InvalidRequest(f"`scorers` is a list of at most {MAX_SCORERS}.", param=key)
        for scorer in value:
            parse_scorer(scorer)
        return tuple(value)
    return parse_clean(value) if key == "clean" else parse_stages(value)


def parse_clean(value: object) -> Clean:
    """What a channel adds to the cleaning; a key left out has its default. Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise InvalidRequest('`clean` is an object such as {"blocked_terms": [], "allow": []}.', param="clean")
    for key in value:
        if key not in CLEAN_KEYS:
            raise InvalidRequest(f"`{key}` is no key of `clean`. Known: {', '.join(CLEAN_KEYS)}.", param=f"clean.{key}")
    least, most = (_chars(key, value.get(key)) for key in ("min_chars", "max_chars"))
    if least is not None and most is not None and least > most:
        raise InvalidRequest("`min_chars` is at most `max_chars`.", param="clean.min_chars")
    return Clean(
        blocked_terms=_terms("blocked_terms", value.get("blocked_terms", [])),
        allow=_terms("allow", value.get("allow", [])),
        min_chars=least,
        max_chars=most,
    )


def _terms(key: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_TERMS:
        raise InvalidRequest(f"`{key}` is a list of at most {MAX_TERMS} strings.", param=f"clean.{key}")
    for term in value:
        if not isinstance(term, str) or not 1 <= len(term.strip()) <= len(term) <= MAX_TERM_CHARS:
            raise InvalidRequest(
                f"Each of `{key}` is a string of 1 to {MAX_TERM_CHARS} characters, not of blanks alone.",
                param=f"clean.{key}",
            )
    return tuple(value)


def _chars(key: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST):
        raise InvalidRequest(f"`{key}` is a whole number of characters, 1 to {MOST}, or null.", param=f"clean.{key}")
    return value


def parse_stages(value: object) -> tuple[Stage, ...]:
    """The stages of a rollout: weights rise, the last is 100. Raises InvalidRequest."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_STAGES:
        raise InvalidRequest(f"`stages` is a list of 1 to {MAX_STAGES} stages.", param="stages")
    stages = tuple(_stage(raw) for raw in value)
    weights = [stage.weight for stage in stages]
    if weights != sorted(set(weights)) or weights[-1] != 100.0:
        raise InvalidRequest("The stages' weights rise and the last is 100 (percent).", param="stages")
    return stages


def _stage(raw: object) -> Stage:
    if not isinstance(raw, Mapping) or "weight" not in raw:
        raise InvalidRequest('A stage is an object such as {"weight": 5, "min_requests": 20}.', param="stages")
    for key in raw:
        if key == "margins":
            raise InvalidRequest("`margins` is not available in this version.", param="stages.margins")
        if key not in STAGE_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of a stage. Known: {', '.join(STAGE_KEYS)}.", param=f"stages.{key}"
            )
    for key, value in raw.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
            raise InvalidRequest(f"`{key}` of a stage is a number from 0 to {MOST}.", param=f"stages.{key}")
        if key.startswith("min_") and value != int(value):
            raise InvalidRequest(f"`{key}` of a stage is a whole number.", param=f"stages.{key}")
    if not 0 < raw["weight"] <= 100:
        raise InvalidRequest("A stage's `weight` is over 0 and at most 100 (percent).", param="stages.weight")
    return Stage(
        weight=float(raw["weight"]),
        min_units=int(raw.get("min_units", Stage.min_units)),
        min_requests=int(raw.get("min_requests", Stage.min_requests)),
        deadline_s=float(raw.get("deadline_s", Stage.deadline_s)),
    )
