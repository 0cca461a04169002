"""One real vLLM engine for the whole suite.

Tests take `engine`, make adapters with tests.real_engine's `random_lora` and `write_adapter`, or take `speakers`. A
test that ends the engine is marked `ends_engine` and runs last. The base is `.base/smollm2-135m-instruct`, or what
THUMBWHEEL_TEST_BASE names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_engine import SECRET, RealEngine, start_engine, stop_engine
from tests.word_adapters import word_adapters
from thumbwheel.adapter import BaseModules, base_modules

BASE = Path(__file__).parents[2] / ".base" / "smollm2-135m-instruct"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "ends_engine: leaves no engine behind, so it runs last")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("ends_engine") is not None)


@pytest.fixture(scope="session")
def base_dir() -> Path:
    base = Path(os.environ.get("THUMBWHEEL_TEST_BASE", BASE))
    if not (base / "config.json").is_file():
        missing = f"no base model at {base}: run `make setup`, or set THUMBWHEEL_TEST_BASE"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)  # a suite that skips itself would be green for nothing
        pytest.skip(missing)
    return base


@pytest.fixture(scope="session")
def base(base_dir: Path) -> BaseModules:
    return base_modules(base_dir)


@pytest.fixture(scope="session")
def engine(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    running = start_engine(tmp_path_factory.mktemp("engine"), base_dir, environment={SECRET: "told to nobody"})
    yield running
    stop_engine(running)


@pytest.fixture(scope="session")
def speakers(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters that say one word each and nothing else, by their word; not to be changed."""
    return word_adapters(base_dir, tmp_path_factory.mktemp("speakers"), ("ox", "up"))
