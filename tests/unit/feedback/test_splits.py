from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.splits import assign, quotas


@pytest.mark.parametrize(
    ("groups", "test", "validation", "train"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (2, 1, 0, 1),
        (6, 3, 1, 2),
        (12, 6, 3, 3),
        (20, 10, 4, 6),
        (40, 20, 4, 16),
        (44, 20, 4, 20),
        (80, 20, 8, 52),
        (98, 25, 10, 63),
        (101, 26, 10, 65),
        (1000, 250, 100, 650),
    ],
)
def test_quotas(groups: int, test: int, validation: int, train: int) -> None:
    assert quotas(groups) == {"test": test, "validation": validation, "train": train}


GROUPS = st.sets(st.text("abcdef", min_size=1, max_size=6), max_size=60)


@given(GROUPS, GROUPS)
def test_a_split_is_never_changed_and_new_ones_meet_the_quotas(first: set[str], second: set[str]) -> None:
    then = assign(first, {})
    later = assign(first | second, then)
    assert set(later) == second - first
    for assigned in (then, later):
        sizes = {name: sum(split == name for split in assigned.values()) for name in ("test", "validation", "train")}
        assert sizes == quotas(len(assigned))


def test_the_order_of_groups_is_not_the_order_of_splits() -> None:
    groups = [f"{i:03}" for i in range(100)]
    tested = [group for group, split in assign(groups, {}).items() if split == "test"]
    assert 3 < sum(group < "050" for group in tested) < 22


def test_the_same_groups_get_the_same_splits_for_ever() -> None:
    found = assign([f"g{i}" for i in range(12)], {})
    assert " ".join(found) == "g11 g2 g0 g3 g8 g4 g6 g5 g1 g9 g10 g7"
