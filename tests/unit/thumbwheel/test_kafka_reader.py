from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from kafka import TopicPartition

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.kafka_reader import bounds

FIRST, SECOND = TopicPartition("inference", 0), TopicPartition("inference", 1)


def halved(times: int) -> Callable[[], dict[TopicPartition, int]]:
    """A client that looks so often for a partition that its answer lacks."""
    left = [times]

    def ask() -> dict[TopicPartition, int]:
        left[0] -= 1
        found = {FIRST: 7, SECOND: 9}
        if left[0] >= 0:
            del found[SECOND]
        return {place: found[place] for place in (FIRST, SECOND)}

    return ask


def test_an_answer_that_lacks_a_partition_is_asked_for_again() -> None:
    assert bounds(halved(2), time.monotonic() + 60) == {FIRST: 7, SECOND: 9}


def test_where_it_goes_on_to_lack_one_the_log_is_away() -> None:
    with pytest.raises(StoreUnavailable, match="inference"):
        bounds(halved(1_000), time.monotonic())
