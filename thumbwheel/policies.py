"""Reads channel policies as PUT /admin/v1/channels/{name} takes them: unknown keys and values are refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from thumbwheel.errors import InvalidRequest
from thumbwheel.records import Augment, Clean, Mix, Policies, Stage
from thumbwheel.scorers import parse_scorer

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
CHOICES = {
    "log": ("off", "metadata", "full"),
    "trust": ("single-user", "two-sources", "reviewed"),
    "uncorrected": ("wait", "kto", "propose"),
    "compression": ("none",),
}
LATER = {
    "compression": ("merge", "quantized-base"),
}
REVIEWS = (1, 2)
POLICIES = tuple(field.name for field in fields(Policies))
CLEAN_KEYS = tuple(field.name for field in fields(Clean))
MIX_KEYS = tuple(field.name for field in fields(Mix))
REPLAY_KEYS = ("replay", "general", "general_replay", "replay_share", "replay_rows")
"""What somebody may take for keys of `mix`: replay of general prompts is the recipe's."""
AUGMENT_KEYS = tuple(field.name for field in fields(Augment))
AUGMENT_KINDS = ("synonyms", "noise", "terms", "paraphrase", "back_translation")
STAGE_KEYS = ("weight", "min_units", "min_requests", "deadline_s")
MAX_SCORERS, MAX_STAGES = 16, 20
MAX_TERMS, MAX_TERM_CHARS = 1_000, 200  # of each list of words that a policy holds, and of each word
MAX_GROUP, MAX_PER_ROW = 20, 4  # words that stand for each other; augmented rows of one row
SUM_WITHIN = 1e-6  # of 1, what the shares of a mix add up to
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
            raise InvalidRequest(f"`{key}` is no channel policy. Known: {known}.", param=str(key), code="unknown_field")
        changes[key] = _value(key, value)
    return changes


def _value(key: str, value: object) -> Any:
    if key in CHOICES:
        if value in LATER.get(key, ()):
            raise InvalidRequest(
                f"`{key}: {value}` is not available in this version.", param=key, code="not_available_yet"
            )
        if value not in CHOICES[key]:
            raise InvalidRequest(f"`{key}` is one of {', '.join(CHOICES[key])}.", param=key)
        return value
    if key in ("train", "auto_rollout"):
        if not isinstance(value, bool):
            raise InvalidRequest(f"`{key}` is true or false.", param=key)
        return value
    if key == "reviews":
        if isinstance(value, bool) or not isinstance(value, int) or value not in REVIEWS:
            raise InvalidRequest("`reviews` is 1, or 2 for two reviewers who do not see each other's word.", param=key)
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
    return PARSERS[key](value)


def parse_clean(value: object) -> Clean:
    """What a channel adds to the cleaning; a key left out has its default. Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise InvalidRequest('`clean` is an object such as {"blocked_terms": [], "allow": []}.', param="clean")
    for key in value:
        if key not in CLEAN_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of `clean`. Known: {', '.join(CLEAN_KEYS)}.",
                param=f"clean.{key}",
                code="unknown_field",
            )
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
    return tuple(_term(f"clean.{key}", term) for term in value)


def _term(param: str, term: object) -> str:
    if not isinstance(term, str) or not 1 <= len(term.strip()) <= len(term) <= MAX_TERM_CHARS:
        key = param.rpartition(".")[2]
        raise InvalidRequest(
            f"Each of `{key}` is a string of 1 to {MAX_TERM_CHARS} characters, not of blanks alone.", param=param
        )
    return term


def _chars(key: str, value: object) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST):
        raise InvalidRequest(f"`{key}` is a whole number of characters, 1 to {MOST}, or null.", param=f"clean.{key}")
    return value


def parse_mix(value: object) -> Mix:
    """Which rows a channel's datasets have room for; a key left out has its default. Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise InvalidRequest('`mix` is an object such as {"shares": {"reasoning": 0.2, "dialogue": 0.8}}.', param="mix")
    for key in value:
        if key in REPLAY_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of `mix`: how much of general prompts is replayed is the recipe's to say "
                "(`replay_rows` and `replay_weight` of the YAML that the setting `recipe_config` names).",
                param=f"mix.{key}",
                code="unknown_field",
            )
        if key not in MIX_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of `mix`. Known: {', '.join(MIX_KEYS)}.", param=f"mix.{key}", code="unknown_field"
            )
    shares, days = value.get("shares", {}), value.get("max_age_days")
    if not isinstance(shares, Mapping) or len(shares) > MAX_TERMS:
        raise InvalidRequest(f"`shares` holds at most {MAX_TERMS} tags with a share each.", param="mix.shares")
    parsed = {_term("mix.shares", tag): _share("shares", share) for tag, share in shares.items()}
    other = None if value.get("other") is None else _share("other", value["other"])
    if other is not None and not parsed:
        raise InvalidRequest("`other` is beside `shares`; without any tag there is none.", param="mix.other")
    if parsed and abs(sum(parsed.values()) + (other or 0.0) - 1) > SUM_WITHIN:
        raise InvalidRequest("The shares, with `other` where it is given, add up to 1.", param="mix.shares")
    if days is not None and (isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= MOST):
        raise InvalidRequest(f"`max_age_days` is a whole number, 1 to {MOST}, or null.", param="mix.max_age_days")
    return Mix(parsed, other, days)


