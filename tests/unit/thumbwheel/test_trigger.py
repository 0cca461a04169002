from __future__ import annotations

import pytest

from thumbwheel.records import Policies
from thumbwheel.trigger import should_train


@pytest.mark.parametrize(
    ("policies", "due", "busy", "wanted"),
    [
        (Policies(), 1_000, False, False),
        (Policies(train_after=50), 49, False, False),
        (Policies(train_after=50), 50, False, True),
        (Policies(train_after=50), 51, False, True),
        (Policies(train_after=50), 50, True, False),
        (Policies(train_after=50, train=False), 50, False, False),
    ],
)
def test_should_train(policies: Policies, due: int, busy: bool, wanted: bool) -> None:
    assert should_train(policies, due, busy) is wanted
