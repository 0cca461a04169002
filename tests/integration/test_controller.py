"""Two real controllers on one store: one leads, nothing is done twice, and the other takes over when it is killed."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from tests.integration.service import ROOT, running
from tests.stores import store_in
from thumbwheel.store import fleet_rows


@pytest.mark.timeout(300)
def test_two_controllers_make_one_run_and_one_rollout(tmp_path):
    with running(tmp_path) as service, ExitStack() as stack:
        second = subprocess.Popen(
            [sys.executable, "-m", "thumbwheel", "controller", "--home", str(service.home)],
            cwd=ROOT,
            env=service.environment,
            stdout=(stack.enter_context((tmp_path / "second.log").open("ab"))),
            stderr=subprocess.STDOUT,
        )
        stack.callback(second.wait)
        stack.callback(second.terminate)
        service.channel("support")
        service.teach("support", 100)
        run = service.start_run("support")
        service.wait_run(run, "training", "evaluating")
        service.kill("controller")  # whichever leads, one is left until this one is started again
        assert service.wait_run(run, "candidate")["attempts"] <= 1
        service.keep_asking("support", lambda view: view["rollout"]["state"] != "running")
        view = service.view("support")
        assert view["rollout"]["state"] == "promoted" and len(view["runs"]) == 1

        store = store_in(service.home)
        with store.read() as tx:
            audited = [row["action"] for row in fleet_rows.audit_of(tx, view["rollout"]["id"])]
        store.close()
        assert audited == ["start_rollout", "enter_stage", "enter_stage", "enter_stage", "promote"]


@pytest.mark.timeout(300)
def test_a_frozen_leader_that_wakes_stops_what_it_had_started(tmp_path):
    config = tmp_path / "recipe.json"
    config.write_text('{"sleep_s": 30.0}')
    with running(tmp_path, recipe_config=config) as service, ExitStack() as stack:
        service.channel("support")
        service.teach("support", 100)
        run = service.start_run("support")
        service.wait_run(run, "training")
        first = service.wait_until(lambda: service.processes().get("train"), "a trainer")
        leader = service.processes()["controller"]
        leader.suspend()
        stack.callback(leader.resume)
        second = subprocess.Popen(
            [sys.executable, "-m", "thumbwheel", "controller", "--home", str(service.home)],
            cwd=ROOT,
            env={**os.environ, **service.environment},
        )
        stack.callback(second.wait)
        stack.callback(second.terminate)
        time.sleep(8)  # longer than the lease
        assert first.is_running()  # the frozen leader's trainer holds the run: there is no second one
        trainers = [child for child in second_children(second) if "train" in child]
        assert trainers == []
        leader.resume()
        service.wait_until(lambda: not first.is_running(), "the woken leader to stop its trainer")
        service.wait_until(lambda: any("train" in words for words in second_children(second)), "the other to go on")


def second_children(process):
    import psutil

    found = []
    for child in psutil.Process(process.pid).children():
        try:
            found.append(child.cmdline())
        except psutil.Error:
            continue
    return found
