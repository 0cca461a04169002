"""Inferences reach the log, wait in the spool while it is away or hangs, and are counted where they fit nowhere."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from serving.inference_log import PATIENCE_S, InferenceLog
from serving.spool import Spool
from tests.full_disk import no_room
from thumbwheel import events
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Record
from thumbwheel.events import InferenceEvent


class Log:
    """An event log that can be away, and that hangs while its gate is closed. `during` is called within each append."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes]] = []
        self.away = False
        self.gate = threading.Event()
        self.gate.set()
        self.during: Callable[[], None] = lambda: None

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        self.during()
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


FOREVER_S = 60.0
ROOT = Path(__file__).resolve().parents[3]


def started(
    log: Log, spool: Path, queue: int = 1000, size: int = 1 << 20, patience_s: float = FOREVER_S
) -> InferenceLog:
    made = InferenceLog(lambda: log, spool, queue, size, patience_s=patience_s)
    made.start()
    return made


def on_disk(spool: Path) -> list[str]:
    """What a worker that is killed now leaves."""
    lines = b"".join(file.read_bytes() for file in sorted(spool.iterdir())).splitlines()
    return [events.decode(line).id for line in lines]


def ids(*numbers: int) -> list[str]:
    return [f"chatcmpl-{number:04}" for number in numbers]


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
    assert len(log.ids) + len(on_disk(tmp_path)) + writer.dropped == 1000 and writer.dropped > 0


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

    monkeypatch.setattr(Spool, "batch", broken)
    log = Log()
    log.away = True
    writer = started(log, tmp_path)
    writer.put(event(0), keep_text=True)
    until(lambda: any(record.exc_info for record in caplog.records))
    monkeypatch.undo()
    log.away = False
    until(lambda: log.ids == ["chatcmpl-0000"])
    writer.close()


