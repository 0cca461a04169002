"""`kill -9` of each process at each step of the loop: no acknowledged feedback is lost, and the loop still closes."""

import json
import threading
import time

import pytest

from tests.integration.service import FAST_STAGES, running

STEPS = ("teaching", "curating", "training", "evaluating", "rolling out")
CORRECTIONS = 100


def slow_recipe(folder):
    config = folder / "recipe.json"
    config.write_text(json.dumps({"sleep_s": 4.0}))
    return config


def hit(service, victim):
    service.kill(victim)
    if victim == "up":
        assert (service.home / "endpoints.json").exists()  # nobody was there to take it away
        service.start()


def teach_under_fire(service, victim):
    people = threading.Thread(target=service.teach, args=("support", CORRECTIONS))
    people.start()
    time.sleep(0.3)
    if victim is not None:
        hit(service, victim)
    people.join(120)
    assert not people.is_alive()


def ask_under_fire(service, victim):
    """Ask until the candidate is promoted; the victim dies once the candidate answers."""
    hurt = []

    def over(view):
        rollout = view["rollout"]
        if rollout["weight"] > 0 and rollout["state"] == "running" and not hurt and victim is not None:
            hurt.append(victim)
            hit(service, victim)
        return rollout["state"] != "running"

    answers = service.keep_asking("support", over, timeout_s=180)
    assert hurt or victim is None
    return answers


def close_the_loop(service, blows):
    """One cycle with `blows`: step -> the process that is killed in it."""
    service.channel("support", stages=FAST_STAGES)
    teach_under_fire(service, blows.get("teaching"))
    run = service.start_run("support")
    for step in ("curating", "training", "evaluating"):
        if step in blows:
            service.wait_run(run, step, *STEPS[STEPS.index(step) + 1 : 4])
            hit(service, blows[step])
    found = service.wait_run(run, "candidate", timeout_s=240)
    ask_under_fire(service, blows.get("rolling out"))
    view = service.view("support")
    assert view["rollout"]["state"] == "promoted" and view["stable"] == found["release"], service.tails()
    assert view["table"] == [{"release": found["release"], "role": "stable", "weight": 100.0}]

    ledger = service.ledger("support")
    acknowledged = set(service.acknowledged)
    assert all(service.knows(feedback) for feedback in acknowledged)
    # What was cut off between the disk and the 202 is there at most once; its person asked anew, and said it of that.
    assert len(acknowledged) <= ledger["acknowledged"] <= len(acknowledged) + service.unanswered
    assert ledger["acknowledged"] == ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    # One who was cut off between word and answer said it again; and no inference died that feedback was taken on.
    assert ledger["used"] >= CORRECTIONS, ledger
    service.wait_ready()
    answer = service.wait_until(lambda: service.ask("support", "The colour ran.", "last"), "an answer")
    assert answer["release"] == found["release"] and answer["text"].startswith("CASE quality.")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", ["engine", "gateway", "consumer", "controller", "up"])
def test_the_loop_closes_though_one_process_is_killed_at_every_step(tmp_path, victim):
    with running(tmp_path, recipe_config=slow_recipe(tmp_path)) as service:
        close_the_loop(service, dict.fromkeys(STEPS, victim))
        assert service.stop() == 0
        assert not (service.home / "endpoints.json").exists()


@pytest.mark.timeout(600)
def test_the_loop_closes_though_each_job_is_killed(tmp_path):
    with running(tmp_path, recipe_config=slow_recipe(tmp_path)) as service:
        close_the_loop(service, {"curating": "curate", "training": "recipe", "evaluating": "evaluate"})


@pytest.mark.timeout(300)
def test_training_goes_on_where_it_was_killed_and_fails_after_too_many_deaths(tmp_path):
    with running(tmp_path, recipe_config=slow_recipe(tmp_path), job_attempts=2) as service:
        service.channel("support")
        service.teach("support", CORRECTIONS)
        run = service.start_run("support")
        service.wait_run(run, "training")
        for _ in range(2):
            service.kill("train")
        found = service.wait_run(run, "failed")
        assert "train ended 2 times" in found["reasons"][0]
        assert service.ledger("support")["acknowledged"] == CORRECTIONS
