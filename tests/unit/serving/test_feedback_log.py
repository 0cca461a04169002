"""What was acknowledged is in the log, and what could not be written is not acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from serving.feedback_log import FeedbackLog
from serving.replies import as_request_error
from tests.full_disk import no_room
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import CURATION, FEEDBACK, FeedbackEvent, ReviewEvent, decode


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[FeedbackLog]:
    made = FeedbackLog(lambda: SqliteEventLog(tmp_path / "events.db"))
    made.start()
    yield made
    await asyncio.to_thread(made.close)


def event(n: int, comment: str = "no") -> FeedbackEvent:
    return FeedbackEvent(f"fb-{n}", f"inf-{n}", "shop", "support", n, comment=comment)


def held(folder: Path) -> list[str]:
    log = SqliteEventLog(folder / "events.db")
    try:
        return [decode(record.value).id for record in log.read(FEEDBACK, 0, 0, 1_000)]
    finally:
        log.close()


async def test_a_full_disk_acknowledges_nothing_and_loses_nothing(tmp_path: Path, writer: FeedbackLog) -> None:
    await asyncio.gather(*(writer.append(event(n)) for n in range(5)))
    with no_room():
        tried = await asyncio.gather(*(writer.append(event(n)) for n in range(5, 9)), return_exceptions=True)
    assert [type(error) for error in tried] == [StoreUnavailable] * 4
    answer = as_request_error(tried[0])  # type: ignore[arg-type]
    assert answer.status == 503 and answer.retry_after
    assert held(tmp_path) == [f"fb-{n}" for n in range(5)]
    await writer.append(event(9))
    assert held(tmp_path) == [f"fb-{n}" for n in (*range(5), 9)]


async def test_a_log_that_cannot_be_made_on_a_full_disk_is_made_when_there_is_room(
    tmp_path: Path, writer: FeedbackLog
) -> None:
    with no_room(), pytest.raises(StoreUnavailable):
        await writer.append(event(1))
    await writer.append(event(2))
    assert held(tmp_path) == ["fb-2"]


async def test_half_a_batch_is_never_taken(tmp_path: Path, writer: FeedbackLog) -> None:
    await writer.append(event(0))
    size = (tmp_path / "events.db-wal").stat().st_size
    with no_room(size + 40_000):
        tried = await asyncio.gather(
            *(writer.append(event(n, "x" * 20_000)) for n in range(1, 9)), return_exceptions=True
        )
    acknowledged = [f"fb-{n}" for n, error in enumerate(tried, 1) if error is None]
    assert len(acknowledged) < 8
    assert held(tmp_path) == ["fb-0", *acknowledged]


async def test_reviews_go_to_their_own_topic(tmp_path: Path, writer: FeedbackLog) -> None:
    review = ReviewEvent("rv-1", "fb-1", "support", 1, "ann", "approve")
    await asyncio.gather(writer.append(event(1)), writer.append(review), writer.append(event(2)))
    log = SqliteEventLog(tmp_path / "events.db")
    (record,) = log.read(CURATION, 0, 0, 10)
    log.close()
    assert (record.key, decode(record.value)) == ("fb-1", review)
    assert held(tmp_path) == ["fb-1", "fb-2"]
