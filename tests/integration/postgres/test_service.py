"""The whole loop with PostgreSQL as the store, on the recorded engine, and what a server that goes away does to it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration.postgres.server import Server, demanded, open_at, running
from tests.integration.service import Service
from tests.integration.service import running as service_running
from thumbwheel.errors import StoreUnavailable
from thumbwheel.store.connection import IDLE_MS, get_meta, put_meta


def doctor(service: Service) -> Any:
    """What `thumbwheel doctor` says; it exits with 1 on a machine with little memory too."""
    command = [sys.executable, "-m", "thumbwheel", "doctor", "--home", str(service.home), "--json"]
    return json.loads(subprocess.run(command, env=service.environment, capture_output=True, text=True).stdout)


def test_one_cycle_and_what_people_ask_of_it(postgres: Server, tmp_path: Path) -> None:
    url = postgres.empty()
    with service_running(tmp_path, store_url=url) as service:
        service.channel("support")
        service.teach("support", 100)
        run = service.run_to_end("support")
        assert run["state"] == "candidate", service.tails()
        service.keep_asking("support", lambda view: view["rollout"]["state"] != "running")
        view = service.view("support")
        assert view["rollout"]["state"] == "promoted" and view["stable"] == run["release"]
        assert service.failed_requests == []
        assert service.ledger("support")["used"] == 100
        assert not (service.home / "store.db").exists()
        assert service.command("status")["channels"][0]["stable"] == run["release"]
        assert service.command("lineage", run["dataset"])["kind"] == "dataset"
        found = {finding["what"]: finding for finding in doctor(service)["findings"]}
        assert found["store"]["found"].startswith("PostgreSQL") and found["store"]["advice"] is None
        assert found["partitions"]["advice"] is None, found["partitions"]
        assert service.stop() == 0


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    """A cluster that a test may stop."""
    with running(demanded(), settings=()) as server:
        yield server


def test_a_hanging_server_is_given_up_and_a_new_one_is_found_without_an_error(own_server: Server) -> None:
    store = open_at(own_server.empty(), limit_ms=300)
    with store.write() as tx:
        put_meta(tx, "thing", "kept")
    own_server.stop()
    for transaction in (store.read, store.write, lambda: store.write(alone=False)):
        with pytest.raises(StoreUnavailable), transaction() as tx:
            get_meta(tx, "thing")
    own_server.go_on()
    with store.read() as tx, store.read():  # two connections lie in the pool, and both die with the server
        assert get_meta(tx, "thing") == "kept"
    own_server.kill()
    with pytest.raises(StoreUnavailable), store.read():
        pass
    own_server.start()
    with store.read() as tx, store.write() as other:
        assert get_meta(tx, "thing") == get_meta(other, "thing") == "kept"
    store.close()


def test_a_connection_that_its_server_has_ended_is_replaced_unseen(own_server: Server) -> None:
    store = open_at(own_server.empty())
    with store.read() as tx, store.write() as other:
        put_meta(other, "thing", "kept")
        assert get_meta(tx, "thing") is None
    own_server.kill()
    own_server.start()
    with store.read() as tx, store.write() as other:
        assert get_meta(tx, "thing") == get_meta(other, "thing") == "kept"
    store.close()


def test_a_server_that_hangs_or_dies_stops_nothing_and_loses_nothing(own_server: Server, tmp_path: Path) -> None:
    url = own_server.empty()
    with service_running(tmp_path, store_url=url) as service:
        service.channel("support")
        service.wait_until(lambda: service.ask("support", "Is anybody there?", "u0"), "an answer")
        own_server.stop()
        answers = [service.ask("support", f"Where is parcel {n}?", f"u{n}") for n in range(10)]
        assert all(answers), service.tails()
        assert all(service.say(answer["id"], thumb="down", correction="It is on its way.") for answer in answers)
        own_server.go_on()
        own_server.kill()
        answers = [service.ask("support", f"Where is letter {n}?", f"u{n}") for n in range(10)]
        assert all(answers), service.tails()
        assert all(service.say(answer["id"], thumb="down", correction="It is on its way.") for answer in answers)
        own_server.start()
        joined = {"no_run_yet": 20}
        service.wait_until(
            lambda: service.ledger("support")["waiting"] == joined, "feedback and inferences to meet", 90
        )
        assert service.ledger("support")["acknowledged"] == 20
        assert service.process.poll() is None


def test_a_process_that_hangs_within_a_write_holds_up_its_heir_for_moments(postgres: Server) -> None:
    """The server ends such a transaction by itself; one that only reads may take its time."""
    store = open_at(postgres.empty())
    idle = text("select setting::int from pg_settings where name = 'idle_in_transaction_session_timeout'")
    for alone in (True, False):
        with store.write(alone=alone) as tx:
            assert tx.execute(idle).scalar_one() == IDLE_MS
    with store.read() as tx:
        assert tx.execute(idle).scalar_one() == 0
    with pytest.raises(StoreUnavailable), store.write() as tx:
        put_meta(tx, "thing", "held")
        tx.execute(text("set local idle_in_transaction_session_timeout = 50"))
        with store.write(alone=False) as heir:  # waits for the row, for as long as the other is let be
            put_meta(heir, "thing", "kept")
    with store.read() as tx:
        assert get_meta(tx, "thing") == "kept"
    store.close()
