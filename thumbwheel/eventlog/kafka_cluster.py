"""A Kafka cluster as this service uses it: its clients, each of them bounded in time, and its topics.

It knows nothing of records. A broker's and a client's errors become StoreUnavailable here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.net.compat import KafkaNetClient
from kafka.net.selector import NetworkSelector

from thumbwheel.errors import BrokersRefuse, StoreUnavailable
from thumbwheel.eventlog import topics
from thumbwheel.eventlog.kafka_security import Remembering, Security, advice, client_options
from thumbwheel.eventlog.topics import Kept, Topic

BOOTSTRAP_S = 2.0  # the longest that a new client looks for a broker
REQUEST_MS = 10_000  # after so long a connection that says nothing is given up
BACKOFF_MS = 500  # between tries to connect again, at most: a broker that is back is seen soon


@dataclass(frozen=True)
class Cluster:
    """Where the brokers are, what the topics are called, and how new ones are made. `window_s`: the feedback window."""

    servers: tuple[str, ...]
    prefix: str
    partitions: int
    window_s: float
    topics: tuple[str, ...] = topics.ALL
    kept_s: Kept = field(default_factory=dict)
    security: Security = field(default_factory=Security)


@contextmanager
def away(doing: str, security: Security | None = None, made: Sequence[Remembering] = ()) -> Iterator[None]:
    """Whatever a client stumbles over while `doing` becomes StoreUnavailable, or BrokersRefuse.

    `made` are the connections of a client that is being made, which know better than it why there is none.
    """
    try:
        yield
    except (KafkaError, OSError) as error:
        causes = [*(failure for one in made for failure in one.failures), error]
        for cause in reversed(causes):
            if to_do := advice(cause, security or Security()):
                raise BrokersRefuse(f"the event log {doing}: {type(cause).__name__}: {cause}", to_do) from error
        raise StoreUnavailable(f"the event log {doing}: {type(error).__name__}: {error}") from error


def connect(kind: Any, cluster: Cluster, deadline_s: float, **config: object) -> Any:
    """A client of `kind`, connected before `deadline_s` of the monotonic clock. Raises StoreUnavailable.

    A client that finds no broker leaves its thread and its sockets behind when it is made in the usual way; a service
    that tries again for a night would run out of them.
    """
    made: list[KafkaNetClient] = []
    connections: list[Remembering] = []

    def network(**settings: object) -> KafkaNetClient:
        selector = NetworkSelector(**settings)
        connections.append(Remembering(selector, **settings))
        made.append(KafkaNetClient(net=selector, manager=connections[-1], **settings))
        return made[-1]

    # What it says is in our errors too, once for an outage instead of at every try; and what it says of itself at level
    # DEBUG has passwords in it.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    options = client_options(cluster.security)
    patience_s = min(BOOTSTRAP_S, max(0.1, deadline_s - time.monotonic()))
    try:
        with away("cannot be reached", cluster.security, connections):
            return kind(
                **options,
                bootstrap_servers=list(cluster.servers),
                bootstrap_timeout_ms=round(1000 * patience_s),
                reconnect_backoff_max_ms=BACKOFF_MS,
                kafka_client=network,
                **config,
            )
    except StoreUnavailable:
        for client in made:
            client.close()
        raise
    finally:
        for one in connections:
            one.forget()


def refresh(consumer: Any, timeout_ms: int) -> None:
    """Have a KafkaConsumer learn anew what topics and partitions there are. Raises KafkaError.

    Its own ways to do so wait for a broker for ever.
    """
    known = consumer._cluster
    deadline_s = time.monotonic() + timeout_ms / 1000
    if known.metadata_refresh_in_progress:  # it began before we asked, maybe for less, and may fail
        with suppress(KafkaError):
            _await(consumer, known.request_update(), deadline_s)
    stash, known.need_all_topic_metadata = known.need_all_topic_metadata, True
    try:
        _await(consumer, known.request_update(), deadline_s)
    finally:
        known.need_all_topic_metadata = stash


def _await(consumer: Any, answer: Any, deadline_s: float) -> None:
    consumer._net.run(consumer._manager.wait_for, answer, max(50, round(1000 * (deadline_s - time.monotonic()))))


def make_topics(cluster: Cluster, deadline_s: float) -> None:
    """Make those topics that are not there. Raises StoreUnavailable."""
    with closing(connect(KafkaAdminClient, cluster, deadline_s, request_timeout_ms=REQUEST_MS)) as admin:
        there = set(_described(admin, cluster))
        missing = [topic for topic in cluster.topics if topic not in there]
        for topic in missing:
            new = NewTopic(
                topics.named(cluster.prefix, topic),
                num_partitions=cluster.partitions,
                replication_factor=-1,  # the cluster's own default
                topic_configs=topics.settings_of(topic, cluster.window_s, cluster.kept_s),
            )
            with away("takes no topics"):
                _create(admin, new, max(100, round(1000 * (deadline_s - time.monotonic()))))


def _create(admin: KafkaAdminClient, new: NewTopic, timeout_ms: int) -> None:
    try:
        admin.create_topics([new], timeout_ms=timeout_ms)
    except TopicAlreadyExistsError:  # another process was faster
        return


def describe(cluster: Cluster, deadline_s: float) -> tuple[int, Mapping[str, Topic]]:
    """How many brokers there are, and the topics that are there, by our names. Raises StoreUnavailable."""
    with closing(connect(KafkaAdminClient, cluster, deadline_s, request_timeout_ms=REQUEST_MS)) as admin:
        partitions = _described(admin, cluster)
        with away("does not describe itself"):
            brokers = len(admin.describe_cluster()["brokers"])
            names = [topics.named(cluster.prefix, name) for name in partitions]
            wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
            configured = admin.describe_configs(wanted, config_filter="all")["topic"] if wanted else {}
    return brokers, {
        name: Topic(
            named := topics.named(cluster.prefix, name),
            len(found),
            min(len(partition["replica_nodes"]) for partition in found),
            {key: str(entry["value"]) for key, entry in configured[named].items()},
        )
        for name, found in partitions.items()
    }


def _described(admin: KafkaAdminClient, cluster: Cluster) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The partitions of each of our topics that is there."""
    ours = {topics.named(cluster.prefix, topic): topic for topic in cluster.topics}
    with away("does not describe itself"):
        found = admin.describe_topics(list(ours))
    return {ours[topic["name"]]: topic["partitions"] for topic in found if topic["error_code"] == 0}
