"""Whether a dataset has enough to train and to judge by, and how many more corrections it takes: a pure function."""

from __future__ import annotations

import itertools

from feedback import splits
from feedback.mix import OTHERS, Mixed, lacking, scarcest
from feedback.snapshot import Snapshot


def shortfall(snapshot: Snapshot, mixed: Mixed) -> tuple[str, ...]:
    """What is missing, for a person; empty where nothing is. What the channel's mix leaves out is named then."""
    limits, examples = snapshot.limits, mixed.kept
    new = [example for example in examples if example.since is None]
    train = sum(example.split == splits.TRAIN for example in examples)
    test, new_test = (len({one.group for one in some if one.split == splits.TEST}) for some in (examples, new))
    asks_new = snapshot.wants_new and snapshot.incumbent is not None
    if asks_new and not new:
        problem = (
            f"no new corrections since dataset {str(snapshot.incumbent)[:12]}, which the stable release learnt from"
        )
    else:
        found = (
            (train, "rows to train on", limits.min_train),
            (test, "questions to test on", limits.min_test),
            (new_test, "questions to test on that are new to the stable release", limits.min_new_test * asks_new),
        )
        short = [f"{have} {what} ({least} are needed)" for have, what, least in found if have < least]
        if not short:
            return ()
        problem = f"{len(examples)} accepted corrections make {' and '.join(short)}"
    fresh = len({example.group for example in (*examples, *mixed.left) if example.group not in snapshot.splits})
    gain_train, gain_test = limits.min_train - train, limits.min_test - test
    if asks_new:
        gain_test = max(gain_test, limits.min_new_test - new_test)
    wanted = lacking(mixed, snapshot.mix, gain_train + sum(mixed.got.values())) if gain_train > 0 else {}
    more = _missing(fresh, sum(wanted.values()) or gain_train, gain_test)
    tagged = f" with the tags {', '.join(part or OTHERS for part in wanted)}" if wanted else ""
    needed = f"about {more} more corrections{tagged} are needed, of questions that nobody has corrected yet"
    return (problem, *_left_out(snapshot, mixed), needed)


def _left_out(snapshot: Snapshot, mixed: Mixed) -> list[str]:
    told = []
    if mixed.stale:
        told.append(f"{mixed.stale} are older than the channel's mix looks back ({snapshot.mix.max_age_days} days)")
    if mixed.left:
        part = scarcest(mixed, snapshot.mix)
        told.append(
            f"the shares of the channel's mix leave {len(mixed.left)} out, as of {part or OTHERS} there are "
            f"{mixed.had[part]} to train on"
        )
    return told


def _missing(fresh: int, train: int, test: int) -> int:
    """The fewest further questions that add so many to `train` and `test`, beside `fresh` that have no split yet."""
    now = splits.quotas(fresh)
    return next(
        more
        for more in itertools.count(1)
        if (then := splits.quotas(fresh + more))[splits.TRAIN] - now[splits.TRAIN] >= train
        and then[splits.TEST] - now[splits.TEST] >= test
    )
