"""The stores' suite, run unchanged on PostgreSQL: `stores` makes databases here instead of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.postgres.server import Server, demanded, open_at, running
from thumbwheel.store.connection import BUSY_MS, Store


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running(demanded()) as server:
        yield server


@pytest.fixture(scope="session")
def stores(postgres: Server) -> Iterator[Callable[..., Store]]:
    """Makes empty stores, as the fixture of this name in tests/unit/thumbwheel does."""
    made: list[Store] = []

    def make(*, busy_ms: int = BUSY_MS) -> Store:
        made.append(open_at(postgres.new(), busy_ms=busy_ms))
        return made[-1]

    yield make
    for store in made:
        store.close()
