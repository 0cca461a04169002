"""A channel's task scorers: each gives an answer a value from 0 to 1, some of them by its correction.

`regex` searches (write ^ and $ to pin the ends; `.` does not match a line break). `label` takes the first group of its
pattern from both answer and correction. `chrf` is sacrebleu's sentence chrF over 100, Chinese included.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thumbwheel.errors import InvalidRequest

KINDS = {"regex": ("pattern",), "json_schema": ("schema",), "label": ("pattern",), "exact": (), "chrf": ()}
MAX_PATTERN = 4_000


@dataclass(frozen=True)
class Scorer:
    """A checked scorer. `pattern` for regex and label, `schema` for json_schema; `most_s` bounds it (scoring.py)."""

    kind: str
    pattern: re.Pattern[str] | None = None
    schema: Mapping[str, Any] | None = None
    most_s: float = 10.0  # over one answer, of the process's own time, which no other process makes longer


def parse_scorer(raw: object) -> Scorer:
    """The scorer in `raw`. Raises InvalidRequest naming what is wrong with it."""
    kind = raw.get("kind") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(kind, str) or kind not in KINDS:
        raise InvalidRequest(f"A scorer is an object whose `kind` is one of {', '.join(KINDS)}.", param="scorers")
    for key in raw:
        if key != "kind" and key not in KINDS[kind]:
            raise InvalidRequest(f"`{key}` is no key of a {kind} scorer.", param=f"scorers.{key}", code="unknown_field")
    for key in KINDS[kind]:
        if key not in raw:
            raise InvalidRequest(f"A {kind} scorer needs `{key}`.", param=f"scorers.{key}", code="missing_field")
    if "pattern" in KINDS[kind]:
        return Scorer(kind, pattern=_pattern(kind, raw["pattern"]))
    if kind == "json_schema":
        return Scorer(kind, schema=_schema(raw["schema"]))
    return Scorer(kind)


def score(scorer: Scorer, answer: str, correction: str | None) -> float | None:
    """From 0 to 1; None where it compares with a correction and there is none, or none with a label.

    Takes as long as the pattern or schema makes it.
    """
    if scorer.pattern is not None and scorer.kind == "regex":
        return 1.0 if scorer.pattern.search(answer) else 0.0
    if scorer.kind == "json_schema":
        return _fits(scorer.schema or {}, answer)
    if correction is None:
        return None
    if scorer.pattern is not None:
        wanted = scorer.pattern.search(correction)
        if wanted is None or wanted.group(1) is None:
            return None
        found = scorer.pattern.search(answer)
        return 1.0 if found is not None and found.group(1) == wanted.group(1) else 0.0
    if scorer.kind == "exact":
        return 1.0 if answer.strip() == correction.strip() else 0.0
    from sacrebleu.metrics.chrf import CHRF  # half a second to import, and only evaluation asks for it

    return float(CHRF().sentence_score(answer, [correction]).score) / 100.0


def _pattern(kind: str, raw: object) -> re.Pattern[str]:
    if not isinstance(raw, str) or len(raw) > MAX_PATTERN:
        raise InvalidRequest(f"`pattern` is a string of at most {MAX_PATTERN} characters.", param="scorers.pattern")
    try:
        pattern = re.compile(raw)
    except (re.error, OverflowError, ValueError) as error:
        raise InvalidRequest(f"`pattern` is no regular expression: {error}.", param="scorers.pattern") from error
    except RecursionError as error:
        raise InvalidRequest("`pattern` is nested too deeply.", param="scorers.pattern") from error
    if kind == "label" and pattern.groups != 1:
        raise InvalidRequest("A label's `pattern` has exactly one group.", param="scorers.pattern")
    return pattern


def _schema(raw: object) -> Mapping[str, Any]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    if not isinstance(raw, Mapping):
        raise InvalidRequest("`schema` is a JSON Schema object.", param="scorers.schema")
    try:
        Draft202012Validator.check_schema(dict(raw))
    except SchemaError as error:
        raise InvalidRequest(f"`schema` is no JSON Schema: {error.message}.", param="scorers.schema") from error
    except ValueError as error:  # of a pattern in it, as of one that stands alone
        raise InvalidRequest(f"`schema` is no JSON Schema: {error}.", param="scorers.schema") from error
    _check_references(raw)
    return raw


def _check_references(schema: Mapping[str, Any]) -> None:
    """Every reference leads to a schema that `schema` holds itself. Raises InvalidRequest.

    Another one would be fetched, or would end the evaluation that first meets it. The way is a validator's own: each
    reference is looked up from where it stands, and what it leads to is looked at in turn.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    left = [(schema, Registry().resolver_with_root(DRAFT202012.create_resource(schema)))]
    seen: set[int] = set()
    while left:
        part, resolver = left.pop()
        if isinstance(part, bool) or id(part) in seen:
            continue
        seen.add(id(part))
        name = None
        try:
            for one in DRAFT202012.create_resource(part).subresources():
                name = one.id()
                left.append((one.contents, resolver.in_subresource(one)))
            for name in [part[key] for key in ("$ref", "$dynamicRef") if key in part]:
                found = resolver.lookup(name)
                if id(found.contents) not in seen:
                    Draft202012Validator.check_schema(found.contents)
                left.append((found.contents, found.resolver))
        except (Unresolvable, SchemaError, ValueError, TypeError) as error:
            raise InvalidRequest(
                f"`schema` refers to {str(name)[:200]!r}, which is no schema that it holds itself.",
                param="scorers.schema",
            ) from error


def _fits(schema: Mapping[str, Any], answer: str) -> float:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    try:
        value = json.loads(answer, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except (ValueError, RecursionError):
        return 0.0
    # A registry of its own: the default one fetches what a schema refers to.
    validator = Draft202012Validator(dict(schema), registry=Registry())
    try:
        return 1.0 if validator.is_valid(value) else 0.0
    except RecursionError:  # a schema that refers to itself without end fits nothing
        return 0.0


def _finite(text: str) -> float:
    """Raises ValueError for what Python reads and JSON has no number for, or a double cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def _whole(text: str) -> int:
    _finite(text)
    return int(text)
