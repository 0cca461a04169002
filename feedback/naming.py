"""Has names looked for in what a run is about to curate, and what was found recorded in the event log before that.

The curator reads what is recorded out of the store again, so a dataset depends on the log alone; what has been computed
by these models stays and is not computed again. It knows nothing of the models (names.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from feedback.capture import found_names, joined, other_texts
from feedback.names import NameFinder, compute, wanted
from thumbwheel.clock import Clock
from thumbwheel.eventlog import EventLog, Positions
from thumbwheel.events import CURATION, encode, place_of
from thumbwheel.store.connection import Store

ROUNDS = 3  # rows come while others are looked at; after so many rounds the last ones wait for the next run
AT_ONCE = 100  # events

Note = Callable[[int, int], None]
"""Is told how many rows are done, and of how many."""
Await = Callable[[Positions], None]
"""Returns once the store has all up to there."""


@dataclass(frozen=True)
class Naming:
    """What finds names, and where it is recorded."""

    finder: NameFinder
    log: EventLog


def record_names(store: Store, channel: str, naming: Naming, clock: Clock, note: Note, until: Await) -> int:
    """Look for names in what has not been looked at, until the store knows; returns in how many rows it looked.

    Raises StoreUnavailable, and what `until` raises.
    """
    looked = 0
    for _ in range(ROUNDS):
        with store.read() as tx:
            rows, others = joined(tx, channel), other_texts(tx, channel)
            known = found_names(tx, channel, rows, naming.finder.by)
        lacking = [row for row in rows if wanted(row) and row.feedback not in known]
        if not lacking:
            break
        for first in range(0, len(lacking), AT_ONCE):
            note(first, len(lacking))
            some = lacking[first : first + AT_ONCE]
            made = [compute(row, naming.finder, channel, clock(), others.get(row.feedback, ())) for row in some]
            naming.log.append(CURATION, [(place_of(event)[1], encode(event)) for event in made], durable=True)
            looked += len(made)
        until({CURATION: naming.log.ends()[CURATION]})
    return looked
