"""Which event log a process gets: the one place that chooses between SQLite, Kafka, and the relay in front of Kafka.

It knows nothing of what is read or written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.sqlite import BUSY_MS, SqliteEventLog
from thumbwheel.eventlog.topics import all_of
from thumbwheel.home import Home
from thumbwheel.settings import Settings, kafka_servers, kept_s

if TYPE_CHECKING:
    from thumbwheel.eventlog.kafka_cluster import Cluster

Role = Literal["client", "member", "gateway"]
"""`client` reads and writes everything; `member` reads the consumers' share that its group gives it; `gateway` holds no
client of a broker, and asks this machine's relay."""


def open_log(settings: Settings, home: Home, role: Role = "client", *, busy_ms: int = BUSY_MS) -> EventLog:
    """The event log that the settings name; `busy_ms` is the longest that an operation waits for others, or for a
    broker; a relay has its own patience.

    Raises StoreUnavailable for SQLite's file; Kafka and the relay are first connected to when they are used.
    """
    if settings.kafka is None:
        return SqliteEventLog(home.events, busy_ms=busy_ms)
    # Neither module is needed where SQLite is the log, and the client takes its time to import.
    if role == "gateway":
        from thumbwheel.eventlog.relay_log import RelayLog

        return RelayLog(home.relay)
    from thumbwheel.eventlog.kafka import KafkaEventLog
    from thumbwheel.eventlog.kafka_reader import Member

    return KafkaEventLog(
        cluster_of(settings, settings.kafka),
        ArtifactStore(home.artifacts),
        member=Member(settings.kafka_group, settings.kafka_instance) if role == "member" else None,
        patience_s=busy_ms / 1000,
    )


def cluster_of(settings: Settings, kafka: str) -> Cluster:
    """The cluster at `kafka`, which is the setting of this name, with topics as the settings want them."""
    from thumbwheel.eventlog.kafka_cluster import Cluster
    from thumbwheel.eventlog.kafka_security import security_of

    return Cluster(
        kafka_servers(kafka),
        settings.kafka_prefix,
        settings.kafka_partitions,
        float(settings.feedback_window_s),
        all_of(settings.dead_letter_channels),
        kept_s(settings),
        security_of(settings),
    )
