"""How far the present step of a run is: what `thumbwheel status` and GET /admin/v1/runs/{id} show as `progress`.

Each job writes `{"step", "done", "of", "eta_s"}` into its run's row, and more figures where it has some; `of` and
`eta_s` are None where nobody knows. It is a courtesy: a store that is away costs the note and not the work.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from thumbwheel.clock import Clock
from thumbwheel.errors import StoreUnavailable
from thumbwheel.store import release_rows
from thumbwheel.store.connection import Store

AGAIN = 3  # a job's exit status where store, disk or engine is away: no attempt is spent, it is started again later

log_lines = logging.getLogger("thumbwheel.progress")


def note(store: Store, run_id: str, state: str, progress: Mapping[str, object], clock: Clock) -> bool:
    """Put `progress` into the run's row; False, with nothing written, where the run is past `state`."""
    try:
        with store.write() as tx:
            run = release_rows.get_run(tx, run_id)
            if run.state != state:
                return False
            release_rows.save_run(tx, replace(run, progress=dict(progress), updated_ms=clock()))
    except StoreUnavailable as error:
        log_lines.warning("%s: progress was not noted: %s", run_id, error)
    return True


def seconds_left(began: tuple[float, int], done: int | None, of: int | None) -> float | None:
    """Seconds left at the pace since `began`: a time of `time.monotonic`, and what was done by then."""
    if not done or not of or done <= began[1]:
        return None
    return round((time.monotonic() - began[0]) / (done - began[1]) * (of - done), 1)
