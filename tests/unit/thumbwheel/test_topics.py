from __future__ import annotations

from dataclasses import replace

import pytest

from deploy.doctor import broker_topics
from thumbwheel.eventlog.topics import ALL, RETENTION_MARGIN_S, Topic, all_of, faults, settings_of
from thumbwheel.events import CURATION, DEAD_LETTER, FEEDBACK, INFERENCE, RELEASE

DAY_S = 86_400
WINDOW_S = 30 * DAY_S
BROKERS_OWN = {"max.message.bytes": "1048588", "min.insync.replicas": "2", "flush.messages": "9223372036854775807"}


def topic(name: str, **settings: str) -> Topic:
    """As we make it on three brokers, but for `settings`, whose dots are underlines here."""
    chosen = {key.replace("_", "."): value for key, value in settings.items()}
    return Topic(f"t.{name}", 6, 3, BROKERS_OWN | settings_of(name, WINDOW_S) | chosen)


@pytest.mark.parametrize("name", ALL)
def test_what_we_make_has_no_fault(name: str) -> None:
    assert list(faults(name, topic(name), 3, WINDOW_S)) == []
    alone = replace(topic(name, min_insync_replicas="1"), replicas=1)
    assert list(faults(name, alone, 1, WINDOW_S)) == [], "one broker can do no more"


def test_how_long_each_is_kept_and_what_is_synced() -> None:
    kept = {name: int(settings_of(name, WINDOW_S)["retention.ms"]) for name in ALL}
    window_ms = (WINDOW_S + RETENTION_MARGIN_S) * 1000
    assert kept == {INFERENCE: window_ms, FEEDBACK: window_ms, DEAD_LETTER: window_ms, CURATION: -1, RELEASE: -1}
    synced = {name for name in ALL if settings_of(name, WINDOW_S).get("flush.messages") == "1"}
    assert synced == {FEEDBACK, CURATION, RELEASE, DEAD_LETTER}, "feedback is on disk before its 202"


@pytest.mark.parametrize(
    ("name", "settings", "what"),
    [
        (FEEDBACK, {"message_timestamp_type": "CreateTime"}, "wrong clock"),
        (FEEDBACK, {"retention_ms": str(29 * DAY_S * 1000)}, "29 days"),
        (CURATION, {"retention_ms": str(400 * DAY_S * 1000)}, "400 days"),
        (INFERENCE, {"retention_bytes": "1000000"}, "1000000 bytes"),
        (INFERENCE, {"cleanup_policy": "compact"}, "compact"),
        (INFERENCE, {"max_message_bytes": "500000"}, "500000 bytes"),
        (FEEDBACK, {"min_insync_replicas": "1"}, "min.insync.replicas"),
    ],
)
def test_each_fault_is_found_alone_and_says_what_to_do(name: str, settings: dict[str, str], what: str) -> None:
    ((found, advice),) = faults(name, topic(name, **settings), 3, WINDOW_S)
    assert what in found + advice and f"t.{name}" in advice


def test_a_channels_own_dead_letters_are_kept_like_all() -> None:
    assert all_of(("support", "sales", "sales")) == (*ALL, "dead-letter.sales", "dead-letter.support")
    assert settings_of("dead-letter.sales", WINDOW_S) == settings_of(DEAD_LETTER, WINDOW_S)


def test_replicas_are_asked_for_as_there_are_brokers() -> None:
    one = replace(topic(FEEDBACK), replicas=1)
    ((found, _),) = faults(FEEDBACK, one, 3, WINDOW_S)
    assert "1 replicas on 3 brokers" in found
    assert list(faults(FEEDBACK, replace(one, replicas=2), 2, WINDOW_S)) == []
    lax = replace(topic(FEEDBACK, flush_messages="100"), replicas=1)
    ((found, _),) = faults(FEEDBACK, lax, 1, WINDOW_S)
    assert "not synced" in found
    assert list(faults(INFERENCE, replace(topic(INFERENCE), replicas=1), 1, WINDOW_S)) == []


def test_a_longer_window_needs_a_longer_retention() -> None:
    assert list(faults(FEEDBACK, topic(FEEDBACK), 3, 37 * DAY_S)) == []
    assert list(faults(FEEDBACK, topic(FEEDBACK), 3, 38 * DAY_S)) != []
    assert list(faults(FEEDBACK, topic(FEEDBACK, retention_ms="-1"), 3, 1e9)) == []


def test_the_setting_says_for_how_long_a_topic_is_kept() -> None:
    kept = {FEEDBACK: 90 * DAY_S, CURATION: None, RELEASE: 10.0, DEAD_LETTER: 5.0}
    assert settings_of(FEEDBACK, WINDOW_S, kept)["retention.ms"] == str(90 * DAY_S * 1000)
    assert settings_of(f"{DEAD_LETTER}.support", WINDOW_S, kept)["retention.ms"] == "5000"
    assert settings_of(RELEASE, WINDOW_S, kept)["retention.ms"] == "10000"
    assert settings_of(INFERENCE, WINDOW_S, kept) == settings_of(INFERENCE, WINDOW_S)
    ((found, advice),) = faults(FEEDBACK, topic(FEEDBACK), 3, WINDOW_S, kept)
    assert "37 days" in found and str(90 * DAY_S * 1000) in advice
    assert list(faults(RELEASE, topic(RELEASE), 3, WINDOW_S, kept)) == []


def test_the_doctor_tells_of_every_topic() -> None:
    there = {name: topic(name) for name in ALL if name != RELEASE}
    there[FEEDBACK] = topic(FEEDBACK, message_timestamp_type="CreateTime")
    told = {finding.what: finding for finding in broker_topics(3, there, WINDOW_S)}
    assert set(told) == {"Kafka", *(f"topic {name}" for name in ALL)}
    wrong = {what for what, finding in told.items() if finding.advice is not None}
    assert wrong == {"topic feedback", "topic release"}
    assert told["topic inference"].found == "6 partitions, 3 replicas, kept for 37 days"
    assert told["topic curation"].found.endswith("kept for ever")
