"""A channel's task scorers: each gives an answer a value from 0 to 1, some of them by its correction.

`regex` searches (write ^ and $ to pin the ends; `.` does not match a line break). `label` takes the first group of its
pattern from both answer and correction. `chrf` is sacrebleu's sentence chrF over 100, Chinese included.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from thumbwheel.errors import InvalidRequest

KINDS = {"regex": ("pattern",), "json_schema": ("schema",), "label": ("pattern",), "exact": (), "chrf": ()}
MAX_PATTERN = 4_000


@dataclass(frozen=True)
class Scorer:
    """A checked scorer. `pattern` for regex and label, `schema` for json_schema."""

    kind: str
    pattern: re.Pattern[str] | None = None
    schema: Mapping[str, Any] | None = None


def parse_scorer(raw: object) -> Scorer:
    """The scorer in `raw`. Raises InvalidRequest naming what is wrong with it."""
    kind = raw.get("kind") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(kind, str) or kind not in KINDS:
        raise InvalidRequest(f"A scorer is an object whose `kind` is one of {', '.join(KINDS)}.", param="scorers")
    for key in raw:
        if key != "kind" and key not in KINDS[kind]:
            raise InvalidRequest(f"`{key}` is no key of a {kind} scorer.", param=f"scorers.{key}")
    for key in KINDS[kind]:
        if key not in raw:
            raise InvalidRequest(f"A {kind} scorer needs `{key}`.", param=f"scorers.{key}")
    if "pattern" in KINDS[kind]:
        return Scorer(kind, pattern=_pattern(kind, raw["pattern"]))
    if kind == "json_schema":
        return Scorer(kind, schema=_schema(raw["schema"]))
    return Scorer(kind)


def score(scorer: Scorer, answer: str, correction: str | None) -> float | None:
    """From 0 to 1; None where it compares with a correction and there is none, or none with a label."""
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
    except (re.error, OverflowError) as error:
        raise InvalidRequest(f"`pattern` is no regular expression: {error}.", param="scorers.pattern") from error
    except RecursionError as error:
        raise InvalidRequest("`pattern` is nested too deeply.", param="scorers.pattern") from error
    if kind == "label" and pattern.groups != 1:
        raise InvalidRequest("A label's `pattern` has exactly one group.", param="scorers.pattern")
    return pattern


def _schema(raw: object) -> Mapping[str, Any]:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    if not isinstance(raw, Mapping):
        raise InvalidRequest("`schema` is a JSON Schema object.", param="scorers.schema")
    try:
        Draft202012Validator.check_schema(dict(raw))
    except SchemaError as error:
        raise InvalidRequest(f"`schema` is no JSON Schema: {error.message}.", param="scorers.schema") from error
    # An unknown reference would be fetched, or would end the evaluation that first meets it.
    resolver = Registry().with_resource("", DRAFT202012.create_resource(raw)).resolver()
    for reference in _references(raw):
        try:
            found = resolver.lookup(reference).contents
        except Unresolvable:
            found = None
        if not isinstance(found, Mapping | bool):
            raise InvalidRequest(
                f"`schema` refers to {reference[:200]!r}, which is no schema that it holds itself.",
                param="scorers.schema",
            )
    return raw


def _references(part: object) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _references(item)
    elif isinstance(part, Mapping):
        for key, value in part.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value)


def _fits(schema: Mapping[str, Any], answer: str) -> float:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return 0.0
    # A registry of its own: the default one fetches what a schema refers to.
    validator = Draft202012Validator(dict(schema), registry=Registry())
    try:
        return 1.0 if validator.is_valid(value) else 0.0
    except RecursionError:  # a schema that refers to itself without end fits nothing
        return 0.0
