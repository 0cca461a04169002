"""A spool keeps whole lines within its size, gives them back oldest first, and belongs to one worker at a time."""

from __future__ import annotations

import stat
from pathlib import Path

from serving.spool import Spool


def drain(spool: Spool, lines: int) -> list[list[bytes]]:
    found = []
    for batch in spool.batches(lines):
        found.append(batch)
        spool.drained(batch)
    spool.empty()
    return found


def test_lines_come_back_in_batches_and_the_file_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    assert spool.add([b"one", b"two", b"three"]) == 0 and spool.size == len(b"one\ntwo\nthree\n")
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert drain(spool, 2) == [[b"one", b"two"], [b"three"]]
    assert spool.size == 0 and list(tmp_path.iterdir()) == []
    assert spool.add([b"four"]) == 0 and drain(spool, 2) == [[b"four"]]
    spool.close()


def test_what_is_over_the_limit_is_said(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10)
    assert spool.add([b"1234", b"much too long", b"5678", b"9"]) == 2
    assert drain(spool, 9) == [[b"1234", b"5678"]]
    spool.close()


def test_what_is_not_drained_is_given_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.add([b"one", b"two"])
    assert next(spool.batches(1)) == next(spool.batches(1)) == [b"one"]
    spool.drained([b"one"])
    assert next(spool.batches(1)) == [b"two"]
    spool.close()


def test_a_living_workers_file_is_left_alone_and_a_dead_ones_is_drained_first(tmp_path: Path) -> None:
    first = Spool(tmp_path, 100)
    first.add([b"old"])
    assert Spool(tmp_path, 100).size == 0
    first.close()
    second = Spool(tmp_path, 100)
    second.add([b"new"])
    assert drain(second, 9) == [[b"old"], [b"new"]]
    second.close()
