"""A run's own state on disk."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from retrain import checkpoints
from thumbwheel.errors import JobError


def test_a_work_folder_is_private_and_belongs_to_one_run(tmp_path: Path) -> None:
    checkpoints.claim(tmp_path / "work", {"rows": "a"})
    assert stat.S_IMODE((tmp_path / "work").stat().st_mode) == 0o700
    checkpoints.claim(tmp_path / "work", {"rows": "a"})
    with pytest.raises(JobError, match="another run"):
        checkpoints.claim(tmp_path / "work", {"rows": "b"})


def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path: Path) -> None:
    for name, state in (("checkpoint-9", '{"step": 9}'), ("checkpoint-18", '{"st'), ("checkpoint-27", None)):
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state)
    assert checkpoints.last_whole(tmp_path) == tmp_path / "checkpoint-9"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-9"]
    assert checkpoints.last_whole(tmp_path / "nowhere") is None


def test_checkpoints_count_as_numbers_not_as_text(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    assert checkpoints.last_whole(tmp_path) == tmp_path / "checkpoint-100"


@pytest.mark.parametrize(("step", "stopped", "finished"), [(5, False, False), (5, True, True), (9, False, True)])
def test_a_run_is_finished_by_steps_or_by_stopping_early(step: int, stopped: bool, finished: bool) -> None:
    control = {"TrainerControl": {"args": {"should_training_stop": stopped}}}
    state = {"global_step": step, "max_steps": 9, "stateful_callbacks": control}
    assert checkpoints.is_finished(state) is finished


def test_figures_are_means_of_an_epochs_steps() -> None:
    history = [
        {"epoch": 0.5, "loss": 4.0, "ce": 5.0, "kl": 0.2},
        {"epoch": 1.0, "loss": 2.0, "ce": 3.0},
        {"epoch": 1.0, "eval_loss": 2.5},
        {"epoch": 1.5, "loss": 1.0},
    ]
    assert checkpoints.by_epoch(history) == [
        {"epoch": 1, "loss": 3.0, "ce": 4.0, "kl": 0.2, "validation_loss": 2.5},
        {"epoch": 2, "loss": 1.0},
    ]
