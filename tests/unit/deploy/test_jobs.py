"""Jobs as real processes: one at a time for a run, whoever its controller is."""

import os
import time

import pytest

from deploy.jobs import Jobs
from thumbwheel.home import prepare


@pytest.fixture
def jobs(tmp_path):
    home = prepare(tmp_path / "home")
    made = Jobs(home, dict(os.environ))
    yield made
    made.stop()


def wait_end(jobs):
    deadline = time.monotonic() + 60
    while not (ended := jobs.ended()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return ended


def test_a_job_runs_once_for_a_run_and_its_end_is_told_once(jobs, tmp_path):
    other = Jobs(prepare(tmp_path / "home"), dict(os.environ))
    assert jobs.start("run-1", "curate")
    assert jobs.running() == {"run-1": "curate"}
    assert not other.start("run-1", "curate")  # another controller's job has the run
    (ended,) = wait_end(jobs)  # there is no such run: the job says so and ends
    assert (ended.run, ended.verb, ended.status) == ("run-1", "curate", 1)
    assert jobs.ended() == [] and jobs.running() == {}
    assert other.start("run-1", "train")
    other.stop("run-1")
    assert other.running() == {} and other.ended() == []
    assert "no run" in (tmp_path / "home" / "logs" / "curate.log").read_text()
