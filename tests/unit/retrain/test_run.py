"""What a job says of its end must not change its exit status, wherever its words go."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from retrain.run import DONE, FAILED
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.home import prepare
from thumbwheel.progress import AGAIN
from thumbwheel.records import Policies
from thumbwheel.store import release_rows

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from retrain.job import Ended, Moved
from retrain.run import _run
from thumbwheel.errors import JobError, StoreUnavailable

def step(job):
    raise {error}

sys.exit(_run(sys.argv[1:], "train", "training", step))
"""


@pytest.mark.parametrize(
    ("error", "status", "state"),
    [
        ("StoreUnavailable('no space is left')", AGAIN, "training"),
        ("Ended('the recipe was ended')", FAILED, "training"),
        ("JobError('it cannot be')", FAILED, "failed"),
        ("Moved", DONE, "training"),
    ],
)
def test_a_jobs_words_on_a_full_disk_change_nothing(tmp_path: Path, error: str, status: int, state: str) -> None:
    home = prepare(tmp_path / "home")
    store = store_in(home.root)
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
        run = rollouts.start_run(tx, "support", {}, None, 2, "test")
        rollouts.advance_run(tx, run, "training", 3)
    with open("/dev/full", "wb") as full:
        words = (run.id, "--home", str(home.root))
        command = [sys.executable, "-c", SCRIPT.format(error=error), *words]
        assert subprocess.run(command, stdout=full, stderr=full, cwd=ROOT).returncode == status
    with store.read() as tx:
        assert release_rows.get_run(tx, run.id).state == state
    store.close()
