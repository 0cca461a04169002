"""Both ends of the relay, with a real socket between them and an SQLite log behind."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog import Record, frames, relay, relay_log
from thumbwheel.eventlog.frames import Append, Bounds, Done, Failed, read_reply, receive, send
from thumbwheel.eventlog.relay import Relay
from thumbwheel.eventlog.relay_log import RelayLog
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.home import short_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Deeper than a socket's name may be long."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    return deep


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteEventLog]:
    made = SqliteEventLog(tmp_path / "events.db")
    yield made
    made.close()


@pytest.fixture
def served(log: SqliteEventLog, folder: Path) -> Iterator[Relay]:
    made = Relay(log, folder)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def gateway(folder: Path) -> Iterator[RelayLog]:
    made = RelayLog(folder, patience_s=20)
    yield made
    made.close()


def plain(folder: Path) -> socket.socket:
    """A connection without our client."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    with short_path(folder) as short:
        connection.connect(f"{short}/{frames.SOCKET}")
    return connection


# the way through


def test_what_is_appended_is_in_the_log_when_it_returns(served: Relay, gateway: RelayLog, log: SqliteEventLog) -> None:
    gateway.append(FEEDBACK, [("k1", b"\x00\xff"), ("schlüssel", b"")], durable=True)
    assert [(one.key, one.value) for one in log.read(FEEDBACK, 0, 0, 9)] == [("k1", b"\x00\xff"), ("schlüssel", b"")]


def test_everything_that_the_log_says_comes_through(served: Relay, gateway: RelayLog, log: SqliteEventLog) -> None:
    log.append(FEEDBACK, [("k", b"%d" % n) for n in range(5)], durable=True)
    assert gateway.read(FEEDBACK, 0, 2, 2) == [Record(FEEDBACK, 0, 3, "k", b"2"), Record(FEEDBACK, 0, 4, "k", b"3")]
    assert (gateway.ends(), gateway.starts(), gateway.assigned()) == (log.ends(), log.starts(), log.assigned())


def test_a_long_list_goes_in_parts_and_keeps_its_order(
    served: Relay, gateway: RelayLog, log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_log, "FRAME_BYTES", 100)
    monkeypatch.setattr(frames, "MOST_BYTES", 400)
    values = [b"%03d" % n * 11 for n in range(50)]
    gateway.append(INFERENCE, [("k", value) for value in values], durable=False)
    assert [record.value for record in log.read(INFERENCE, 0, 0, 99)] == values


def test_big_records_are_read_a_few_at_a_time(
    served: Relay, gateway: RelayLog, log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "REPLY_BYTES", 100)
    log.append(FEEDBACK, [("k", b"x" * 60), ("k", b"x" * 30), ("k", b"x" * 30), ("k", b"x" * 500)], durable=True)
    sizes, at = [], 0
    while page := gateway.read(FEEDBACK, 0, at, 10):
        sizes.append([len(record.value) for record in page])
        at = page[-1].offset
    assert sizes == [[60, 30], [30], [500]]


def test_several_gateways_at_once(served: Relay, folder: Path, log: SqliteEventLog) -> None:
    def write(number: int) -> None:
        mine = RelayLog(folder, patience_s=20)
        for n in range(20):
            mine.append(FEEDBACK, [(f"{number}", b"%d" % n)], durable=True)
        mine.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        own = [record.value for record in log.read(FEEDBACK, 0, 0, 999) if record.key == f"{number}"]
        assert own == [b"%d" % n for n in range(20)]


# what goes wrong


class Away(SqliteEventLog):
    """A log that takes nothing, and says why; or stumbles over something that nobody foresaw."""

    trouble: Exception = StoreUnavailable("the broker has gone fishing")

    def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
        raise self.trouble


def test_a_log_that_is_away_is_said_in_its_own_words(folder: Path, tmp_path: Path, gateway: RelayLog) -> None:
    log = Away(tmp_path / "other.db")
    served = Relay(log, folder)
    served.start()
    with pytest.raises(StoreUnavailable, match="gone fishing"):
        gateway.append(FEEDBACK, [("k", b"1")], durable=True)
    log.trouble = ZeroDivisionError("nobody foresaw this")
    with pytest.raises(StoreUnavailable, match="could not do it"):
        gateway.append(FEEDBACK, [("k", b"1")], durable=True)
    assert gateway.ends() == log.ends(), "the connection lives"
    served.stop()
    log.close()


def test_no_relay_is_an_outage_at_once(folder: Path, gateway: RelayLog) -> None:
    with pytest.raises(StoreUnavailable, match="does not answer"):
        gateway.append(FEEDBACK, [("k", b"1")], durable=True)


def test_a_relay_that_was_killed_left_its_socket(folder: Path, gateway: RelayLog) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(folder) as short:
        left.bind(f"{short}/{frames.SOCKET}")
    left.close()
    with pytest.raises(StoreUnavailable, match="does not answer"):
        gateway.ends()


