"""The topics of a Kafka event log: what they are called, how they are made, and what `doctor` asks of them (pure).

A topic that is there already stays as it is: it is its operators' to change, and `thumbwheel doctor` says what to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from thumbwheel.eventlog.references import MOST_BYTES
from thumbwheel.events import CURATION, DEAD_LETTER, FEEDBACK, RELEASE, TOLD, TOPICS, dead_letter_topic

ALL = (*TOPICS, *TOLD)
OVERHEAD_BYTES = 4_096  # of a record beside its value: its batch's head, its key
RETENTION_MARGIN_S = 7 * 24 * 3600  # how long a consumer may be down before something expires unread
FOR_EVER = -1
SYNCED = (FEEDBACK, CURATION, RELEASE, DEAD_LETTER)
"""Topics whose records are on disk before they are acknowledged; inferences are too many, and count for less."""
KEPT = (CURATION, RELEASE)
"""Topics that are kept for ever: few records, and what a replay needs to give the same dataset again."""


@dataclass(frozen=True)
class Topic:
    """A topic as a broker has it. `settings` are its configuration in the broker's words."""

    name: str
    partitions: int
    replicas: int  # of the partition that has the fewest
    settings: Mapping[str, str]


def named(prefix: str, topic: str) -> str:
    """What the broker calls the topic."""
    return prefix + topic


def all_of(apart: Iterable[str]) -> tuple[str, ...]:
    """Every topic, with those of the channels whose dead letters go to topics of their own."""
    return (*ALL, *(dead_letter_topic(channel, (channel,)) for channel in sorted(set(apart))))


def _kind(topic: str) -> str:
    """One of ALL: `dead-letter` of `dead-letter.support`."""
    return topic.partition(".")[0]


Kept = Mapping[str, float | None]
"""The setting `keep_records`: by topic so many seconds, None for ever; a topic that it lacks has its default."""
DEFAULTS: Kept = {}


def retention_ms(topic: str, window_s: float, kept_s: Kept = DEFAULTS) -> int:
    """How long a topic's records are to be kept; by default FOR_EVER for those that a replay needs."""
    kind = _kind(topic)
    if kind in kept_s:
        seconds = kept_s[kind]
        return FOR_EVER if seconds is None else round(seconds * 1000)
    return FOR_EVER if kind in KEPT else round((window_s + RETENTION_MARGIN_S) * 1000)


def settings_of(topic: str, window_s: float, kept_s: Kept = DEFAULTS) -> dict[str, str]:
    """A new topic's configuration. `window_s` is the feedback window."""
    wanted = {
        "message.timestamp.type": "LogAppendTime",  # a gateway's wrong clock refuses nothing, and expires nothing early
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms(topic, window_s, kept_s)),
        "retention.bytes": "-1",
    }
    return wanted | ({"flush.messages": "1"} if _kind(topic) in SYNCED else {})


def faults(
    topic: str, found: Topic | None, brokers: int, window_s: float, kept_s: Kept = DEFAULTS
) -> Iterator[tuple[str, str]]:
    """What is wrong with a topic, each with what to do. `found` is None where it is not there."""
    if found is None:
        yield "is not there", "the relay and the consumer make it when they start; see their logs"
        return
    held = found.settings
    least = min(3, brokers)
    if found.replicas < least:
        yield (
            f"has {found.replicas} replicas on {brokers} brokers",
            f"reassign its partitions to {least} brokers, or what is acknowledged is lost with one disk",
        )
    if found.replicas > 1 and int(held["min.insync.replicas"]) < 2:
        yield (
            "acknowledges what one replica alone has (min.insync.replicas 1)",
            f"kafka-configs: min.insync.replicas=2 for {found.name}",
        )
    if found.replicas == 1 and _kind(topic) in SYNCED and int(held["flush.messages"]) != 1:
        yield (
            "has one replica and is not synced before it acknowledges",
            f"kafka-configs: flush.messages=1 for {found.name}, or more replicas",
        )
    if held["message.timestamp.type"] != "LogAppendTime":
        yield (
            f"stamps records with {held['message.timestamp.type']}: a wrong clock is refused, or expires events",
            f"kafka-configs: message.timestamp.type=LogAppendTime for {found.name}",
        )
    wanted_ms, kept_ms = retention_ms(topic, window_s, kept_s), int(held["retention.ms"])
    least_ms = wanted_ms if _kind(topic) in kept_s else window_s * 1000
    if kept_ms != FOR_EVER and (wanted_ms == FOR_EVER or kept_ms < least_ms):
        yield (
            f"keeps records for {kept_ms / 86_400_000:g} days",
            f"kafka-configs: retention.ms={wanted_ms} for {found.name}",
        )
    if int(held["retention.bytes"]) != FOR_EVER:
        yield (
            f"drops records over {held['retention.bytes']} bytes a partition, however young",
            f"kafka-configs: retention.bytes=-1 for {found.name}",
        )
    if held["cleanup.policy"] != "delete":
        yield (
            f"is cleaned up by {held['cleanup.policy']}: events of one key would be thrown away",
            f"kafka-configs: cleanup.policy=delete for {found.name}",
        )
    if int(held["max.message.bytes"]) < MOST_BYTES + OVERHEAD_BYTES:
        yield (
            f"takes records of {held['max.message.bytes']} bytes at most",
            f"kafka-configs: max.message.bytes={MOST_BYTES + OVERHEAD_BYTES} or more for {found.name}",
        )


def told(topic: Topic) -> str:
    """A topic in a line."""
    kept_ms = int(topic.settings["retention.ms"])
    kept = "for ever" if kept_ms == FOR_EVER else f"for {kept_ms / 86_400_000:g} days"
    return f"{topic.partitions} partitions, {topic.replicas} replicas, kept {kept}"
