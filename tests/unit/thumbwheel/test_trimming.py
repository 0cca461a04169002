from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.eventlog.trimming import trim
from thumbwheel.events import CURATION, DEAD_LETTER, FEEDBACK, INFERENCE, RELEASE

DAY_MS, WINDOW_S = 86_400_000, 30 * 86_400
NOW = 1_000 * DAY_MS


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    with closing(SqliteEventLog(tmp_path / "events.db")) as made:
        yield made


def write(log: SqliteEventLog, topic: str, *ages_days: int) -> None:
    for age in ages_days:
        log.append(topic, [("k", b'{"at_ms":%d}' % (NOW - age * DAY_MS))], durable=False)


def left(log: SqliteEventLog, topic: str) -> list[int]:
    return [record.offset for record in log.read(topic, 0, 0, 1_000)]


def test_what_is_old_and_read_goes_by_its_topics_time(log: SqliteEventLog) -> None:
    for topic in (INFERENCE, FEEDBACK, CURATION, RELEASE, DEAD_LETTER, f"{DEAD_LETTER}.support"):
        write(log, topic, 50, 40, 38, 36, 1)
    held = {topic: {0: 5} for topic in (INFERENCE, FEEDBACK, CURATION)}
    trimmed = (INFERENCE, FEEDBACK, DEAD_LETTER, f"{DEAD_LETTER}.support")
    assert trim(log, held, WINDOW_S, {}, NOW) == dict.fromkeys(trimmed, 3)
    assert left(log, FEEDBACK) == [4, 5] and left(log, CURATION) == left(log, RELEASE) == [1, 2, 3, 4, 5]
    assert trim(log, held, WINDOW_S, {}, NOW) == {}
    assert log.starts()[FEEDBACK] == {0: 3} and log.ends()[FEEDBACK] == {0: 5}


def test_what_the_store_has_not_read_stays(log: SqliteEventLog) -> None:
    write(log, FEEDBACK, 90, 80, 70, 60)
    assert trim(log, {FEEDBACK: {0: 2}}, WINDOW_S, {}, NOW) == {FEEDBACK: 2}
    assert left(log, FEEDBACK) == [3, 4]
    assert trim(log, {}, WINDOW_S, {}, NOW) == {}


def test_offsets_go_on_where_all_is_old(log: SqliteEventLog) -> None:
    write(log, FEEDBACK, 90, 80)
    assert trim(log, {FEEDBACK: {0: 2}}, WINDOW_S, {}, NOW) == {FEEDBACK: 1}
    write(log, FEEDBACK, 0)
    assert left(log, FEEDBACK) == [2, 3]


def test_a_record_without_a_time_is_as_old_as_the_one_before(log: SqliteEventLog) -> None:
    write(log, FEEDBACK, 90)
    log.append(FEEDBACK, [("k", b"\xff"), ("k", b"[]")], durable=False)
    write(log, FEEDBACK, 1)
    log.append(FEEDBACK, [("k", b"\xff")], durable=False)
    assert trim(log, {FEEDBACK: {0: 5}}, WINDOW_S, {}, NOW) == {FEEDBACK: 3}


def test_the_setting_says_otherwise(log: SqliteEventLog) -> None:
    for topic in (FEEDBACK, CURATION):
        write(log, topic, 50, 3, 1)
    held = {topic: {0: 3} for topic in (FEEDBACK, CURATION)}
    kept = {FEEDBACK: None, CURATION: 2 * 86_400.0}
    assert trim(log, held, WINDOW_S, kept, NOW) == {CURATION: 2}
    assert left(log, FEEDBACK) == [1, 2, 3]


def test_many_are_trimmed_as_few_are(log: SqliteEventLog) -> None:
    log.append(FEEDBACK, [("k", b'{"at_ms":%d}' % n) for n in range(1_300)], durable=False)
    assert trim(log, {FEEDBACK: {0: 1_200}}, WINDOW_S, {}, NOW) == {FEEDBACK: 1_200}
