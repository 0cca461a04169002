"""The whole loop with both production parts together: Kafka carries the events, PostgreSQL keeps the rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.kafka_broker import Broker
from tests.integration.postgres.server import Server, demanded, running
from tests.integration.service import FAST_STAGES
from tests.integration.service import running as service_running

pytestmark = pytest.mark.kafka


@pytest.fixture
def own_server() -> Iterator[Server]:
    with running(demanded()) as server:
        yield server


@pytest.mark.timeout(600)
def test_the_loop_closes_over_kafka_and_postgresql(broker: Broker, own_server: Server, tmp_path: Path) -> None:
    kafka = broker.settings("production")
    with service_running(tmp_path, store_url=own_server.empty(), gateway_workers=2, **kafka) as service:
        service.channel("support", stages=FAST_STAGES)
        service.teach("support", 100)
        found = service.run_to_end("support", timeout_s=240)
        assert found["state"] == "candidate", (found, service.tails())
        service.keep_asking("support", lambda view: view["rollout"]["state"] != "running", timeout_s=180)
        view = service.view("support")
        assert view["rollout"]["state"] == "promoted" and view["stable"] == found["release"], service.tails()
        assert service.failed_requests == []
        answer = service.wait_until(lambda: service.ask("support", "The colour ran.", "last"), "an answer")
        assert answer["release"] == found["release"] and answer["text"].startswith("CASE quality.")
        ledger = service.ledger("support")
        assert ledger["acknowledged"] == len(service.acknowledged) == 100
        assert ledger["acknowledged"] == ledger["used"] + sum(ledger["refused"].values()), ledger
        assert all(service.knows(feedback) for feedback in service.acknowledged)
        lineage = service.command("lineage", found["dataset"])
        assert lineage["kind"] == "dataset" and found["id"] in str(lineage)
        assert not (service.home / "store.db").exists() and not (service.home / "events.db").exists()
        assert service.stop() == 0
