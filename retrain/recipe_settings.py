"""Reads a recipe's settings: the YAML beside it, and a file with changes over it.

A recipe declares a frozen dataclass whose fields say what is right (`whole`, `number`, `text`, `texts`); its YAML holds
every value. Problems are reported all together, each by its key. Nothing here knows what a setting is for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from thumbwheel.errors import JobError, SettingsError

T = TypeVar("T")


def whole(low: int, high: int) -> Any:
    """A field that is a whole number from `low` to `high`."""
    return _field(f"a whole number from {low} to {high}", lambda value: _is(value, int) and low <= value <= high)


def number(low: float, high: float) -> Any:
    """A field that is a number from `low` to `high`."""
    return _field(f"a number from {low} to {high}", lambda value: _is(value, int | float) and low <= value <= high)


def text(*choices: str) -> Any:
    """A field that is text; one of `choices` where there are any."""
    if choices:
        return _field(f"one of {', '.join(choices)}", lambda value: value in choices)
    return _field("text", lambda value: isinstance(value, str) and value != "")


def texts() -> Any:
    """A field that is a list of texts."""
    return _field("a list of texts", lambda value: isinstance(value, list) and all(_is(one, str) for one in value))


def _field(right: str, fits: Callable[[Any], bool]) -> Any:
    return dataclasses.field(metadata={"right": right, "fits": fits})


def _is(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def checked(kind: type[T], values: Mapping[str, Any]) -> T:
    """The settings that `values` hold. Raises SettingsError with every problem, each by its key."""
    fields: dict[str, Any] = {field.name: field.metadata for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    problems = [(key, repr(value), "no such setting") for key, value in values.items() if key not in fields]
    for key, rule in fields.items():
        if key not in values:
            problems.append((key, "nothing", f"expected {rule['right']}"))
        elif not rule["fits"](values[key]):
            problems.append((key, repr(values[key]), f"expected {rule['right']}"))
    if problems:
        raise SettingsError(problems)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def read(kind: type[T], defaults: Path, config: Path | None, changes: Mapping[str, Any], paths: tuple[str, ...]) -> T:
    """The settings in `defaults`, CONFIG's over them, and `changes` over both.

    The keys in `paths` come back absolute: a relative path counts from the file that holds it.
    Raises JobError where CONFIG cannot be read, SettingsError where a value will not do.
    """
    merged = {**_resolved(_values(defaults), defaults.parent, paths)}
    if config is not None:
        merged |= _resolved(_values(config), config.parent, paths)
    return checked(kind, {**merged, **changes})


def _values(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise JobError(f"No settings file at {path}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise JobError(f"{path.name} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise JobError(f"{path.name} must hold `key: value` lines; the recipe's own YAML shows them all.")
    return values


def _resolved(values: Mapping[str, Any], folder: Path, paths: tuple[str, ...]) -> dict[str, Any]:
    absolute = {key: str((folder / values[key]).resolve()) for key in paths if isinstance(values.get(key), str)}
    return {**values, **absolute}
