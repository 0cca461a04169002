"""The short form of `make chaos`: some of its points, once each, over a Kafka and a PostgreSQL that are killed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.play import play, table
from tests.chaos.points import SHORT
from tests.chaos.scene import opened
from tests.integration.kafka_broker import Broker
from tests.integration.postgres.server import Server, demanded, running

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]
SEED = int(os.environ.get("CHAOS_SEED", "8"))


@pytest.fixture
def own_server() -> Iterator[Server]:
    with running(demanded(), settings=()) as server:
        yield server


def test_nothing_is_lost_and_nothing_is_there_twice(broker: Broker, own_server: Server, tmp_path: Path) -> None:
    print(f"seed {SEED}")
    with opened(tmp_path, broker, own_server, SEED) as scene:
        account = play(scene, SHORT, print)
        assert account["faults"] == [], (json.dumps(account, indent=1), scene.service.tails())
    print(table(account))
    assert [one["blow"] for one in account["blows"]][: len(SHORT)] == list(SHORT)
    assert account["feedback"]["acknowledged"] > 100
    assert account["ledger"]["refused"].get("superseded", 0) > 0, "nobody changed their mind"
