"""A dataset that was frozen from PostgreSQL is made again in SQLite, byte for byte."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from feedback.replay import SAME
from tests.partitioned_log import PartitionedLog
from tests.unit.feedback.site import NOW_MS, Site, feedback, inference, talk
from thumbwheel.ids import DAY_MS
from thumbwheel.store import segments
from thumbwheel.store.connection import Store


def test_a_dataset_of_one_database_is_made_again_in_the_other(stores: Callable[..., Store], tmp_path: Path) -> None:
    log = PartitionedLog(3)
    place = Site(tmp_path / "home", log, stores())
    place.say(*talk(range(60)), inference(60, answer="Oh\0.", messages=[{"role": "user", "content": "褪色\0了"}]))
    place.say(feedback(60, "fb-É", correction="免费\0退货。"), feedback(61, "fb-z"), feedback(3, "fb-Z", author="É"))
    place.read(random.Random(1))
    dataset = place.freeze()
    ahead = segments.pending(place.store, log, DAY_MS, NOW_MS)
    for one in segments.keep(place.store, log, place.artifacts, tmp_path / "scratch", ahead, DAY_MS, NOW_MS):
        log.forget(one.topic, one.partition, one.last)
    assert place.replay(dataset, tmp_path / "again").status == SAME
    log.close()
