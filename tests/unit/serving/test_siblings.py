"""Workers that tell each other their figures, and those that do not answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from serving.siblings import Siblings


async def test_each_hears_the_others_and_not_itself(tmp_path: Path) -> None:
    large = b"x" * 1_000_000
    three = [Siblings(tmp_path, f"worker-{n}", lambda n=n: large + str(n).encode()) for n in range(3)]
    for one in three:
        await one.start()
    for n, one in enumerate(three):
        heard = await asyncio.to_thread(one.texts)
        assert [text[-1:] for text in heard] == [str(m).encode() for m in range(3) if m != n]
        assert {len(text) for text in heard} == {len(large) + 1}
    for one in three:
        await one.close()
    assert list(tmp_path.iterdir()) == []


async def test_one_that_hangs_is_not_waited_for_and_not_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(tmp_path / "worker-hung.sock"))
        hung.listen()
        assert await asyncio.to_thread(Siblings(tmp_path, "worker-1", bytes, ask_s=0.05).texts) == []
        assert "worker-hung" in caplog.text and (tmp_path / "worker-hung.sock").exists()


async def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "worker-0.sock"))
    assert await asyncio.to_thread(Siblings(tmp_path, "worker-1", bytes).texts) == []
    assert list(tmp_path.iterdir()) == []


async def test_without_a_folder_a_worker_serves_all_the_same(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    alone = Siblings(tmp_path / "none", "worker-1", bytes)
    await alone.start()
    assert alone.texts() == []
    await alone.close()
    assert len(caplog.records) == 2
