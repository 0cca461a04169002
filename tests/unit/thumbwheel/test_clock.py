"""Waits that a clock which is set back does not stretch; moments as a person reads them."""

import pytest

from thumbwheel.clock import as_told, lasts


@pytest.mark.parametrize(("now_ms", "still"), [(999, False), (1_000, True), (1_499, True), (1_500, False)])
def test_a_wait_lasts_from_its_beginning_to_its_end_and_not_before_it_began(now_ms: int, still: bool) -> None:
    assert lasts(now_ms, 1_000, 500) is still


def test_a_moment_is_told_in_utc_to_the_second() -> None:
    assert as_told(1_700_000_000_999) == "2023-11-14 22:13:20 UTC"
