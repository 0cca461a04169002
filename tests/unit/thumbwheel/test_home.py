"""What the data directory keeps when the disk is full."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.full_disk import no_room
from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import Home, emergency_stop, prepare, read_emergency, write_private


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")
    with no_room(2), pytest.raises(OSError):
        write_private(tmp_path / "file", "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_full_disk_keeps_no_process_from_starting(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    home.emergency_room.unlink()
    with no_room():
        assert prepare(tmp_path) == home
    assert not home.emergency_room.exists()
    prepare(tmp_path)
    assert home.emergency_room.stat().st_size > 4096


def test_an_emergency_stop_that_cannot_be_written_says_so_and_keeps_the_others(tmp_path: Path) -> None:
    home: Home = prepare(tmp_path)
    emergency_stop(home, "one", "ann", 1)
    with no_room(10), pytest.raises(StoreUnavailable, match="cannot be written"):
        emergency_stop(home, "two", "ann", 2)
    assert list(read_emergency(home)) == ["one"]
    emergency_stop(home, "two", "ann", 3)
    assert list(read_emergency(home)) == ["one", "two"]
