"""What arrival makes of what curation said. The rest of `settle` is tested where events arrive (test_data_rows.py)."""

from __future__ import annotations

import pytest

from thumbwheel.ledger import CURATION_WAITS, Entry, Seen, settle

SEEN = Seen("shop", "support", "u1", True, True)


def entry(n: int, author: str, reason: str | None) -> Entry:
    return Entry(f"fb-{n}", "shop", "support", author, n, 0, True, "waiting", reason)


@pytest.mark.parametrize("reason", sorted(CURATION_WAITS))
def test_what_curation_lets_wait_keeps_its_reason_until_the_next_freeze(reason: str) -> None:
    held, new = entry(1, "u1", reason), entry(2, "u2", None)
    standings = settle(SEEN, [held, new])
    assert (standings["fb-1"].state, standings["fb-1"].reason) == ("waiting", reason)
    assert (standings["fb-2"].state, standings["fb-2"].reason) == ("waiting", "no_run_yet")
    assert settle(SEEN, [held])["fb-1"].reason == reason
    later = settle(SEEN, [held, entry(2, "u1", None)])
    assert (later["fb-1"].state, later["fb-1"].reason) == ("refused", "superseded")
