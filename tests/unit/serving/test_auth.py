"""Keys: who is known, as what, and what a right allows."""

from __future__ import annotations

import pytest

from serving.auth import bearer, find_key, need_right, refusal
from serving.limits import InFlight
from thumbwheel.errors import Forbidden, RateLimited
from thumbwheel.keys import as_record, mint

TEXT = mint("app")
APP = as_record(TEXT, "app", "shop", frozenset({"author"}), 0)
ADMIN_TEXT = mint("admin")
ADMIN = as_record(ADMIN_TEXT, "admin", "shop", frozenset(), 0)
KEYS = {APP.hash: APP, ADMIN.hash: ADMIN}


def test_a_key_is_known_by_its_hash_and_only_as_what_it_is() -> None:
    assert find_key(KEYS, f"Bearer {TEXT}", "app") == APP
    assert find_key(KEYS, f"bearer  {TEXT} ", "app") == APP
    assert find_key(KEYS, f"Bearer {ADMIN_TEXT}", "admin") == ADMIN
    assert find_key(KEYS, f"Bearer {ADMIN_TEXT}", "app") is None
    assert find_key(KEYS, f"Bearer {TEXT}", "admin") is None
    assert TEXT not in str(APP)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", TEXT, "Bearer " + "x" * 5000])
def test_what_is_no_key(header: str | None) -> None:
    assert find_key(KEYS, header, "app") is None
    assert refusal(header, "app").status == 401


def test_bearer() -> None:
    assert bearer("Bearer abc") == "abc"
    assert bearer("bearer abc ") == "abc"
    assert bearer("Token abc") is None


def test_a_right_is_needed() -> None:
    need_right(APP, "author", "author")
    with pytest.raises(Forbidden) as caught:
        need_right(ADMIN, "author", "author")
    assert caught.value.param == "author"


def test_places_in_flight_are_each_keys_own_and_come_back() -> None:
    flights = InFlight(2)
    with flights.entered(APP.id), flights.entered(APP.id):
        with pytest.raises(RateLimited) as caught, flights.entered(APP.id):
            pass
        assert caught.value.retry_after == 1 and caught.value.code == "rate_limit_exceeded"
        with flights.entered(ADMIN.id):
            assert flights.total == 3
    assert flights.total == 0
    with pytest.raises(ZeroDivisionError), flights.entered(APP.id):
        raise ZeroDivisionError
    assert flights.total == 0
