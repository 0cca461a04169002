"""Reads gate.yaml: the gate's thresholds and how much an evaluation asks. What each key is stands in that file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from retrain.gate import Thresholds
from thumbwheel.errors import SettingsError

DEFAULTS = Path(__file__).parent / "gate.yaml"


@dataclass(frozen=True)
class Measure:
    """gate.yaml's `measure`; what each is stands there."""

    samples: int
    temperature: float
    contrast_partners: int
    max_test_rows: int
    max_taught_rows: int
    general_max_tokens: int
    answer_max_tokens: int
    concurrency: int
    outage_s: float


# key: lowest and highest value that makes sense
RANGES: Mapping[str, tuple[float, float]] = {
    "confidence": (0.8, 0.9999),
    "min_test_groups": (2, 1e6),
    "min_new_groups": (2, 1e6),
    "min_contrast_units": (2, 1e6),
    "min_gain": (0, 100),
    "min_contrast": (0.5, 1),
    "older_allowance": (0, 100),
    "taught_allowance": (0, 100),
    "lost_case": (0, 100),
    "max_lost_share": (0, 1),
    "general_allowance": (0, 1),
    "min_general_prompts": (1, 1e6),
    "max_kl": (0, 100),
    "max_leaks": (0, 1e6),
    "specific_share": (0, 1),
    "max_faulty_share": (0, 1),
    "samples": (1, 64),
    "temperature": (0, 2),
    "contrast_partners": (1, 64),
    "max_test_rows": (2, 1e6),
    "max_taught_rows": (0, 1e6),
    "general_max_tokens": (1, 4096),
    "answer_max_tokens": (1, 32768),
    "concurrency": (1, 512),
    "outage_s": (0, 86_400),
}


def read_config(path: Path | None) -> tuple[Thresholds, Measure]:
    """gate.yaml, with the keys of `path` over it. Raises SettingsError with every problem, each by its key."""
    merged = {name: dict(section) for name, section in yaml.safe_load(DEFAULTS.read_text(encoding="utf-8")).items()}
    problems: list[tuple[str, str, str]] = []
    for section, values in _given(path, problems).items():
        if section not in merged or not isinstance(values, dict):
            right = f"sections are {', '.join(merged)}, each with its keys"
            problems.append((str(section), f"holds {values!r}", right))
            continue
        for key, value in values.items():
            if key in merged[section]:
                merged[section][key] = value
            else:
                known = ", ".join(merged[section])
                problems.append((f"{section}.{key}", "is not known", f"known: {known}"))
    for section, values in merged.items():
        problems += _checked(section, values)
    if problems:
        raise SettingsError(problems)
    return Thresholds(**merged["thresholds"]), Measure(**merged["measure"])


def _given(path: Path | None, problems: list[tuple[str, str, str]]) -> Mapping[str, Any]:
    if path is None:
        return {}
    if not path.is_file():
        problems.append(("gate_config", f"names {path.name}", "a file that is there is right"))
        return {}
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        problems.append(("gate_config", f"is no YAML ({str(error).splitlines()[0]})", "write it as gate.yaml is"))
        return {}
    if not isinstance(given, dict):
        problems.append(("gate_config", f"holds a {type(given).__name__}", "write it as gate.yaml is"))
        return {}
    return given


def _checked(section: str, values: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    problems = []
    whole = {field.name for kind in (Thresholds, Measure) for field in dataclasses.fields(kind) if field.type == "int"}
    for key, value in values.items():
        low, high = RANGES[key]
        fits = isinstance(value, int) if key in whole else isinstance(value, int | float)
        if not fits or isinstance(value, bool) or not low <= value <= high:
            noun = "a whole number" if key in whole else "a number"
            problems.append((f"{section}.{key}", f"holds {value!r}", f"{noun} from {low:g} to {high:g} is right"))
    return problems
