"""How long the SQLite event log keeps its records: the controller trims it once an hour. A broker does so by itself.

A record goes when it is older than its topic's records are kept (`topics.retention_ms`), and the store has read it. Its
age is its event's own time; a record that holds none is as old as the one before it. The last record of a topic stays:
offsets go on from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from thumbwheel.eventlog import Positions, topics
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import TOPICS

AT_ONCE = 500


class _Timed(msgspec.Struct):
    at_ms: int = 0


_timed = msgspec.json.Decoder(_Timed)


def trim(
    log: SqliteEventLog, held: Positions, window_s: float, kept_s: Mapping[str, float | None], now_ms: int
) -> dict[str, int]:
    """Remove what has been kept for long enough; how many records, by topic. Raises StoreUnavailable.

    `held` is how far the store has read each topic, `window_s` the feedback window, `kept_s` the setting.
    """
    removed = {}
    for topic in log.topics():
        kept_ms = topics.retention_ms(topic, window_s, kept_s)
        if kept_ms != topics.FOR_EVER:
            read = held.get(topic, {}).get(0, 0) if topic in TOPICS else None
            removed[topic] = log.trim(topic, _last_over(log, topic, now_ms - kept_ms, read))
    return {topic: count for topic, count in removed.items() if count}


def _last_over(log: SqliteEventLog, topic: str, before_ms: int, read: int | None) -> int:
    """The offset up to which all is older than that, and read; 0 where nothing is."""
    last = 0
    while records := log.read(topic, 0, last, AT_ONCE):
        for record in records:
            if (read is not None and record.offset > read) or _at_ms(record.value) >= before_ms:
                return last
            last = record.offset
    return last


def _at_ms(value: bytes) -> int:
    try:
        return _timed.decode(value).at_ms
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0
