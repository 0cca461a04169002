from __future__ import annotations

from pathlib import Path

import pytest

from feedback.folders import check_free, make
from thumbwheel.errors import InvalidRequest


def test_a_new_folder_and_an_empty_one_are_free(tmp_path: Path) -> None:
    make(tmp_path / "new" / "below")
    make(tmp_path / "new" / "below")
    assert (tmp_path / "new" / "below").stat().st_mode & 0o777 == 0o700
    check_free(tmp_path / "not" / "there")
    assert not (tmp_path / "not").exists()


def test_what_is_there_is_named_and_left(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, words in (
        ("file", "is there already and no folder"),
        ("full", "is there already and not empty"),
        ("link", "is a link, and is there already"),
        ("dangling", "is a link, and is there already"),
        ("file/below", f"cannot be made, as {tmp_path}/file is no folder"),
        ("dangling/below", "cannot be written .File exists."),
        ("x" * 300, "cannot be written .File name too long."),
    ):
        with pytest.raises(InvalidRequest, match=words) as refused:
            make(tmp_path / name)
        assert "a new or an empty folder of this user's own is right" in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "file", "full", "link"]
    with pytest.raises(InvalidRequest, match="/proc/none cannot be written"):
        make(Path("/proc/none"))