def test_what_a_log_that_hangs_was_given_is_on_disk_and_arrives_once(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    for number in range(5):
        writer.put(event(number), keep_text=True)
        until(lambda: len(on_disk(tmp_path)) == number + 1)  # noqa: B023
    assert on_disk(tmp_path) == ids(*range(5)) and log.ids == []
    log.gate.set()
    until(lambda: list(tmp_path.iterdir()) == [])
    writer.put(event(5), keep_text=True)
    until(lambda: len(log.ids) >= 6)
    until(lambda: not writer.spooled)
    writer.close()
    assert log.ids == ids(*range(6)) and writer.dropped == 0


async def test_feedback_does_not_wait_for_a_log_that_hangs(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = InferenceLog(lambda: log, tmp_path, 1000, 1 << 20, settle_s=FOREVER_S)
    writer.start()
    for number in range(3):
        writer.put(event(number), keep_text=True)
        await asyncio.wait_for(writer.settled(f"chatcmpl-{number:04}"), 5)
        assert on_disk(tmp_path) == ids(*range(number + 1))
    log.gate.set()
    writer.close()


def test_what_fails_after_it_hung_is_in_the_spool_already(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    for number in range(3):
        writer.put(event(number), keep_text=True)
        until(lambda: len(on_disk(tmp_path)) == number + 1)  # noqa: B023
    log.away = True
    log.gate.set()
    writer.put(event(3), keep_text=True)
    until(lambda: len(on_disk(tmp_path)) == 4)
    log.away = False
    until(lambda: len(log.ids) >= 4)
    until(lambda: not writer.spooled)
    writer.close()
    assert log.ids == ids(*range(4)) and writer.dropped == 0 and list(tmp_path.iterdir()) == []


def test_a_log_that_hangs_while_the_spool_drains_loses_nothing(tmp_path: Path) -> None:
    log = Log()
    log.away = True
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    writer.put(event(0), keep_text=True)
    until(lambda: on_disk(tmp_path) == ids(0))
    entered = threading.Event()
    log.during = entered.set
    log.gate.clear()
    log.away = False
    assert entered.wait(5)
    writer.put(event(1), keep_text=True)
    until(lambda: on_disk(tmp_path) == ids(0, 1))
    log.gate.set()
    until(lambda: len(log.ids) >= 2)
    until(lambda: not writer.spooled)
    writer.close()
    assert log.ids == ids(0, 1) and list(tmp_path.iterdir()) == []


def test_with_a_full_disk_a_log_that_hangs_may_still_take_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    with no_room():
        writer.put(event(0), keep_text=True)
        until(lambda: caplog.text.count("the spool cannot be written") >= 1)
        writer.put(event(1), keep_text=True)
        until(lambda: caplog.text.count("the spool cannot be written") >= 2)
        assert writer.dropped == 0 and {"chatcmpl-0000", "chatcmpl-0001"} <= writer._unwritten
        log.gate.set()
        until(lambda: len(log.ids) >= 2)
    until(lambda: not writer.spooled)
    writer.close()
    assert log.ids == ids(0, 1) and writer.dropped == 0 and not writer._unwritten


def test_with_a_full_disk_what_a_log_that_hung_refuses_is_counted_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    with no_room(len(events.encode(event(0))) + 1):  # for one
        for number in range(2):
            writer.put(event(number), keep_text=True)
        until(lambda: "the spool cannot be written" in caplog.text or len(on_disk(tmp_path)) == 1)
        writer.put(event(2), keep_text=True)
        until(lambda: writer.queued > 0)
        assert writer.dropped == 0
        log.away = True
        log.gate.set()
        until(lambda: writer.dropped > 0)
    log.away = False
    until(lambda: len(log.ids) >= 1)
    until(lambda: not writer.spooled)
    writer.close()
    assert log.ids == ids(0) and writer.dropped == 2 and not writer._unwritten


def test_a_log_that_hangs_keeps_nobody_from_ending_and_the_next_worker_finds_all_of_it(tmp_path: Path) -> None:
    log = Log()
    log.gate.clear()
    writer = started(log, tmp_path, patience_s=PATIENCE_S)
    for number in range(20):
        writer.put(event(number), keep_text=True)
    writer.close(FOREVER_S)
    after = Log()
    beside = started(after, tmp_path)
    until(lambda: len(after.ids) == 20)
    beside.close()
    assert after.ids == ids(*range(20)) and writer.dropped == 0
    log.gate.set()


def test_a_worker_that_is_killed_while_its_log_hangs_leaves_all_of_it_to_the_next(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    command = [sys.executable, "-m", "tests.killed_writer", str(spool), *ids(*range(3))]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL
    log = Log()
    writer = started(log, spool)
    until(lambda: len(log.ids) >= 3)
    writer.close()
    assert log.ids == ids(*range(3)) and list(spool.iterdir()) == []


def test_a_log_that_is_well_costs_no_disk_and_is_written_to_directly_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled: list[bytes] = []
    add = Spool.add

    def noted(spool: Spool, lines: list[bytes]) -> list[bool]:
        spooled.extend(lines)
        return add(spool, lines)

    monkeypatch.setattr(Spool, "add", noted)
    log = Log()
    writer = started(log, tmp_path)
    numbers = iter(range(1, 100))

    def one_more() -> None:
        """There is always something new, of which nothing could be written before this append is over."""
        if (number := next(numbers, None)) is not None:
            writer.put(event(number), keep_text=True)
            time.sleep(0.01)  # the writer sees it

    log.during = one_more
    writer.put(event(0), keep_text=True)
    until(lambda: len(log.ids) == 100)
    assert spooled == []

    log.away, numbers = True, iter(range(101, 200))
    writer.put(event(100), keep_text=True)
    until(lambda: len(spooled) >= 2)
    log.away = False
    until(lambda: len(log.ids) == 200)
    writer.close()
    assert log.ids == ids(*range(200)) and len(spooled) < 20


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
