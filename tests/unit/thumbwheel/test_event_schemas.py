"""What is published of the events is what the code writes and reads, and what it wrote once it still reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from thumbwheel.event_schemas import PUBLISHED, schemas, texts
from thumbwheel.eventlog.topics import ALL
from thumbwheel.events import Event, decode

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs" / "events"
SAMPLES = [
    json.loads(line)
    for file in sorted((ROOT / "tests" / "data" / "events").glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
KINDS: dict[str, Any] = {kind.__struct_config__.tag: kind for kind in PUBLISHED}


def named(sample: dict[str, Any]) -> str:
    return f"{sample['type']}-{len(sample)}"


def test_the_files_are_what_the_code_says() -> None:
    files = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert files == texts(), "run `python -m thumbwheel.event_schemas docs/events`"


def test_every_kind_has_a_version_and_a_sample() -> None:
    assert set(schemas()) == set(KINDS)
    assert all(name.rpartition(".v")[2].isdigit() for name in schemas())
    assert {sample["type"] for sample in SAMPLES} == set(schemas())


def test_the_page_names_every_topic_and_type() -> None:
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{topic}` |" in page for topic in ALL)
    assert all(f"`{name}`" in page for name in schemas())


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_what_was_written_once_is_read_and_fits_its_schema(sample: dict[str, Any]) -> None:
    jsonschema.validate(sample, schemas()[sample["type"]])
    raw = json.dumps(sample, ensure_ascii=False).encode()
    event = msgspec.json.decode(raw, type=KINDS[sample["type"]])
    assert json.loads(msgspec.json.encode(event)) == sample, "nothing is lost on the way"


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_fields_of_a_later_version_are_ignored(sample: dict[str, Any]) -> None:
    later = sample | {"mood": {"of": ["the", "day"]}}
    jsonschema.validate(later, schemas()[sample["type"]])
    kind = KINDS[sample["type"]]
    assert msgspec.json.decode(json.dumps(later), type=kind) == msgspec.json.decode(json.dumps(sample), type=kind)
    if issubclass(kind, Event):
        assert decode(json.dumps(later).encode()) == decode(json.dumps(sample).encode())


@pytest.mark.parametrize("sample", SAMPLES, ids=named)
def test_a_schema_asks_for_what_a_reader_needs(sample: dict[str, Any]) -> None:
    for field in sample:
        less = {key: value for key, value in sample.items() if key != field}
        try:
            msgspec.json.decode(json.dumps(less), type=KINDS[sample["type"]])
        except msgspec.ValidationError:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(less, schemas()[sample["type"]])
