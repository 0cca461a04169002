"""What the OpenAPI pages say of routes whose bodies are read by hand, and of the two that are no FastAPI routes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.fields import CHAT, COMPLETIONS, KEPT, Check
from serving.saying import MAX_METRICS, MAX_REASON, MAX_TAGS, MAX_TEXT
from thumbwheel import adjudication
from thumbwheel.agreement import HIGHEST, LOWEST, WEIGHTS
from thumbwheel.events import MAX_NAME_CHARS, MAX_TAG_CHARS
from thumbwheel.ledger import USED
from thumbwheel.policies import (
    AUGMENT_KINDS,
    CHOICES,
    MAX_GROUP,
    MAX_PER_ROW,
    MAX_SCORERS,
    MAX_STAGES,
    MAX_TERM_CHARS,
    MAX_TERMS,
    REVIEWS,
)
from thumbwheel.records import ROLLOUT_STATES, RUN_STATES, Augment, Policies, Stage
from thumbwheel.scorers import KINDS
from thumbwheel.why import EXPLAINED


def json_body(properties: dict[str, Any], required: list[str], description: str = "") -> dict[str, Any]:
    """Keyword arguments for a route that documents a JSON body it reads itself."""
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    body = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {"openapi_extra": {"requestBody": {**body, "required": bool(required)}}}


FEEDBACK_BODY = json_body(
    {
        "inference_id": {"type": "string", "description": "the answer's `id`"},
        "thumb": {"type": "string", "enum": ["up", "down"]},
        "score": {"type": "number", "minimum": 0, "maximum": 1},
        "comment": {"type": "string", "maxLength": MAX_TEXT},
        "correction": {
            "type": "string",
            "maxLength": MAX_TEXT,
            "description": "what the answer should have been: what is learnt, with any thumb or none",
        },
        "tags": {"type": "array", "items": {"type": "string", "maxLength": MAX_TAG_CHARS}, "maxItems": MAX_TAGS},
        "metrics": {
            "type": "object",
            "additionalProperties": {"type": ["boolean", "number"]},
            "maxProperties": MAX_METRICS,
        },
        "author": {
            "type": "string",
            "maxLength": MAX_NAME_CHARS,
            "description": "another author than the answer's unit; needs the right `author`",
        },
    },
    ["inference_id"],
    "At least one field beside `inference_id`.",
)


REVIEW_BODY = json_body(
    {
        "feedback": {"type": "string"},
        "verdict": {"type": "string", "enum": list(adjudication.VERDICTS)},
        "target": {"type": "string", "maxLength": MAX_TEXT, "description": "with `edit`: what the answer should be"},
        "reason": {"type": "string", "maxLength": MAX_REASON, "description": "required with `refuse`"},
        "scores": {
            "type": "object",
            "properties": {name: {"type": "integer", "minimum": LOWEST, "maximum": HIGHEST} for name in WEIGHTS},
            "additionalProperties": False,
        },
        "reviewer": {"type": "string", "maxLength": MAX_NAME_CHARS, "description": "who decides; by default the key"},
        "role": {
            "type": "string",
            "enum": list(adjudication.ROLES),
            "default": adjudication.REVIEWER,
            "description": "`arbiter` ends what reviewers disagree on, and needs that right",
        },
        "proposal": {"type": "string", "description": "a model's proposal is what is judged, not the correction"},
    },
    ["feedback", "verdict"],
)


def policies_body() -> dict[str, Any]:
    """As `json_body`, of the channel policies."""
    told: dict[str, dict[str, Any]] = {name: {"default": value} for name, value in asdict(Policies()).items()}
    for name, choices in CHOICES.items():
        told[name]["enum"] = list(choices)
    told["log"]["description"] = (
        "`off` logs nothing: no rollout can start, none may be in progress when it is set (409), feedback is refused"
    )
    told["reviews"] |= {"enum": list(REVIEWS), "description": "how many reviewers have to say the same"}
    told["train_after"]["description"] = "a run starts by itself after so many new usable corrections; null: never"
    told["scorers"] |= {
        "maxItems": MAX_SCORERS,
        "items": {"oneOf": [_scorer(kind, needed) for kind, needed in KINDS.items()]},
        "description": "`regex` is searched by Python's `re` in the answer as it came: write ^ and $ for a full match. "
        "`label` compares its one group with the correction's, `exact` and `chrf` the whole texts.",
    }
    told["clean"] |= _CLEAN
    told["mix"] |= _MIX
    told["augment"] |= _AUGMENT
    told["stages"] |= {"maxItems": MAX_STAGES, "minItems": 1, "items": _STAGE}
    return json_body(told, [])


def _scorer(kind: str, needed: tuple[str, ...]) -> dict[str, Any]:
    types = {"pattern": "string", "schema": "object"}
    properties = {"kind": {"const": kind}, **{name: {"type": types[name]} for name in needed}}
    return {"type": "object", "properties": properties, "required": ["kind", *needed], "additionalProperties": False}


_TERMS = {
    "type": "array",
    "maxItems": MAX_TERMS,
    "items": {"type": "string", "minLength": 1, "maxLength": MAX_TERM_CHARS},
}
_CHARS = {"type": ["integer", "null"], "minimum": 1}
_CLEAN = {
    "type": "object",
    "properties": {
        "blocked_terms": {**_TERMS, "description": "a correction that holds one is refused"},
        "allow": {**_TERMS, "description": "strings of the house, such as its hotline, that are never redacted"},
        "min_chars": {**_CHARS, "description": "of a correction"},
        "max_chars": {**_CHARS, "description": "of a correction"},
    },
    "additionalProperties": False,
    "description": "what the channel adds to the built-in cleaning of corrections; a key left out has its default",
}
_MIX = {
    "type": "object",
    "properties": {
        "shares": {
            "type": "object",
            "maxProperties": MAX_TERMS,
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "of training rows, by a tag of the feedback; with `other` they add up to 1",
        },
        "other": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "the share of rows that have none of these tags; null: all of them, beside the shares",
        },
        "max_age_days": {"type": ["integer", "null"], "minimum": 1, "description": "of feedback, by its receipt"},
    },
    "additionalProperties": False,
    "description": "which rows a dataset has room for; a key left out has its default. All others are `left_out`",
}
_GROUPS = {
    "type": "array",
    "maxItems": MAX_TERMS,
    "items": {**_TERMS, "minItems": 2, "maxItems": MAX_GROUP},
}
_AUGMENT = {
    "type": "object",
    "properties": {
        "kinds": {"type": "array", "items": {"enum": list(AUGMENT_KINDS)}, "uniqueItems": True},
        "per_row": {"type": "integer", "minimum": 1, "maximum": MAX_PER_ROW, "default": Augment.per_row},
        "synonyms": {**_GROUPS, "description": "words that may stand for each other, beside the built-in ones"},
        "terms": {**_GROUPS, "description": "names that the house has for one thing"},
    },
    "additionalProperties": False,
    "description": "how the questions of training rows are varied; a key left out has its default",
}
_STAGE = {
    "type": "object",
    "properties": {
        "weight": {"type": "number", "description": "percent; weights rise to 100"},
        "min_units": {"type": "integer", "default": Stage.min_units, "description": "of the candidate"},
        "min_requests": {"type": "integer", "default": Stage.min_requests, "description": "of the candidate"},
        "deadline_s": {"type": "number", "default": Stage.deadline_s, "description": "then it is held"},
    },
    "required": ["weight"],
    "additionalProperties": False,
}


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(f"`{word}`" for word in words)


LEDGER_WORDS = f"`{USED}`: in a frozen dataset. The reasons of what is waiting or refused:\n\n" + "\n".join(
    f"- `{reason}`: {told}" for reason, told in EXPLAINED.items()
)
RUN_WORDS = (
    f"`state` is one of {_listed(RUN_STATES)}; the last four are ends, and a person may still approve or reject an "
    "`insufficient_evidence` that has a `release`. `progress` is the present step's. `report` is the sum of the "
    "report's artifact, null before the evaluation has ended; `/admin/v1/runs/{run}/report` shows it."
)
CHANNEL_WORDS = (
    "`weight` is percent of units; `waiting` is a candidate that no rollout moves, with the reason, or null. The "
    f"rollout's `state` is one of {_listed(ROLLOUT_STATES)}: `paused` by a person; `held` where a stage's deadline "
    "passed without enough evidence, for a person to decide; the last three are ends. `stage` counts from 0."
)


def document(app: FastAPI) -> None:
    """Add the hot path's routes to the application's OpenAPI document."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
            schema["paths"]["/v1/chat/completions"] = _hot("Ask a channel", CHAT, ["model", "messages"])
            schema["paths"]["/v1/completions"] = _hot("Complete a text", COMPLETIONS, ["model", "prompt"])
            schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"key": []}]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = made  # type: ignore[method-assign]


def _hot(summary: str, fields: Mapping[str, Check], required: list[str]) -> dict[str, Any]:
    extra = json_body({name: {} for name in (*fields, *KEPT)}, required)["openapi_extra"]
    answer = "OpenAI's answer, whose `id` is the inference id; with `stream: true`, server-sent events"
    headers = {
        name: {"schema": {"type": "string"}}
        for name in ("x-thumbwheel-release", "x-thumbwheel-variant", "x-thumbwheel-feedback-token", "x-request-id")
    }
    responses = {"200": {"description": answer, "headers": headers}}
    return {"post": {"summary": summary, "description": "As in OpenAI's API.", **extra, "responses": responses}}
