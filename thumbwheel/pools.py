"""Lending an engine: the one way to reach one for anything but serving.

The evaluator asks here for an engine of a release's pool. Where there is one engine (the embedded default) it is the
one that serves, and the lease only keeps two evaluations from sharing it; a cluster's pool may start another.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from thumbwheel.clock import Clock
from thumbwheel.errors import EngineUnreachable
from thumbwheel.records import Engine
from thumbwheel.store import fleet_rows
from thumbwheel.store.connection import Store

LEASE_MS = 15 * 60 * 1000
STEPS = ("train", "evaluate")  # of a run that borrow an engine


@dataclass(frozen=True)
class Lease:
    """An engine lent to `holder` until it is given back, or until `LEASE_MS` have passed."""

    engine: Engine
    holder: str


def holder(step: str, run: str) -> str:
    """What a step of a run calls itself when it borrows an engine; `step` is one of STEPS."""
    return f"{step}:{run}"


@contextmanager
def lend_engine(store: Store, clock: Clock, pool: str, holder: str) -> Iterator[Lease]:
    """Lend a ready engine of `pool`. Raises EngineUnreachable if none is ready, LostRace while another holds it."""
    with store.write() as tx:
        ready = [engine for engine in fleet_rows.all_engines(tx) if engine.pool == pool and engine.state == "ready"]
        if not ready:
            raise EngineUnreachable(f"no engine of pool {pool} is ready")
        engine = ready[0]
        fleet_rows.take_lease(tx, f"engine:{engine.id}", holder, clock(), LEASE_MS)
    try:
        yield Lease(engine, holder)
    finally:
        with store.write() as tx:
            fleet_rows.drop_lease(tx, f"engine:{engine.id}", holder)
