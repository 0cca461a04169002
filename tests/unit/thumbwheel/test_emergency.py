"""The emergency stop on a full disk, with a damaged file, pulled by many at once, and taken back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.full_disk import no_room
from thumbwheel.emergency import EVERY_CHANNEL, clear_emergency, emergency_stop, read_emergency
from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import Home, prepare


def stop(home: Home, channel: str, action: str = "abort", rollout: str = "ro-1") -> None:
    emergency_stop(home, channel, "ann", 1, action, rollout)


def test_an_emergency_stop_that_cannot_be_written_says_so_and_keeps_the_others(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    stop(home, "one")
    with no_room(10), pytest.raises(StoreUnavailable, match="cannot be written"):
        stop(home, "two")
    assert list(read_emergency(home)) == ["one"]
    stop(home, "two")
    assert list(read_emergency(home)) == ["one", "two"]


def test_channels_are_taken_out_one_by_one_and_the_file_with_the_last(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    for name in ("one", "two"):
        stop(home, name)
    asked = {"who": "ann", "at_ms": 1, "action": "abort", "rollout": "ro-1"}
    clear_emergency(home, "one", asked)
    assert read_emergency(home) == {"two": asked}
    clear_emergency(home, "two", asked)
    assert read_emergency(home) == {} and not home.emergency.exists()


def test_a_stop_that_was_asked_for_anew_is_not_taken_out_with_the_one_before(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    stop(home, "one", "pause")
    obeyed = read_emergency(home)["one"]
    stop(home, "one", "abort")
    clear_emergency(home, "one", obeyed)
    assert read_emergency(home)["one"]["action"] == "abort"


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [("abort", "pause", "abort"), ("pause", "abort", "abort"), ("abort", "rollback", "rollback")],
)
def test_the_most_that_was_asked_of_a_rollout_stays(tmp_path: Path, first: str, then: str, kept: str) -> None:
    home = prepare(tmp_path)
    for action in (first, then):
        stop(home, "one", action)
    assert read_emergency(home)["one"]["action"] == kept
    stop(home, "one", "pause", "ro-2")
    assert (read_emergency(home)["one"]["action"], read_emergency(home)["one"]["rollout"]) == ("pause", "ro-2")


def test_stops_at_the_same_time_are_all_kept_and_never_half_read(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    names = [f"channel-{number}" * (number + 1) for number in range(8)]  # of unlike lengths: half a file would show
    done, damaged = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            damaged.extend(name for name in read_emergency(home) if name == EVERY_CHANNEL)

    def pull(name: str) -> None:
        for number in range(20):
            stop(home, name, rollout=f"ro-{number}")

    with ThreadPoolExecutor(9) as threads:
        reader = threads.submit(look)
        for pulled in [threads.submit(pull, name) for name in names]:
            pulled.result()
        done.set()
        reader.result()
    assert sorted(read_emergency(home)) == sorted(names) and damaged == []
    assert [path.name for path in tmp_path.glob(".emergency*")] == []


@pytest.mark.parametrize("damaged", ["", "[]", '{"one": 1}', "[" * 100_000])
def test_a_damaged_file_stops_every_channel(tmp_path: Path, damaged: str) -> None:
    home = prepare(tmp_path)
    home.emergency.write_text(damaged)
    assert list(read_emergency(home)) == [EVERY_CHANNEL]