def test_a_relay_that_hangs_is_an_outage_and_its_late_answer_is_nobodys(folder: Path, log: SqliteEventLog) -> None:
    released = threading.Event()

    class Slow(SqliteEventLog):
        """A log that hangs while it is asked where it begins."""

        def starts(self) -> dict[str, dict[int, int]]:
            released.wait(20)
            return super().starts()

    slow = Slow(log._path)
    served, gateway = Relay(slow, folder), RelayLog(folder, patience_s=-0.8)
    served.start()
    with pytest.raises(StoreUnavailable, match="timed out"):
        gateway.starts()
    released.set()
    patient = RelayLog(folder, patience_s=20)
    log.append(FEEDBACK, [("k", b"1")], durable=True)
    assert patient.ends()[FEEDBACK] == {0: 1}
    for one in (gateway, patient, slow):
        one.close()
    served.stop()


def test_a_relay_that_was_started_anew_is_found_again(folder: Path, log: SqliteEventLog, gateway: RelayLog) -> None:
    for n in range(1, 4):
        served = Relay(log, folder)
        served.start()
        gateway.append(FEEDBACK, [("k", b"%d" % n)], durable=True)
        served.stop()
    assert [record.value for record in log.read(FEEDBACK, 0, 0, 9)] == [b"1", b"2", b"3"]


def test_a_second_relay_takes_the_firsts_place(served: Relay, folder: Path, tmp_path: Path, gateway: RelayLog) -> None:
    other = SqliteEventLog(tmp_path / "other.db")
    heir = Relay(other, folder)
    heir.start()
    gateway.append(FEEDBACK, [("k", b"1")], durable=True)
    assert other.ends()[FEEDBACK] == {0: 1}
    gateway.close()
    heir.stop()
    other.close()


@pytest.mark.parametrize("sent", [b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"\x00\x00\x00\x09abc", b"\x00"])
def test_what_is_no_message_ends_its_connection_alone(
    served: Relay, folder: Path, gateway: RelayLog, sent: bytes
) -> None:
    stranger = plain(folder)
    stranger.sendall(sent)
    stranger.shutdown(socket.SHUT_WR)
    assert stranger.recv(1) == b""
    stranger.close()
    assert gateway.ends()


def test_what_holds_too_many_connections_gets_no_more(
    served: Relay, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "MOST_CONNECTIONS", 2)
    held = [plain(folder) for _ in range(2)]
    for one in held:  # taken, not only queued
        send(one, Bounds(True))
        assert receive(one)
    third = plain(folder)
    assert third.recv(1) == b""
    for one in (*held, third):
        one.close()


def test_a_request_that_is_under_way_is_answered_before_it_stops(folder: Path, log: SqliteEventLog) -> None:
    begun, released = threading.Event(), threading.Event()

    class Slow(SqliteEventLog):
        """A log that takes its time."""

        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            begun.set()
            released.wait(20)
            super().append(topic, records, durable=durable)

    slow = Slow(log._path)
    served = Relay(slow, folder)
    served.start()
    connection = plain(folder)
    send(connection, Append(FEEDBACK, [("k", b"1")], True))
    begun.wait(20)
    stopping = threading.Thread(target=served.stop)
    stopping.start()
    released.set()
    answer = receive(connection)
    stopping.join()
    assert answer is not None and read_reply(answer) == Done()
    assert receive(connection) is None and log.ends()[FEEDBACK] == {0: 1}
    connection.close()
    slow.close()


def test_a_message_that_is_too_long_is_not_sent(
    served: Relay, gateway: RelayLog, log: SqliteEventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MOST_BYTES", 100)
    with pytest.raises(StoreUnavailable, match="too long"):
        gateway.append(FEEDBACK, [("k", b"x" * 200)], durable=True)
    assert log.ends()[FEEDBACK] == {0: 0}
    gateway.append(FEEDBACK, [("k", b"x")], durable=True)


def test_an_answer_of_another_kind_is_an_outage(folder: Path, gateway: RelayLog) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(folder) as short:
        listener.bind(f"{short}/{frames.SOCKET}")
    listener.listen()

    def answer(with_: Callable[[socket.socket], None]) -> threading.Thread:
        def once() -> None:
            connection, _ = listener.accept()
            receive(connection)
            with_(connection)
            connection.close()

        thread = threading.Thread(target=once)
        thread.start()
        return thread

    for said, match in (
        (lambda one: send(one, Done()), "answers with Done"),
        (lambda one: one.sendall(b"\x00\x00\x00\x02[]"), "does not answer"),
        (lambda one: send(one, Failed("no room")), "no room"),
    ):
        thread = answer(said)
        with pytest.raises(StoreUnavailable, match=match):
            gateway.ends()
        gateway.close()
        thread.join()
    listener.close()


def test_the_socket_is_in_a_folder_of_its_own_name(served: Relay, folder: Path) -> None:
    assert os.listdir(folder) == [frames.SOCKET]
