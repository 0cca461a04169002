"""What the data directory keeps when the disk is full, and a secret that is damaged."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.full_disk import no_room
from thumbwheel.errors import SettingsError
from thumbwheel.home import prepare, read_secret, write_private


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")
    with no_room(2), pytest.raises(OSError):
        write_private(tmp_path / "file", "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_threads_that_write_one_file_write_it_whole(tmp_path: Path) -> None:
    texts = [letter * 10_000 * (number + 1) for number, letter in enumerate("abcdefgh")]

    def write(text: str) -> set[str]:
        seen = set()
        for _ in range(10):
            write_private(tmp_path / "file", text)
            seen.add((tmp_path / "file").read_text())
        return seen

    with ThreadPoolExecutor(len(texts)) as threads:
        seen = set().union(*threads.map(write, texts))
    assert seen <= set(texts) and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_keeps_no_process_from_starting(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    home.emergency_room.unlink()
    with no_room():
        assert prepare(tmp_path) == home
    assert not home.emergency_room.exists()
    prepare(tmp_path)
    assert home.emergency_room.stat().st_size > 4096


@pytest.mark.parametrize("left", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"xy" * 32, b"\xff" * 64, None])
def test_a_secret_that_is_not_whole_seals_nothing(tmp_path: Path, left: bytes | None) -> None:
    """BLAKE2b with an empty key is one that everybody has."""
    home = prepare(tmp_path)
    whole = read_secret(home)
    assert len(whole) == 32 and read_secret(prepare(tmp_path)) == whole
    file = home.keys / "secret"
    file.write_bytes(left) if left is not None else file.unlink()
    with pytest.raises(SettingsError, match="restore the file, or delete it"):
        read_secret(home)
    file.unlink(missing_ok=True)
    assert read_secret(prepare(tmp_path)) not in (whole, b"")
