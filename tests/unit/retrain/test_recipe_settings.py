"""A recipe's settings: where they come from, and what is said of wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from retrain import recipe_settings
from retrain.recipe_settings import number, text, texts, whole
from retrain.recipes import sft
from thumbwheel.errors import JobError, SettingsError


@dataclass(frozen=True)
class Settings:
    epochs: int = whole(1, 9)
    rate: float = number(0, 1)
    kind: str = text("a", "b")
    prompts: str = text()
    names: tuple[str, ...] = texts()


GOOD = {"epochs": 3, "rate": 1, "kind": "a", "prompts": "p", "names": ["x"]}


def test_good_values_pass() -> None:
    assert recipe_settings.checked(Settings, GOOD) == Settings(3, 1, "a", "p", ("x",))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("epochs", [0, 10, 2.5, True, "3", None]),
        ("rate", [-0.1, 1.1, float("nan"), False, "x"]),
        ("kind", ["c", 1, None]),
        ("prompts", ["", 3]),
        ("names", ["x", [1], None]),
    ],
)
def test_a_wrong_value_is_named(key: str, values: list[object]) -> None:
    for value in values:
        with pytest.raises(SettingsError) as refusal:
            recipe_settings.checked(Settings, {**GOOD, key: value})
        ((named, held, _),) = refusal.value.problems
        assert (named, held) == (key, repr(value))


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(SettingsError) as refusal:
        recipe_settings.checked(Settings, {"epochs": 0, "speed": 3, "kind": "a", "prompts": "p", "rate": 2})
    assert {key for key, _, _ in refusal.value.problems} == {"epochs", "speed", "rate", "names"}


def test_a_file_goes_over_the_defaults_and_changes_over_both(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 2\nlearning_rate: 0.1\nreplay_prompts: mine.jsonl\n")
    shipped = recipe_settings.read(sft.Settings, sft.DEFAULTS, None, {}, ("replay_prompts",))
    changed = recipe_settings.read(
        sft.Settings, sft.DEFAULTS, tmp_path / "mine.yaml", {"epochs": 4}, ("replay_prompts",)
    )
    assert Path(shipped.replay_prompts).is_file()
    assert (changed.epochs, changed.learning_rate, changed.lora_rank) == (4, 0.1, shipped.lora_rank)
    assert changed.replay_prompts == str((tmp_path / "mine.jsonl").resolve())


@pytest.mark.parametrize(("content", "says"), [("- epochs\n", "key: value"), ("a: [\n", "not YAML"), (None, "No sett")])
def test_a_file_that_is_none_is_said(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(JobError, match=says):
        recipe_settings.read(sft.Settings, sft.DEFAULTS, path, {}, ())
