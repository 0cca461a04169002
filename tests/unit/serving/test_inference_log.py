"""Inferences reach the log, wait in the spool while it is away, and are counted where they fit nowhere."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from serving.inference_log import InferenceLog
from serving.spool import Spool
from tests.full_disk import no_room
from thumbwheel import events
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Record
from thumbwheel.events import InferenceEvent


class Log:
    """An event log that can be away."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self.away = False
        self.gate = threading.Event()
        self.gate.set()

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        self.gate.wait()
        assert topic == events.INFERENCE and not durable
        if self.away:
            raise StoreUnavailable("away")
        self.records += records

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        raise AssertionError("never read here")

    def ends(self) -> dict[str, dict[int, int]]:
        raise AssertionError("never asked here")

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [key for key, _ in self.records]


def event(number: int, answer: str | None = "fine", status: str = "ok") -> InferenceEvent:
    return InferenceEvent(
        id=f"chatcmpl-{number:04}",
        tenant="t",
        channel="c",
        unit="u",
        at_ms=number,
        assigned="r",
        role="stable",
        served_by="r",
        status=status,
        messages=[{"role": "user", "content": "hi"}],
        answer=answer,
        finish_reason="stop",
    )


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def started(log: Log, spool: Path, queue: int = 1000, size: int = 1 << 20) -> InferenceLog:
    made = InferenceLog(lambda: log, spool, queue, size)
    made.start()
    return made


def test_inferences_arrive_in_order_and_soon(tmp_path: Path) -> None:
    log = Log()
    writer = started(log, tmp_path)
    begun = time.monotonic()
    for number in range(100):
        writer.put(event(number), keep_text=True)
    until(lambda: len(log.ids) == 100)
    assert time.monotonic() - begun < 0.5
    writer.close()
    assert log.ids == [f"chatcmpl-{number:04}" for number in range(100)]
    assert list(tmp_path.iterdir()) == []


def test_faults_are_noted_and_unkept_text_goes(tmp_path: Path) -> None:
    log = Log()
    writer = started(log, tmp_path)
    writer.put(event(0, answer=""), keep_text=True)
    writer.put(event(1, answer="la " * 90), keep_text=False)
    writer.put(event(2, answer=None, status="unavailable"), keep_text=True)
    writer.close()
    empty, looping, unavailable = (events.decode(value) for _, value in log.records)
    assert isinstance(empty, InferenceEvent) and empty.flags == ["empty"] and empty.messages
    assert isinstance(looping, InferenceEvent) and looping.flags == ["degenerate"]
    assert looping.answer is None and looping.messages is None
    assert isinstance(unavailable, InferenceEvent) and unavailable.flags == []


def test_a_fault_that_the_request_itself_brought_about_is_not_noted(tmp_path: Path) -> None:
    log = Log()
    writer = started(log, tmp_path)
    writer.put(event(0, answer=""), keep_text=True, excused={"empty"})
    writer.put(event(1, answer=""), keep_text=True, excused={"truncated", "degenerate"})
    writer.close()
    assert [events.decode(value).flags for _, value in log.records] == [[], ["empty"]]