def _share(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidRequest("A share is a number from 0 to 1.", param=f"mix.{key}")
    return float(value)


def parse_augment(value: object) -> Augment:
    """How training questions are varied; a key left out has its default. Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise InvalidRequest('`augment` is an object such as {"kinds": ["synonyms", "noise"]}.', param="augment")
    for key in value:
        if key not in AUGMENT_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of `augment`. Known: {', '.join(AUGMENT_KEYS)}.",
                param=f"augment.{key}",
                code="unknown_field",
            )
    kinds, per_row = value.get("kinds", []), value.get("per_row", 1)
    if not isinstance(kinds, list) or len(kinds) > len(AUGMENT_KINDS):
        raise InvalidRequest(f"`kinds` is a list of {', '.join(AUGMENT_KINDS)}.", param="augment.kinds")
    for kind in kinds:
        if kind not in AUGMENT_KINDS or kinds.count(kind) > 1:
            raise InvalidRequest(f"`kinds` holds each of {', '.join(AUGMENT_KINDS)} once.", param="augment.kinds")
    if isinstance(per_row, bool) or not isinstance(per_row, int) or not 1 <= per_row <= MAX_PER_ROW:
        raise InvalidRequest(f"`per_row` is a whole number, 1 to {MAX_PER_ROW}.", param="augment.per_row")
    synonyms, terms = (_groups(key, value.get(key, [])) for key in ("synonyms", "terms"))
    if "terms" in kinds and not terms:
        raise InvalidRequest("The kind `terms` needs the key `terms`: the house's own words.", param="augment.terms")
    return Augment(tuple(kinds), per_row, synonyms, terms)


def _groups(key: str, value: object) -> tuple[tuple[str, ...], ...]:
    param = f"augment.{key}"
    if not isinstance(value, list) or len(value) > MAX_TERMS:
        raise InvalidRequest(f"`{key}` is a list of at most {MAX_TERMS} groups of words.", param=param)
    for group in value:
        if not isinstance(group, list) or not 2 <= len(group) <= MAX_GROUP:
            raise InvalidRequest(
                f"Each of `{key}` is a list of 2 to {MAX_GROUP} words that may stand for each other.", param=param
            )
    return tuple(tuple(_term(param, word) for word in group) for group in value)


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
            raise InvalidRequest(
                "`margins` is not available in this version.", param="stages.margins", code="not_available_yet"
            )
        if key not in STAGE_KEYS:
            raise InvalidRequest(
                f"`{key}` is no key of a stage. Known: {', '.join(STAGE_KEYS)}.",
                param=f"stages.{key}",
                code="unknown_field",
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


PARSERS: Mapping[str, Callable[[object], Any]] = {
    "clean": parse_clean,
    "mix": parse_mix,
    "augment": parse_augment,
    "stages": parse_stages,
}
