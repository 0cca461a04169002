"""Which sessions have been silent for too long. What a real server shows of them: tests/integration/postgres."""

from __future__ import annotations

from thumbwheel.store.silent import Session, overdue, since

HUNG, SLOW = Session(7, "a"), Session(8, "a")


def test_a_session_is_overdue_once_two_looks_so_long_apart_have_found_the_same() -> None:
    silent = since(100.0, {}, [HUNG])
    assert overdue(100.0, silent, 20.0) == []
    silent = since(119.9, silent, [HUNG])
    assert overdue(119.9, silent, 20.0) == []
    silent = since(120.0, silent, [HUNG])
    assert overdue(120.0, silent, 20.0) == [HUNG]


def test_one_that_was_heard_of_in_between_is_not() -> None:
    silent = since(0.0, {}, [HUNG, SLOW])
    silent = since(30.0, silent, [HUNG, Session(8, "b")])
    assert overdue(30.0, silent, 20.0) == [HUNG]


def test_nor_is_one_that_was_at_work_when_somebody_looked() -> None:
    silent = since(20.0, since(10.0, since(0.0, {}, [HUNG]), []), [HUNG])
    assert overdue(20.0, silent, 20.0) == []
