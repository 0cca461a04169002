"""How the brokers are spoken to: in plain text or over TLS, as nobody or with a name and a password.

What the settings say becomes a client's options here and nowhere else, and what the brokers refuse becomes a sentence
with the setting to look at. It knows nothing of topics and records. A password is in no message and no `repr`.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)
from kafka.net.manager import KafkaConnectionManager

from thumbwheel.errors import BrokersRefuse
from thumbwheel.settings import Settings


@dataclass(frozen=True)
class Security:
    """The settings of the same names. `protocol` is one of settings.KAFKA_SECURITY; files are PEM."""

    protocol: str = "PLAINTEXT"
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def security_of(settings: Settings) -> Security:
    """What the settings say of it."""
    files = (settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)
    return Security(
        settings.kafka_security, *files, settings.kafka_mechanism, settings.kafka_username, settings.kafka_password
    )


def client_options(security: Security) -> dict[str, object]:
    """What a client of kafka-python is made with. Raises BrokersRefuse where a file is missing or is none."""
    options: dict[str, object] = {"security_protocol": security.protocol}
    if security.protocol.endswith("SSL"):
        options["ssl_context"] = _context(security)
    if security.protocol.startswith("SASL"):
        options |= {
            "sasl_mechanism": security.mechanism,
            "sasl_plain_username": security.username,  # SCRAM's too, whatever they are called
            "sasl_plain_password": security.password,
        }
    return options


def _context(security: Security) -> ssl.SSLContext:
    """Names and chains are checked: against `ca_file`, or against what this machine trusts."""
    try:
        context = ssl.create_default_context(cafile=security.ca_file)
    except OSError as error:  # an SSLError too
        raise _unusable("kafka_ca_file", security.ca_file, error) from error
    if security.cert_file is not None:
        for name, path in (("kafka_cert_file", security.cert_file), ("kafka_key_file", security.key_file)):
            try:
                if path is not None:
                    Path(path).read_bytes()
            except OSError as error:
                raise _unusable(name, path, error) from error
        try:
            # An encrypted key would be asked for at a terminal, which a service has not.
            context.load_cert_chain(security.cert_file, security.key_file, password=_no_password)
        except (OSError, ValueError) as error:
            raise _unusable("kafka_cert_file and kafka_key_file", security.cert_file, error) from error
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted, and a service cannot be asked for its password")


def _unusable(name: str, path: str | None, error: Exception) -> BrokersRefuse:
    told = f"the event log cannot be reached: {error}"
    return BrokersRefuse(told, f"see the setting {name}, which names {path}: a PEM file that we may read is right")


class Remembering(KafkaConnectionManager):  # type: ignore[misc]  # the client has no types
    """A client's connections, and why they failed: the client itself says only that it found no broker.

    That is wanted until the client is made. A failure keeps its connection's socket open, so none is kept after that.
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.failures: list[BaseException] = []
        self._made = False
        super().__init__(*args, **kwargs)

    def forget(self) -> None:
        """Keep no failures from now on: the client is made, or nobody waits for it any more."""
        self._made = True
        self.failures.clear()

    def _note(self, failure: BaseException) -> None:
        if not self._made:
            self.failures.append(failure)

    def get_connection(self, *args: object, **kwargs: object) -> Any:
        """As the client's own."""
        connection: Any = super().get_connection(*args, **kwargs)
        connection.init_future.add_errback(self._note)
        if "_sasl_authenticate" not in vars(connection):
            connection._sasl_authenticate = partial(self._authenticate, connection._sasl_authenticate)
        return connection

    async def _authenticate(
        self, authenticate: Callable[..., Awaitable[None]], *args: object, **kwargs: object
    ) -> None:
        """A broker that refuses says why and hangs up; a client that is slow to listen finds only the latter."""
        try:
            await authenticate(*args, **kwargs)
        except KafkaConnectionError as error:
            self._note(SaslAuthenticationFailedError(f"the broker hung up: {error}"))
            raise
        except KafkaError as error:
            self._note(error)
            raise


def advice(error: BaseException, security: Security) -> str | None:
    """What to do where a broker has refused us, and not merely is away."""
    said = str(error)
    if isinstance(error, SaslAuthenticationFailedError):
        return (
            f"the brokers refuse this name and password under {security.mechanism}: see kafka_username, kafka_password "
            "and kafka_mechanism"
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"the brokers do not offer {security.mechanism}: set kafka_mechanism to one that they do"
    if isinstance(error, AuthorizationError):
        who = security.username or "whom the brokers take us for"
        return (
            f"{who} may not do this: allow it on the topics and groups that begin as kafka_prefix and kafka_group say"
        )
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "the brokers' certificate is not trusted: name the authority that issued it in kafka_ca_file"
    if "CERTIFICATE_REQUIRED" in said or "BAD_CERTIFICATE" in said or "UNKNOWN_CA" in said:
        return (
            "the brokers ask for a certificate that they trust: name it in kafka_cert_file, its key in kafka_key_file"
        )
    if "Handshake failed" in said:
        return "the brokers take no TLS there: see kafka_security, and the port in kafka"
    return None
