"""The whole service on a real Kafka: the loop closes, and chat does not notice a broker that dies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.integration.kafka_broker import Broker
from tests.integration.service import FAST_STAGES, Service, complaint, running
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import FEEDBACK, INFERENCE, decode
from thumbwheel.home import Home
from thumbwheel.settings import Settings

pytestmark = pytest.mark.kafka


@pytest.fixture
def service(broker: Broker, tmp_path: Path) -> Iterator[Service]:
    with running(tmp_path, **broker.settings("service")) as made:
        yield made


def ids_in(service: Service, topic: str) -> list[str]:
    """The ids of all events of a topic, from every partition."""
    settings = {key: service.environment[f"THUMBWHEEL_{key.upper()}"] for key in ("kafka", "kafka_prefix")}
    home = Home(service.home)
    log = open_log(Settings(home=home.root, **settings), home)  # type: ignore[arg-type]
    found = []
    for partition, end in log.ends()[topic].items():
        at = 0
        while at < end:
            page = log.read(topic, partition, at, 100)
            found += [decode(record.value).id for record in page]
            at = page[-1].offset
    log.close()
    return found


def talk(service: Service, numbers: range) -> list[str]:
    """People ask and are answered, each of them; the ids."""

    def person(number: int) -> str:
        answer = service.ask("support", complaint(number)[0], f"person{number}")
        assert answer is not None, service.failed_requests
        return str(answer["id"])

    with ThreadPoolExecutor(4) as people:
        return list(people.map(person, numbers))


def refused(service: Service, inference: str) -> httpx.Response:
    """What a feedback is answered with while the log is away."""
    url = service.endpoint("api") + "/v1/feedback"
    said = {"inference_id": inference, "thumb": "down", "correction": "CASE other. No."}
    return service.http.post(url, json=said, headers=service.key("app"), timeout=30)


def spooled(service: Service) -> int:
    """Bytes; a file that is drained meanwhile has none."""
    sizes = []
    for file in (service.home / "spool").glob("*.jsonl"):
        with suppress(FileNotFoundError):
            sizes.append(file.stat().st_size)
    return sum(sizes)


def adds_up(service: Service) -> bool:
    """Whether each acknowledged feedback, and no other, is in the ledger, joined with its inference.

    What a frozen broker was sent it may have taken, though its sender was told otherwise: the acknowledged word that
    came later supersedes it.
    """
    ledger = service.ledger("support")
    waiting = {"no_run_yet": len(service.acknowledged)}
    return bool(ledger["waiting"] == waiting and ledger["refused"] in ({}, {"superseded": 1}))


@pytest.mark.parametrize("blow", ["killed", "frozen"])
def test_a_broker_that_goes_away_delays_nobody_and_costs_nothing(service: Service, broker: Broker, blow: str) -> None:
    service.channel("support")
    answered = talk(service, range(20))
    for inference in answered:
        assert service.say(inference, thumb="down", correction="CASE other. Yes.")
    service.wait_until(lambda: adds_up(service), "the first feedback to be joined")

    (broker.kill if blow == "killed" else broker.freeze)()
    try:
        later = talk(service, range(100, 140))
        response = refused(service, later[0])
        assert response.status_code == 503 and int(response.headers["retry-after"]) >= 1, response.text
        service.wait_until(lambda: spooled(service) > 0, "inferences to be spooled")
    finally:
        (broker.start if blow == "killed" else broker.thaw)()

    for inference in later:
        service.wait_until(lambda: service.say(inference, thumb="down", correction="CASE other. Yes."), "a 202")  # noqa: B023
    service.wait_until(lambda: spooled(service) == 0, "the spool to drain")
    service.wait_until(lambda: adds_up(service), "all feedback to be joined")
    assert set(ids_in(service, INFERENCE)) == {*answered, *later}
    assert set(ids_in(service, FEEDBACK)) >= set(service.acknowledged)


def test_a_relay_that_is_killed_costs_nothing(service: Service) -> None:
    service.channel("support")
    answered = talk(service, range(10))
    service.kill("relay")
    answered += talk(service, range(10, 30))
    for inference in answered:
        service.wait_until(lambda: service.say(inference, thumb="down", correction="CASE other. Yes."), "a 202")  # noqa: B023
    service.wait_until(lambda: adds_up(service), "all feedback to be joined")
    assert set(ids_in(service, INFERENCE)) == set(answered)
    assert service.stop() == 0


def test_the_loop_closes(service: Service) -> None:
    service.channel("support", stages=FAST_STAGES)
    service.teach("support", 100)
    found = service.run_to_end("support", timeout_s=240)
    assert found["state"] == "candidate", (found, service.tails())
    service.keep_asking("support", lambda view: view["rollout"]["state"] != "running", timeout_s=180)
    view = service.view("support")
    assert view["rollout"]["state"] == "promoted" and view["stable"] == found["release"], service.tails()
    ledger = service.ledger("support")
    assert ledger["acknowledged"] == len(service.acknowledged) == ledger["used"] + sum(ledger["refused"].values())
