"""The broker that tests share: started once a session, and only where a test asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.integration.kafka_broker import Broker, demanded, kafka_home


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A newcomer without Kafka is told so by one test that is skipped, not by each that would need it."""
    wanting = [item for item in items if item.get_closest_marker("kafka")]
    if wanting and kafka_home() is None and os.environ.get("CI") != "true":
        config.hook.pytest_deselected(items=wanting[1:])
        items[:] = [item for item in items if item not in wanting[1:]]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A Kafka broker, started once; a newcomer without Kafka skips what needs it, CI does not."""
    started = Broker(demanded(), tmp_path_factory.mktemp("kafka"))
    started.start()
    yield started
    started.kill()
