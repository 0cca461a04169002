"""What the OpenAPI pages say of routes whose bodies are read by hand, and of the two that are no FastAPI routes."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.fields import CHAT, COMPLETIONS, KEPT


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
        "comment": {"type": "string"},
        "correction": {"type": "string", "description": "what the answer should have been"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "metrics": {"type": "object", "additionalProperties": {"type": ["boolean", "number"]}},
        "author": {"type": "string", "description": "another author than the answer's unit; needs the right `author`"},
    },
    ["inference_id"],
    "At least one field beside `inference_id`.",
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


def _hot(summary: str, fields: object, required: list[str]) -> dict[str, Any]:
    names = [*fields, *KEPT] if isinstance(fields, dict) else list(KEPT)
    extra = json_body({name: {} for name in names}, required)["openapi_extra"]
    answer = "OpenAI's answer, whose `id` is the inference id; with `stream: true`, server-sent events"
    headers = {
        name: {"schema": {"type": "string"}}
        for name in ("x-thumbwheel-release", "x-thumbwheel-variant", "x-thumbwheel-feedback-token", "x-request-id")
    }
    responses = {"200": {"description": answer, "headers": headers}}
    return {"post": {"summary": summary, "description": "As in OpenAI's API.", **extra, "responses": responses}}
