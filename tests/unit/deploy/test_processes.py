"""Children for real: they die with their parent, come back with growing pauses, and their logs stay small."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from deploy.processes import STEADY_S, Child, Program, bound_log, last_lines, pause_s, spawn, stop

SLEEP = ("/bin/sleep", "60")


def program(tmp_path, *command, **fields):
    return Program("child", command or SLEEP, tmp_path / "child.log", dict(os.environ), **fields)


def wait_for(true, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_childs_words_go_to_its_private_log_and_pile_up(tmp_path):
    for word in ("one", "two"):
        assert spawn(program(tmp_path, "/bin/sh", "-c", f"echo {word}; echo {word}! >&2")).wait() == 0
    log = tmp_path / "child.log"
    assert log.read_text() == "one\none!\ntwo\ntwo!\n" and log.stat().st_mode & 0o777 == 0o600
    assert last_lines(log, 2) == "two\ntwo!" and last_lines(tmp_path / "none.log") == ""


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_dies_with_a_parent_that_is_killed(tmp_path, death):
    code = (
        "import os, sys, time; from pathlib import Path; from deploy.processes import Program, spawn\n"
        f"child = spawn(Program('c', {SLEEP!r}, Path({str(tmp_path / 'c.log')!r}), dict(os.environ), "
        f"death_signal={int(death)}))\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    psutil.wait_procs([child], timeout=10)
    assert not child.is_running()


def test_stopping_asks_first_and_then_ends_the_whole_session(tmp_path):
    polite = spawn(program(tmp_path))
    assert stop(polite, 5.0) == -signal.SIGTERM
    stubborn = spawn(program(tmp_path, "/bin/sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait"))
    wait_for(lambda: (tmp_path / "child.log").read_text().strip())
    grandchild = int((tmp_path / "child.log").read_text())
    assert stop(stubborn, 0.2) == -signal.SIGKILL
    wait_for(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_pauses_double_to_thirty_seconds():
    assert [pause_s(n, 1.0) for n in (0, 1, 2, 3, 5, 6, 50)] == [1, 1, 2, 4, 16, 30, 30]


def test_a_child_that_ends_is_started_again_after_its_pause(tmp_path):
    child = Child(program(tmp_path, "/bin/sh", "-c", "exit 7"), 1.0)
    assert child.tend(100.0) == "started" and child.alive
    wait_for(lambda: child.process.poll() is not None)
    assert child.tend(101.0) == "ended" and not child.alive and child.status == 7
    assert child.tend(101.9) is None
    assert child.tend(102.0) == "started"
    wait_for(lambda: child.process.poll() is not None)
    assert child.tend(103.0) == "ended" and child.failures == 2
    assert child.tend(104.9) is None and child.tend(105.0) == "started"
    wait_for(lambda: child.process.poll() is not None)
    assert child.tend(105.0 + STEADY_S) == "ended" and child.failures == 1  # it had been steady


def test_a_child_that_cannot_be_started_is_tried_again_after_its_pause(tmp_path):
    child = Child(program(tmp_path, str(tmp_path / "later")), 1.0)
    for now_s, failures in ((100.0, 1), (101.0, 2)):
        with pytest.raises(FileNotFoundError):
            child.tend(now_s)
        assert not child.alive and child.failures == failures
    assert child.tend(102.9) is None
    (tmp_path / "later").symlink_to("/bin/true")
    assert child.tend(103.0) == "started"
    child.stop()


def test_a_stopped_child_stays_stopped(tmp_path):
    child = Child(program(tmp_path), 0.1)
    child.tend(1.0)
    child.stop()
    assert child.status == -signal.SIGTERM and child.tend(1e9) is None


def test_a_log_is_cut_when_it_has_grown_and_its_writer_goes_on(tmp_path):
    log = tmp_path / "x.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a" * 100)
        assert not bound_log(log, limit=100, kept=10)
        writer.write(b"b" * 10)
        assert bound_log(log, limit=100, kept=10)
        writer.write(b"c")
    assert log.read_bytes() == b"c" and (tmp_path / "x.log.1").read_bytes() == b"b" * 10
    assert not bound_log(tmp_path / "none.log")


def test_a_log_is_cut_though_the_disk_is_too_full_to_keep_its_end(tmp_path):
    log = tmp_path / "x.log"
    log.write_bytes(b"a" * 100)
    (tmp_path / "x.log.1").symlink_to("/dev/full")
    assert bound_log(log, limit=50, kept=10) and log.read_bytes() == b""
