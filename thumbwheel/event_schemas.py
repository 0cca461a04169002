"""The JSON Schemas of the events, published for whoever reads the topics: `docs/events/`, one file a version.

    python -m thumbwheel.event_schemas docs/events

A version that was published stays as it is: new fields have defaults, readers ignore what they do not know, and what
would break a reader is a new version, in a file of its own. A test holds the files to the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from thumbwheel.eventlog.references import Reference
from thumbwheel.events import DeadLetterEvent, Event, ReleaseEvent

DIALECT = "https://json-schema.org/draft/2020-12/schema"
PUBLISHED = (*get_args(Event), ReleaseEvent, DeadLetterEvent, Reference)


def schemas() -> Mapping[str, dict[str, Any]]:
    """Each published version's schema, by its name: `feedback.v1`, the `type` of its events."""
    found = {}
    for kind in PUBLISHED:
        schema = msgspec.json.schema(kind, schema_hook=_anything)
        found[str(kind.__struct_config__.tag)] = {"$schema": DIALECT, **schema}
    return found


def _anything(kind: type) -> dict[str, Any]:
    """An application's own messages hold whatever JSON it sent."""
    if kind is object:
        return {"description": "any JSON"}
    raise NotImplementedError(f"no schema for {kind}")


def texts() -> Mapping[str, str]:
    """File name -> what it holds."""
    return {
        f"{name}.json": json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
        for name, schema in schemas().items()
    }


if __name__ == "__main__":
    for name, text in texts().items():
        (Path(sys.argv[1]) / name).write_text(text, encoding="utf-8")
