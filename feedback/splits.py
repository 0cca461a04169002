"""Which split a group of examples belongs to: a pure function that never changes its mind.

A group is the normalised last user turn. It gets its split when a frozen dataset first holds it, and keeps it. Of n
groups that are new, in the order of a hash of the group (so neither time nor author decides):

    test        t = min(floor(n / 2), max(ceil(n / 4), 20))      the first t
    validation  v = min(floor((n - t) / 2), max(round(n / 10), 4))   the next v
    train       the rest

These are exact quotas and no coin: a channel of 98 corrections has 25 test rows in every draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from thumbwheel import dataset_files
from thumbwheel.ids import digest32

TRAIN, VALIDATION, TEST = SPLITS = dataset_files.SPLITS
MIN_TEST, MIN_VALIDATION = 20, 4


def quotas(groups: int) -> dict[str, int]:
    """How many of so many new groups go to each split."""
    test = min(groups // 2, max(-(-groups // 4), MIN_TEST))
    validation = min((groups - test) // 2, max((groups + 5) // 10, MIN_VALIDATION))
    return {TEST: test, VALIDATION: validation, TRAIN: groups - test - validation}


def assign(groups: Iterable[str], prior: Mapping[str, str]) -> dict[str, str]:
    """The split of each group that has none in `prior`."""
    new = sorted(set(groups) - set(prior), key=lambda group: digest32(b"split\0" + group.encode(), 26))
    sizes = quotas(len(new))
    names = [TEST] * sizes[TEST] + [VALIDATION] * sizes[VALIDATION] + [TRAIN] * sizes[TRAIN]
    return dict(zip(new, names, strict=True))
