"""What is done once an hour: erasures are finished, days that are over are archived, the event log is trimmed.

It knows nothing of the controller, which calls it in a thread of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import system_clock
from thumbwheel.erasing.job import Forgotten, forget
from thumbwheel.errors import ArtifactError
from thumbwheel.eventlog import EventLog, Positions
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.eventlog.trimming import trim
from thumbwheel.home import Home, read_secret
from thumbwheel.settings import Settings, kept_s
from thumbwheel.store import data_rows
from thumbwheel.store.connection import Store
from thumbwheel.store.retention import retain
from thumbwheel.store.segments import TOPICS as ARCHIVED
from thumbwheel.store.segments import Archive, segments

log_lines = logging.getLogger("thumbwheel.controller")


def keep_house(settings: Settings, home: Home, store: Store, log: EventLog, artifacts: ArtifactStore) -> Sequence[int]:
    """Finish erasures, archive the days that are over, trim the event log; those days. Raises ThumbwheelError.

    A damaged artifact keeps an erasure from being finished, and nothing else from being done; it is raised then.
    """
    damaged: ArtifactError | None = None
    try:
        done = forget(store, log, artifacts, home, read_secret(home), system_clock)
        if done != Forgotten():
            log_lines.info("of erased persons there was left: %s", done)
    except ArtifactError as error:
        damaged = error
    archived = retain(store, log, artifacts, home, settings.feedback_window_s, system_clock, time.sleep)
    if isinstance(log, SqliteEventLog):
        with store.read() as tx:
            held = _spare(data_rows.positions(tx), Archive(artifacts, segments(tx)))
        removed = trim(log, held, settings.feedback_window_s, kept_s(settings), system_clock())
        if removed:
            log_lines.info("the event log was trimmed: %s", removed)
    if damaged is not None:
        raise damaged
    return archived


def _spare(read: Positions, archive: Archive) -> dict[str, dict[int, int]]:
    """How far the log is in the store and, of the topics that a replay needs segments of, in these."""
    return {
        topic: {part: min(at, archive.end(topic, part)) if topic in ARCHIVED else at for part, at in parts.items()}
        for topic, parts in read.items()
    }
