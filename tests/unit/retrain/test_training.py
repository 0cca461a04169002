"""What the recipe's process is given to see."""

from __future__ import annotations

import pytest

from retrain.training import recipe_environment


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
