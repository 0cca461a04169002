from __future__ import annotations

from pathlib import Path

import pytest
from kafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from thumbwheel.errors import BrokersRefuse
from thumbwheel.eventlog.kafka_cluster import away
from thumbwheel.eventlog.kafka_security import Security, advice, client_options, security_of
from thumbwheel.settings import Settings

LOGIN = Security("SASL_PLAINTEXT", mechanism="PLAIN", username="me", password="geheim")


def test_without_settings_nothing_is_asked_of_a_client() -> None:
    assert client_options(security_of(Settings(home=Path("/nowhere")))) == {"security_protocol": "PLAINTEXT"}


def test_a_name_and_a_password_reach_the_client_and_no_repr() -> None:
    assert client_options(LOGIN) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "me",
        "sasl_plain_password": "geheim",
    }
    assert "geheim" not in repr(LOGIN)


def test_tls_checks_names_and_chains() -> None:
    context = client_options(Security("SSL"))["ssl_context"]
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")  # type: ignore[attr-defined]


@pytest.mark.parametrize("named", ["kafka_ca_file", "kafka_cert_file", "kafka_key_file"])
@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_cannot_be_used_is_said_with_its_setting(tmp_path: Path, named: str, there: bool) -> None:
    file = tmp_path / "file.pem"
    if there:
        file.write_text("no certificate")
    fields = {"cert_file": str(tmp_path)} if named == "kafka_key_file" else {}
    if named == "kafka_key_file":  # the certificate is looked at first, and is fine as a file
        (tmp_path / "cert.pem").write_text("no certificate either")
        fields = {"cert_file": str(tmp_path / "cert.pem")}
    with pytest.raises(BrokersRefuse) as refused:
        client_options(Security("SSL", **fields, **{named.removeprefix("kafka_"): str(file)}))  # type: ignore[arg-type]
    assert named in refused.value.advice


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (SaslAuthenticationFailedError(), "kafka_password"),
        (UnsupportedSaslMechanismError(), "kafka_mechanism"),
        (TopicAuthorizationFailedError(), "me may not"),
        (KafkaConnectionError("Handshake failed: [SSL: CERTIFICATE_VERIFY_FAILED]"), "kafka_ca_file"),
        (KafkaConnectionError("Handshake failed: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED]"), "kafka_cert_file"),
        (KafkaConnectionError("Handshake failed: [SSL: WRONG_VERSION_NUMBER]"), "kafka_security"),
    ],
)
def test_a_refusal_names_what_to_look_at(error: Exception, named: str) -> None:
    assert named in (advice(error, LOGIN) or "")
    with pytest.raises(BrokersRefuse, match=named), away("took no records", LOGIN):
        raise error


@pytest.mark.parametrize("error", [KafkaTimeoutError("no broker"), KafkaConnectionError("socket disconnected")])
def test_brokers_that_are_away_refuse_nothing(error: Exception) -> None:
    assert advice(error, LOGIN) is None
