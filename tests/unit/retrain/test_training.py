"""What the recipe's process is given to see, and how it is started."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from retrain.job import Job
from retrain.training import _run_recipe, recipe_environment
from tests.stores import store_in
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import JobError
from thumbwheel.home import prepare
from thumbwheel.settings import Settings


@pytest.mark.parametrize(
    ("parent", "gpu"),
    [({}, "0"), ({"CUDA_VISIBLE_DEVICES": "2,3"}, "2"), ({"CUDA_VISIBLE_DEVICES": ""}, "")],
)
def test_a_recipe_sees_one_gpu_of_those_we_may_use(parent: dict[str, str], gpu: str) -> None:
    environment = recipe_environment({"PATH": "/bin", **parent}, threads=3)
    assert environment == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "3",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": gpu,
    }


def test_between_fork_and_exec_a_recipe_loads_nothing(tmp_path: Path) -> None:
    broken = [True]

    def break_loading() -> None:
        if broken:
            ctypes.CDLL = None  # type: ignore[misc, assignment]

    os.register_at_fork(after_in_child=break_loading)  # as where another thread held the loader's lock at the fork
    (tmp_path / "config.json").touch()
    home = prepare(tmp_path / "home")
    settings = Settings(home=home.root, model=str(tmp_path), recipe="json.tool")  # it starts, and refuses our words
    job = Job("run-1", "training", settings, home, store_in(home.root), ArtifactStore(home.artifacts), lambda: 0)
    job.folder.mkdir()
    try:
        with pytest.raises(JobError, match=r"Training failed: python -m json\.tool"):
            _run_recipe(job, tmp_path, tmp_path / "out")
    finally:
        broken.clear()
        job.store.close()
