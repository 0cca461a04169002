"""A Kafka broker that wants TLS, and a certificate or a name and a password; beside the open one of kafka_broker.py.

`kafka start` knows no such listeners, so its configuration is written here, and the jars are started directly.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.integration.kafka_broker import START_S, free_port

USER, PASSWORD = "thumbwheel", "swordfish-for-tests"
LOGIN = "org.apache.kafka.common.security"
JAVA = ("java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")


@dataclass(frozen=True)
class Identity:
    """A certificate that nobody issued but its owner, and its key; both in PEM."""

    cert: Path
    key: Path

    @property
    def both(self) -> Path:
        """One file with both, as a broker wants it."""
        path = self.cert.with_suffix(".both.pem")
        path.write_text(self.key.read_text() + self.cert.read_text())
        return path


def identity(folder: Path, name: str) -> Identity:
    """A new one, for 127.0.0.1."""
    made = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    kind = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}")
    files = ("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(made.key), "-out", str(made.cert))
    subprocess.run(["openssl", *kind, *files], check=True, capture_output=True)
    return made


class SecuredBroker:
    """One broker on loopback. `sasl_ssl`, `sasl_plaintext` and `ssl` are its servers by what they ask for."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._home, self._folder = home, folder
        self.server, self.client = identity(folder, "broker"), identity(folder, "client")
        ports = [free_port() for _ in range(5)]
        self.sasl_ssl, self.sasl_plaintext, self.ssl, self._inner, self._controller = (
            f"127.0.0.1:{port}" for port in ports
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Format its folder and start it."""
        plain = f'{LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        scram = f"{LOGIN}.scram.ScramLoginModule required;"
        listeners = {
            "SASL_SSL": self.sasl_ssl,
            "SASL_PLAINTEXT": self.sasl_plaintext,
            "SSL": self.ssl,
            "INNER": self._inner,
        }
        advertised = ",".join(f"{name}://{at}" for name, at in listeners.items())
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.bootstrap.servers": self._controller,
            "listeners": f"{advertised},CONTROLLER://{self._controller}",
            "advertised.listeners": advertised,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INNER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,INNER:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,"
            "SASL_PLAINTEXT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            **{f"listener.name.{name}.plain.sasl.jaas.config": plain for name in ("sasl_ssl", "sasl_plaintext")},
            **{
                f"listener.name.{name}.scram-sha-256.sasl.jaas.config": scram for name in ("sasl_ssl", "sasl_plaintext")
            },
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.server.both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.client.cert),
            "listener.name.ssl.ssl.client.auth": "required",
            "log.dirs": str(self._folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "auto.create.topics.enable": "false",
        }
        properties = self._folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in lines.items()))
        log = self._folder / "log"
        with log.open("ab") as out:
            made = self._java("kafka.tools.StorageTool", "random-uuid")
            new = subprocess.run(made, stdout=subprocess.PIPE, stderr=out, check=True).stdout.split()[-1].decode()
            user = f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"
            words = ("format", "--standalone", "-t", new, "-c", str(properties), "--add-scram", user)
            subprocess.run(self._java("kafka.tools.StorageTool", *words), stdout=out, stderr=out, check=True)
            started = self._java("kafka.Kafka", str(properties))
            self._process = subprocess.Popen(started, stdout=out, stderr=out, cwd=self._folder, start_new_session=True)
        deadline = time.monotonic() + START_S
        while "Kafka Server started" not in log.read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, log.read_text()[-4_000:]
            time.sleep(0.2)

    def kill(self) -> None:
        """End it."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _java(self, *words: str) -> list[str]:
        config = f"-Dlog4j2.configurationFile={self._home / 'log4j2.properties'}"
        return [*JAVA, config, "-cp", f"{self._home / 'libs'}/*", *words]
