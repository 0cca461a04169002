"""The suite of tests/unit/thumbwheel/test_migrate.py, on PostgreSQL."""

from pathlib import Path

import pytest

from tests.integration.postgres.server import Server
from tests.unit.thumbwheel.test_migrate import *  # noqa: F403 - the tests themselves, with the two fixtures below
from thumbwheel.home import Home
from thumbwheel.settings import Settings


@pytest.fixture
def place(postgres: Server, tmp_path: Path) -> tuple[Settings, Home]:
    return Settings(home=tmp_path, store_url=postgres.empty()), Home(tmp_path)


@pytest.fixture
def another(postgres: Server, tmp_path: Path) -> tuple[Settings, Home]:
    return Settings(home=tmp_path, store_url=postgres.empty()), Home(tmp_path)
