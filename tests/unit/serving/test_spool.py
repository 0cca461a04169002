"""A spool keeps whole lines within its size, gives them back oldest first, and belongs to one worker at a time."""

from __future__ import annotations

import stat
from pathlib import Path

from serving.spool import Spool
from tests.full_disk import no_room


def drain(spool: Spool, lines: int) -> list[list[bytes]]:
    found = []
    while batch := spool.batch(lines):
        found.append(batch)
        spool.drained(batch)
    return found


def test_lines_come_back_in_batches_and_the_file_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    assert all(spool.add([b"one", b"two", b"three"])) and spool.size == len(b"one\ntwo\nthree\n")
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert drain(spool, 2) == [[b"one", b"two"], [b"three"]]
    assert spool.size == 0 and not spool.holds and list(tmp_path.iterdir()) == []
    assert spool.add([b"four"]) == [True] and drain(spool, 2) == [[b"four"]]
    spool.close()


def test_what_is_over_the_limit_is_said(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10)
    assert spool.add([b"1234", b"much too long", b"5678", b"9"]) == [True, False, True, False]
    assert drain(spool, 9) == [[b"1234", b"5678"]]
    spool.close()


def test_what_is_not_drained_is_given_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.add([b"one", b"two"])
    assert spool.batch(1) == spool.batch(1) == [b"one"]
    spool.drained([b"one"])
    assert spool.batch(1) == [b"two"]
    spool.close()


def test_what_is_added_meanwhile_comes_after_and_the_file_goes_with_its_last_line(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.add([b"one"])
    batch = spool.batch(9)
    spool.add([b"two"])
    spool.drained(batch)
    assert spool.holds and spool.size == len(b"two\n")
    spool.drained(spool.batch(9))
    assert not spool.holds and list(tmp_path.iterdir()) == []
    spool.close()


def test_a_spool_that_is_never_empty_gives_back_what_is_drained(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100, file_bytes=20)
    given = [b"line %d" % number for number in range(9)]
    found = []
    spool.add(given[:2])
    for number in range(2, 9):
        spool.add([given[number]])
        found += (batch := spool.batch(1))
        spool.drained(batch)
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= spool.size + 20 + len(b"line 0\n")
    assert [*found, *(line for batch in drain(spool, 9) for line in batch)] == given
    assert list(tmp_path.iterdir()) == []
    spool.close()


def test_of_what_fits_the_disk_takes_the_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    with no_room(10):
        assert spool.add([b"1" * 200, b"1234", b"5678", b"9012"]) == [False, True, True, False]
    assert drain(spool, 9) == [[b"1234", b"5678"]]
    with no_room():
        assert spool.add([b"1", b"2"]) == [False, False]
    assert spool.size == 0
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_living_workers_file_is_left_alone_and_a_dead_ones_is_drained_first(tmp_path: Path) -> None:
    first = Spool(tmp_path, 100)
    first.add([b"old"])
    assert Spool(tmp_path, 100).size == 0
    first.close()
    second = Spool(tmp_path, 100)
    second.add([b"new"])
    assert drain(second, 9) == [[b"old"], [b"new"]]
    second.close()
