"""The event log over brokers that ask who is there: TLS, certificates, names and passwords."""

from __future__ import annotations

import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deploy import doctor
from tests.integration.kafka_broker import demanded
from tests.integration.secured_broker import PASSWORD, USER, SecuredBroker
from thumbwheel.errors import BrokersRefuse, StoreUnavailable
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import FEEDBACK
from thumbwheel.home import Home, prepare
from thumbwheel.settings import Settings

pytestmark = pytest.mark.kafka
NUMBERS = itertools.count()
BUSY_MS = 20_000
LOGIN = {"kafka_username": USER, "kafka_password": PASSWORD}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "kafka")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    started = SecuredBroker(demanded(), tmp_path_factory.mktemp("secured"))
    try:
        started.start()
        yield started
    finally:
        started.kill()


def ways(broker: SecuredBroker) -> dict[str, dict[str, str]]:
    """Settings by which this broker lets us in."""
    trusting = {"kafka_ca_file": str(broker.server.cert)}
    own = {"kafka_cert_file": str(broker.client.cert), "kafka_key_file": str(broker.client.key)}
    scram, plain = {"kafka_mechanism": "SCRAM-SHA-256"}, {"kafka_mechanism": "PLAIN"}
    over_tls = {"kafka": broker.sasl_ssl, "kafka_security": "SASL_SSL", **trusting, **LOGIN}
    open_to_see = {"kafka": broker.sasl_plaintext, "kafka_security": "SASL_PLAINTEXT", **LOGIN}
    return {
        "certificate": {"kafka": broker.ssl, "kafka_security": "SSL", **trusting, **own},
        "scram over TLS": {**over_tls, **scram},
        "plain over TLS": {**over_tls, **plain},
        "scram": {**open_to_see, **scram},
        "plain": {**open_to_see, **plain},
    }


def settings_of(home: Home, chosen: Mapping[str, str]) -> Settings:
    prefix = f"secured{os.getpid()}-{next(NUMBERS)}."
    return replace(Settings(home=home.root), kafka_prefix=prefix, kafka_partitions=1, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["certificate", "scram over TLS", "plain over TLS", "scram", "plain"])
def test_a_log_is_written_and_read(secured: SecuredBroker, tmp_path: Path, way: str) -> None:
    home = prepare(tmp_path)
    settings = settings_of(home, ways(secured)[way])
    with closing(open_log(settings, home, busy_ms=BUSY_MS)) as log:
        log.append(FEEDBACK, [("k", b"1")], durable=True)
        assert [record.value for record in log.read(FEEDBACK, 0, 0, 9)] == [b"1"]
    told = [one for one in doctor.event_log(settings, home, None, {}) if one.what == "Kafka" and one.advice]
    assert [one.advice for one in told] == (["set `kafka_security` to SASL_SSL"] if way == "plain" else [])


@pytest.mark.parametrize(
    ("way", "wrong", "named"),
    [
        ("scram over TLS", {"kafka_password": "guessed"}, "kafka_password"),
        ("plain over TLS", {"kafka_password": "guessed"}, "kafka_password"),
        ("plain", {"kafka_username": "somebody"}, "kafka_username"),
        ("scram over TLS", {"kafka_mechanism": "SCRAM-SHA-512"}, "kafka_mechanism"),
        ("scram over TLS", {"kafka_ca_file": None}, "kafka_ca_file"),
        ("scram over TLS", {"kafka_ca_file": "/nowhere/ca.pem"}, "kafka_ca_file"),
        ("scram", {"kafka_security": "SASL_SSL"}, "kafka_security"),
        ("certificate", {"kafka_cert_file": None, "kafka_key_file": None}, "kafka_cert_file"),
    ],
)
def test_what_is_refused_is_said_with_the_setting_to_look_at(
    secured: SecuredBroker, tmp_path: Path, way: str, wrong: dict[str, str], named: str
) -> None:
    home = prepare(tmp_path)
    settings = settings_of(home, {**ways(secured)[way], **wrong})
    for role in ("client", "member"):
        with closing(open_log(settings, home, role, busy_ms=BUSY_MS)) as log:  # type: ignore[arg-type]
            for ask in (log.ends, lambda log=log: log.append(FEEDBACK, [("k", b"1")], durable=True)):
                with pytest.raises(BrokersRefuse) as refused:
                    ask()
                assert named in refused.value.advice and str(refused.value).endswith(refused.value.advice)
    (found,) = doctor.event_log(settings, home, None, {})
    assert found.what == "Kafka" and found.advice == refused.value.advice
    assert PASSWORD not in str(refused.value) and "guessed" not in str(refused.value)


def test_without_security_such_a_broker_is_not_reached_and_the_doctor_names_the_setting(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    home = prepare(tmp_path)
    settings = settings_of(home, {"kafka": secured.sasl_ssl})
    with closing(open_log(settings, home, busy_ms=3_000)) as log, pytest.raises(StoreUnavailable):
        log.ends()
    (found,) = doctor.event_log(settings, home, None, {})
    assert found.advice is not None and "kafka_security" in found.advice


def test_a_consumer_takes_its_password_from_the_environment_and_logs_it_nowhere(
    secured: SecuredBroker, tmp_path: Path
) -> None:
    home = prepare(tmp_path)
    chosen = {**ways(secured)["scram over TLS"], "kafka_password": "guessed-wrong"}
    environment = {**os.environ, **{f"THUMBWHEEL_{key.upper()}": value for key, value in chosen.items()}}
    command = [sys.executable, "-m", "thumbwheel", "consumer", "--home", str(home.root)]
    with open(tmp_path / "out", "wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as run:
        try:
            run.wait(15)
        except subprocess.TimeoutExpired:
            run.terminate()
        run.wait(30)
    told = (tmp_path / "out").read_text()
    assert "see kafka_username, kafka_password and kafka_mechanism" in told
    assert "guessed-wrong" not in told and PASSWORD not in told
