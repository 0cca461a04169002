import dataclasses
from pathlib import Path

import pytest
import yaml

from retrain import gate_config
from retrain.gate import Thresholds
from thumbwheel.errors import SettingsError


def test_the_shipped_file_names_every_key_once_and_each_has_a_range() -> None:
    shipped = yaml.safe_load(gate_config.DEFAULTS.read_text())
    assert set(shipped["thresholds"]) == {field.name for field in dataclasses.fields(Thresholds)}
    assert set(shipped["measure"]) == {field.name for field in dataclasses.fields(gate_config.Measure)}
    assert set(gate_config.RANGES) == set(shipped["thresholds"]) | set(shipped["measure"])


def test_a_file_changes_only_its_own_keys(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("thresholds: {max_kl: 0.2}\nmeasure: {samples: 1}\n")
    thresholds, measure = gate_config.read_config(file)
    usual, usual_measure = gate_config.read_config(None)
    assert thresholds == dataclasses.replace(usual, max_kl=0.2)
    assert measure == dataclasses.replace(usual_measure, samples=1)


def test_every_problem_is_reported_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text(
        "thresholds: {max_kl: many, min_test_groups: 2.5, slack: 1}\nmeasure: {temperature: -1}\nother: 1\n"
    )
    with pytest.raises(SettingsError) as caught:
        gate_config.read_config(file)
    assert {key for key, _, _ in caught.value.problems} == {
        "thresholds.max_kl",
        "thresholds.min_test_groups",
        "thresholds.slack",
        "measure.temperature",
        "other",
    }


@pytest.mark.parametrize("text", ["- a list", "thresholds: [", None])
def test_a_file_that_is_none_of_it(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "gate.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match="gate_config"):
        gate_config.read_config(file)
