"""Whether a run starts by itself: a pure function of a channel's policies and of what waits.

It knows nothing of schedules (there are none yet) and of a person's wish, which needs no decision.
"""

from __future__ import annotations

from thumbwheel.records import Policies


def should_train(policies: Policies, due: int, busy: bool) -> bool:
    """`due` is how many usable corrections came since the last run was asked for; `busy` whether one is in progress.

    A run that found too little leaves its corrections waiting, and the next comes only after as many new ones again.
    """
    if busy or not policies.train or policies.train_after is None:
        return False
    return due >= policies.train_after