def test_the_spool_keeps_what_the_log_cannot_take_and_drains_in_order(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    for number in range(50):
        writer.put(event(number), keep_text=True)
    until(lambda: writer.spooled > 50 * 100 and writer.queued == 0)
    log.away = False
    for number in range(50, 60):
        writer.put(event(number), keep_text=True)
    until(lambda: len(log.ids) >= 60)
    writer.close()
    assert log.ids == [f"chatcmpl-{number:04}" for number in range(60)]
    assert writer.dropped == 0 and list(tmp_path.iterdir()) == []


def test_what_fits_nowhere_is_counted(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path, size=2_000)
    for number in range(100):
        writer.put(event(number), keep_text=True)
    until(lambda: writer.queued == 0)
    writer.close()
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert len(held) <= 2_000
    assert writer.dropped == 100 - held.count(b"\n") > 0


async def test_feedback_waits_until_its_inference_has_left_the_memory(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path)
    writer.expect("chatcmpl-0000")
    waiting = asyncio.create_task(writer.settled("chatcmpl-0000"))
    await asyncio.wait_for(writer.settled("chatcmpl-9999"), 1)  # another worker's, or one of before
    writer.put(event(0), keep_text=True)
    await asyncio.sleep(0.3)  # the thread has it in hand by now, and the log has not
    assert not waiting.done() and log.ids == []
    log.gate.set()
    await asyncio.wait_for(waiting, 5)
    assert log.ids == ["chatcmpl-0000"]
    writer.close()


async def test_an_inference_that_is_spooled_or_dropped_is_not_waited_for(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    writer.put(event(0), keep_text=True)
    await asyncio.wait_for(writer.settled("chatcmpl-0000"), 1)
    assert writer.spooled > 0
    writer.close()

    stuck = Log()
    stuck.gate.clear()
    writer = started(stuck, tmp_path / "beside", queue=1)
    for number in range(4):
        writer.put(event(number), keep_text=True)
    assert writer.dropped > 0
    await asyncio.wait_for(writer.settled("chatcmpl-0003"), 1)
    stuck.gate.set()
    writer.close()


async def test_feedback_in_the_middle_of_a_long_answer_is_taken_after_a_while(tmp_path: Path) -> None:
    writer = InferenceLog(Log, tmp_path, 1000, 1 << 20, settle_s=0.2)
    writer.start()
    writer.expect("chatcmpl-0000")
    begun = time.monotonic()
    await asyncio.wait_for(writer.settled("chatcmpl-0000"), 5)
    assert time.monotonic() - begun >= 0.2
    writer.close()


def test_a_full_queue_drops_and_never_blocks(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, queue=10)
    begun = time.monotonic()
    for number in range(1000):
        writer.put(event(number), keep_text=True)
    assert time.monotonic() - begun < 1
    log.gate.set()
    writer.close()
    assert len(log.ids) + writer.dropped == 1000 and writer.dropped > 0


def test_what_a_dead_worker_left_is_adopted_but_a_living_ones_is_not(tmp_path: Path) -> None:
    away = Log()
    away.away = True
    first = started(away, tmp_path)
    for number in range(5):
        first.put(event(number), keep_text=True)
    until(lambda: first.spooled > 0 and first.queued == 0)

    beside = Log()
    second = started(beside, tmp_path)
    second.put(event(9), keep_text=True)
    until(lambda: beside.ids == ["chatcmpl-0009"])
    second.close()

    first.close()
    (left,) = tmp_path.iterdir()
    with left.open("ab") as file:  # a line that was being written when the worker was killed
        file.write(b'{"type":"inference.v1","id":"chatcm')
    after = Log()
    third = started(after, tmp_path)
    until(lambda: len(after.ids) == 5)
    third.close()
    assert after.ids == [f"chatcmpl-{number:04}" for number in range(5)]
    assert third.dropped == 1 and list(tmp_path.iterdir()) == []


DEEP = b'{"type":"inference.v1","messages":[{"a":' + b"[" * 100_000


@pytest.mark.parametrize("line", [b'{"type":"inference.v1","id":"\xff"}', DEEP])
def test_a_line_that_cannot_be_read_is_dropped_and_the_rest_arrives(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "1-1.jsonl").write_bytes(line + b"\n" + events.encode(event(1)) + b"\n")
    log = Log()
    writer = started(log, tmp_path)
    writer.put(event(2), keep_text=True)
    until(lambda: len(log.ids) == 2)
    writer.put(event(3), keep_text=True)
    until(lambda: len(log.ids) == 3)
    writer.close()
    assert sorted(log.ids) == ["chatcmpl-0001", "chatcmpl-0002", "chatcmpl-0003"] and writer.dropped == 1
    assert list(tmp_path.iterdir()) == []


def test_a_bad_line_is_counted_once_however_often_its_batch_is_tried(tmp_path: Path) -> None:
    (tmp_path / "1-1.jsonl").write_bytes(b"?\n" + events.encode(event(1)) + b"\n")
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    time.sleep(0.8)  # tried at once, and again
    log.away = False
    until(lambda: log.ids == ["chatcmpl-0001"])
    writer.close()
    assert writer.dropped == 1


def test_the_writer_outlives_what_nobody_foresaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Spool, "batches", broken)
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    writer.put(event(0), keep_text=True)
    until(lambda: any(record.exc_info for record in caplog.records))
    monkeypatch.undo()
    log.away = False
    until(lambda: log.ids == ["chatcmpl-0000"])
    writer.close()


def test_a_log_that_cannot_be_opened_yet(tmp_path: Path) -> None:
    log = Log()
    attempts = []

    def open_log() -> Log:
        attempts.append(1)
        if len(attempts) < 2:
            raise StoreUnavailable("not yet")
        return log

    writer = InferenceLog(open_log, tmp_path, 10, 1 << 20)
    writer.start()
    writer.put(event(0), keep_text=True)
    until(lambda: log.ids == ["chatcmpl-0000"])
    writer.close()


def test_on_a_full_disk_what_is_not_kept_is_counted_and_the_rest_arrives_once(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    writer.put(event(0), keep_text=True)
    until(lambda: writer.spooled > 0)
    with no_room(writer.spooled + 500):  # for two more and half a line
        for number in range(1, 50):
            writer.put(event(number), keep_text=True)
        until(lambda: writer.queued == 0 and writer.dropped > 0)
        time.sleep(0.1)
        (spool,) = tmp_path.iterdir()
        kept = spool.read_bytes()
        assert kept.endswith(b"\n") and writer.spooled == len(kept)
        assert writer.dropped == 50 - kept.count(b"\n")
    log.away = False
    writer.put(event(90), keep_text=True)
    until(lambda: "chatcmpl-0090" in log.ids)
    writer.close()
    assert len(log.ids) == len(set(log.ids)) and len(log.ids) + writer.dropped == 51
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_any_room_counts_and_the_writer_lives_on(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    with no_room():
        for number in range(20):
            writer.put(event(number), keep_text=True)
        until(lambda: writer.dropped == 20)
    log.away = False
    writer.put(event(99), keep_text=True)
    until(lambda: log.ids == ["chatcmpl-0099"])
    writer.close()
    assert writer.dropped == 20
