"""What arrival makes of what curation said. The rest of `settle` is tested where events arrive (test_data_rows.py)."""

from __future__ import annotations

import pytest

from thumbwheel.ledger import CURATION_WAITS, GIVEN_UP, REVIEWABLE, Entry, Seen, given_up, settle, taken_up

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


@pytest.mark.parametrize(("reason", "refusal"), sorted(GIVEN_UP.items()))
def test_a_wait_ends_with_its_window_and_begins_anew_with_another_word(reason: str, refusal: str) -> None:
    assert given_up("waiting", reason, 101, closed_ms=100) == ("waiting", reason)
    assert given_up("waiting", reason, 100, closed_ms=100) == ("refused", refusal)
    assert given_up("used", None, 1, 100) == ("used", None)
    assert given_up("refused", "too_long", 1, 100) == ("refused", "too_long")
    assert taken_up("refused", refusal) == ("waiting", reason)
    assert taken_up("waiting", reason) == ("waiting", reason) and taken_up("refused", "foreign")[0] == "refused"


@pytest.mark.parametrize("reason", sorted(REVIEWABLE))
def test_a_reviewer_is_waited_for_as_long_as_it_takes(reason: str) -> None:
    assert given_up("waiting", reason, 1, closed_ms=100) == ("waiting", reason)


@pytest.mark.parametrize("refusal", ["uncorrected", "unconfirmed", "unused"])
def test_what_was_given_up_stays_so_until_it_is_superseded(refusal: str) -> None:
    held = Entry("fb-1", "shop", "support", "u1", 1, 0, refusal != "uncorrected", "refused", refusal)
    assert settle(SEEN, [held, entry(2, "u2", None)])["fb-1"].reason == refusal
    assert settle(SEEN, [held, entry(2, "u1", None)])["fb-1"].reason == "superseded"
