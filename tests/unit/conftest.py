"""Property tests have no deadline: how long one example takes says how busy the machine is, and nothing else.

`stores` is what the store's suite is run on: SQLite here, PostgreSQL in tests/integration/postgres.
"""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

from tests.stores import store_in
from thumbwheel.store.connection import BUSY_MS, Store

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Store]]:
    """Makes empty stores."""
    made: list[Store] = []

    def make(*, busy_ms: int = BUSY_MS) -> Store:
        made.append(store_in(tmp_path_factory.mktemp("store"), busy_ms=busy_ms))
        return made[-1]

    yield make
    for store in made:
        store.close()
