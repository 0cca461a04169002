"""The loop on real vLLM, the real base and the shipped recipe (shortened), over real Kafka and real PostgreSQL.

Broker and PostgreSQL are killed with -9 and started again, each while people are being heard and once more while the
run is at work. What must hold: chat is answered throughout, feedback is at worst a 503 that says when to try again,
nothing that was acknowledged is lost or there twice, the run comes to its end by itself, and its release is promoted.
Five minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.chaos.judge import Word, judge
from tests.chaos.play import held
from tests.e2e.loop import GROUP, at_work, hear, judged, roll_out, running
from tests.integration.kafka_broker import Broker
from tests.integration.postgres import server as postgres
from tests.integration.service import FAST_STAGES, ROOT, Service, complaint
from thumbwheel import ledger
from thumbwheel.home import Home
from thumbwheel.settings import Settings
from thumbwheel.store import schema
from thumbwheel.store.connection import Store, open_store
from thumbwheel.why import EXPLAINED, explain

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.timeout(1_800)]

OTHERS = 50_000  # numbers of those who only ask
PAUSE_S = 1.0  # between one of them and the next
MACHINE = ("disk", "memory")  # what `doctor` finds that is none of the service's


@dataclass
class Place:
    """The service, what it stands on, and the same store by a connection of our own."""

    service: Service
    broker: Broker
    database: postgres.Server
    store: Store


@pytest.fixture
def place(broker: Broker, tmp_path: Path) -> Iterator[Place]:
    with postgres.running(postgres.demanded(), settings=()) as database:
        url = database.empty()
        with running(tmp_path, store_url=url, gateway_workers=2, **broker.settings("e2e")) as service:
            store = open_store(Settings(home=service.home, store_url=url), Home(service.home))
            yield Place(service, broker, database, store)
            store.close()


def test_the_loop_closes_though_broker_and_database_are_killed(place: Place) -> None:
    service = place.service
    service.channel("support", stages=FAST_STAGES, auto_rollout=False)
    with asked_throughout(service) as asked:
        hear(service, 0, lambda: without_broker(place), asks_again=False)
        hear(service, 1, lambda: without_database(place), asks_again=False)
        run = service.start_run("support")
        service.wait_until(lambda: at_work(service.run(run), "training", "training", 1), "training's first step", 300)
        with database_away(place):
            assert_answered(service)
        service.wait_until(
            lambda: at_work(service.run(run), "evaluating", "evaluating", 20), "answers being judged", 600
        )
        with broker_away(place):
            assert_answered(service)
        found = judged(service, run)
    asked += roll_out(service, found["release"])

    assert service.failed_requests == []
    assert service.turned_away, "no feedback met the broker's absence"
    for response in service.turned_away:
        assert response.status_code == 503 and int(response.headers["retry-after"]) >= 1, response.text
    assert_nothing_is_lost(place, {answer["id"] for answer in asked})
    assert_explained(place, found)
    assert_well(service)
    assert not (service.home / "store.db").exists() and not (service.home / "events.db").exists()
    assert service.stop() == 0


# what is done to it


@contextmanager
def broker_away(place: Place) -> Iterator[None]:
    place.broker.kill()
    try:
        yield
    finally:
        place.broker.start()


@contextmanager
def database_away(place: Place) -> Iterator[None]:
    place.database.kill()
    try:
        yield
    finally:
        place.database.start()


def without_broker(place: Place) -> None:
    """Who has something to say has to wait, who asks has not."""
    with broker_away(place):
        place.service.wait_until(lambda: place.service.turned_away, "feedback to be turned away")
        place.service.wait_until(lambda: spooled(place.service), "inferences to be spooled")
        assert_answered(place.service)


def without_database(place: Place) -> None:
    """Nobody notices."""
    with database_away(place):
        heard = len(place.service.acknowledged)
        assert_answered(place.service)
        place.service.wait_until(lambda: len(place.service.acknowledged) > heard, "somebody to be heard")


def spooled(service: Service) -> int:
    return sum(file.stat().st_size for file in (service.home / "spool").glob("*.jsonl"))


# who uses it


@contextmanager
def asked_throughout(service: Service) -> Iterator[list[dict[str, Any]]]:
    """Somebody asks one question after the other for as long as the block runs; what was answered."""
    answers: list[dict[str, Any]] = []
    over = threading.Event()

    def ask_on() -> None:
        number = OTHERS
        while not over.is_set():
            answer = service.ask("support", complaint(number)[0], f"user{number}")
            answers.extend([answer] if answer is not None else [])
            number += 1
            over.wait(PAUSE_S)

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        yield answers
    finally:
        over.set()
        asking.join()


def assert_answered(service: Service) -> None:
    for n in range(3):
        assert service.ask("support", f"Where is parcel {n}?", f"waiting{n}"), (
            service.failed_requests,
            service.tails(),
        )


# what became of it


def assert_nothing_is_lost(place: Place, answered: set[str]) -> None:
    """The people's own lists against the store: each feedback is there once and no other is, and every answer is."""
    service = place.service
    assert service.unanswered == 0
    assert len(service.acknowledged) == len(set(service.acknowledged)) == 2 * GROUP
    said = [Word(id_, frozenset({id_})) for id_ in service.acknowledged]
    there = [replace(one, mark=one.id) for one in held(place.store)]
    assert judge(said, there, service.ledger("support")) == []
    assert service.ledger("support")["used"] >= GROUP
    assert all(service.knows(feedback) for feedback in service.acknowledged)
    service.wait_until(lambda: answered <= inferences(place.store), "every answer to be in the store")
    assert spooled(service) == 0


def inferences(store: Store) -> set[str]:
    with store.read() as tx:
        return set(tx.execute(select(schema.inferences.c.id)).scalars())


def assert_explained(place: Place, found: dict[str, Any]) -> None:
    """`why` has sentences on every row of the ledger; the way leads from a thumb to the release and back."""
    for one in held(place.store):
        with place.store.read() as tx:
            told = " ".join(explain(tx, one.id))
        assert one.state in told and (one.reason is None or EXPLAINED[one.reason] in told), (one, told)
    service = place.service
    learnt = next(one.id for one in held(place.store) if one.state == ledger.USED)
    assert "used" in " ".join(service.command("why", learnt))
    assert found["release"] in json.dumps(service.command("lineage", learnt))
    assert learnt in json.dumps(service.command("lineage", found["release"]))
    dataset = service.command("lineage", found["dataset"])
    assert dataset["kind"] == "dataset" and found["id"] in json.dumps(dataset)


def assert_well(service: Service) -> None:
    """`doctor` has no advice on either server nor anything else, but for the machine."""
    command = [sys.executable, "-m", "thumbwheel", "doctor", "--home", str(service.home), "--json"]
    done = subprocess.run(command, cwd=ROOT, env=service.environment, capture_output=True, text=True, timeout=120)
    findings = [one for one in json.loads(done.stdout)["findings"] if one["what"] not in MACHINE]
    assert [one for one in findings if one["advice"] is not None] == []
    told = {one["what"]: one["found"] for one in findings}
    assert told["store"].startswith("PostgreSQL") and "1 brokers" in told["Kafka"], told
    assert {"topic inference", "topic feedback", "topic release", "consumer", "dead letters"} <= told.keys()
