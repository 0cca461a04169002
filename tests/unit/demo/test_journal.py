"""Steps are played once, timed, counted and kept; what is shown moves only on a terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from demo.client import Tally
from demo.journal import Journal, Progress, Screen


def journal(path: Path, tally: Tally) -> tuple[Journal, io.StringIO]:
    out = io.StringIO()
    made = Journal(path / "journal.json", Screen(out))
    made.tally = tally
    return made, out


async def test_a_step_is_played_once_and_its_counts_are_kept(tmp_path: Path) -> None:
    tally = Tally(asked=3)
    first, _ = journal(tmp_path, tally)

    async def work(_: Progress) -> dict[str, Any]:
        tally.asked += 5
        tally.failed += 1
        return {"found": (1, 2)}

    assert await first.play("cycle-1/base", "the base", work, str) == {"found": [1, 2]}
    assert (first.count("cycle-1/", "asked"), first.count("cycle-2/", "asked")) == (5, 0)

    later, out = journal(tmp_path, Tally())
    later.sitting = "later"
    assert await later.play("cycle-1/base", "the base", work, str) == {"found": [1, 2]}
    assert tally.asked == 8 and "earlier" in out.getvalue()
    assert later.earlier() == ["cycle-1/base"]
    assert list(later.seconds("cycle-1/")) == ["base"]


async def test_totals_hold_earlier_sittings_and_steps_that_broke_off(tmp_path: Path) -> None:
    tally = Tally()
    first, _ = journal(tmp_path, tally)

    async def work(_: Progress) -> dict[str, Any]:
        tally.asked, tally.failed = 4, 1
        return {}

    async def broken(_: Progress) -> dict[str, Any]:
        tally.failed += 1
        raise OSError("the service went away")

    await first.play("one", "one", work, str)
    with pytest.raises(OSError, match="went away"):
        await first.play("two", "two", broken, str)
    assert (first.total("asked"), first.total("failed")) == (4, 2)
    assert first.result("two") is None

    later, _ = journal(tmp_path, Tally(asked=10))
    later.sitting = "later"
    assert (later.total("asked"), later.total("failed")) == (14, 1)


async def test_a_step_can_be_played_again(tmp_path: Path) -> None:
    played, _ = journal(tmp_path, Tally())
    found = iter(({"n": 1}, {"n": 2}))

    async def work(_: Progress) -> dict[str, Any]:
        return next(found)

    await played.play("ledger", "the ledger", work, str)
    await played.play("ledger", "the ledger", work, str, again=True)
    assert played.result("ledger") == {"n": 2}


def test_passing_lines_are_rare_where_they_would_pile_up() -> None:
    out = io.StringIO()
    screen = Screen(out)
    screen.fresh()
    for _ in range(100):
        screen.passing("3 of 84")
    assert out.getvalue() == ""
