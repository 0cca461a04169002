"""`thumbwheel up` from outside: what a newcomer, a second `up`, a wrong setting and a full machine meet."""

import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.integration.service import ROOT, environment, running
from tests.recorded_engine import running as recorded_engine
from tests.stores import store_in


def thumbwheel(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "thumbwheel", *words],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
    )


def test_one_cycle_then_a_clean_stop(tmp_path):
    with running(tmp_path) as service:
        service.channel("support")
        service.teach("support", 100)
        run = service.run_to_end("support")
        assert run["state"] == "candidate", service.tails()
        answers = service.keep_asking("support", lambda view: view["rollout"]["state"] != "running")
        view = service.view("support")
        assert view["rollout"]["state"] == "promoted" and view["stable"] == run["release"]
        assert {answer["variant"] for answer in answers} == {"stable", "candidate"}
        assert all(answer["text"].startswith("CASE") for answer in answers if answer["release"] == run["release"])
        assert service.failed_requests == []
        stages = view["rollout"]["analysis"]["stages"]
        assert [stage["weight"] for stage in stages] == [20.0, 50.0, 100.0]
        assert all(0 < stage["bound"] < 0.4 for stage in stages)
        assert service.ledger("support")["used"] == 100

        children = psutil.Process(service.process.pid).children(recursive=True)
        assert service.stop() == 0
        assert not (service.home / "endpoints.json").exists()
        assert not [child for child in children if child.is_running()]
        for path in (service.home, service.home / "keys"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        for path in [*(service.home / "keys").iterdir(), service.home / "store.db", *(service.home / "logs").iterdir()]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_run_on_nothing_and_one_on_shuffled_corrections_do_not_go_out(tmp_path):
    with running(tmp_path) as service:
        service.channel("support")
        nothing = service.run_to_end("support")
        assert nothing["state"] == "insufficient_evidence" and nothing["release"] is None
        service.teach("support", 100, shuffled=True)
        shuffled = service.run_to_end("support")
        assert shuffled["state"] in ("rejected", "insufficient_evidence") and shuffled["release"], shuffled
        assert service.view("support")["rollout"] is None


def test_train_after_starts_a_run_by_itself(tmp_path):
    with running(tmp_path) as service:
        service.channel("support", train_after=30)
        service.teach("support", 30)
        runs = service.wait_until(lambda: service.view("support")["runs"], "a run")
        assert len(runs) == 1


def test_garbage_let_past_the_gate_is_rolled_back_by_what_users_get(tmp_path):
    from tests.tiny_recipe import write_adapter

    with running(tmp_path) as service:
        service.channel("support")
        behaviour = {"default": "wheel " * 60, "logprob_boost": {"*": 1.0}}
        bad = write_adapter(tmp_path / "bad", tmp_path / "tiny-model", behaviour)
        shown = thumbwheel(
            *("release", "import", str(bad), "--channel", "support", "--home", str(service.home), "--json"),
            THUMBWHEEL_MODEL=str(tmp_path / "tiny-model"),
        )
        release = json.loads(shown.stdout)["id"]
        service.admin("POST", "/admin/v1/channels/support/rollouts", {"release": release})
        service.keep_asking("support", lambda view: view["rollout"]["state"] != "running")
        view = service.view("support")
        assert view["rollout"]["state"] == "rolled_back", view
        assert view["rollout"]["analysis"]["result"] == "failed"
        assert view["rollout"]["analysis"]["reasons"][0].startswith("degenerate")
        assert service.failed_requests == []
        assert service.admin("GET", f"/admin/v1/releases/{release}")["state"] == "rejected"


def test_an_adapter_that_gives_no_finite_numbers_does_not_pass_the_smoke_test(tmp_path):
    from tests.tiny_recipe import write_adapter

    with running(tmp_path) as service:
        service.channel("support")
        faults = service.home / "engines" / "engine-0" / "faults.json"
        faults.write_text(json.dumps({"models": ["adapter-*"], "nan": True}))
        draft = write_adapter(tmp_path / "draft", tmp_path / "tiny-model", {"answers": {}})
        shown = thumbwheel(
            *("release", "import", str(draft), "--channel", "support", "--home", str(service.home), "--json"),
            THUMBWHEEL_MODEL=str(tmp_path / "tiny-model"),
        )
        release = json.loads(shown.stdout)["id"]
        service.admin("POST", "/admin/v1/channels/support/rollouts", {"release": release})
        view = service.wait_until(
            lambda: (view := service.view("support"))["rollout"]["state"] == "rolled_back" and view, "a roll-back"
        )
        assert "not finite" in view["rollout"]["analysis"]["reasons"][0]
        assert view["rollout"]["weight"] == 0


def test_a_second_up_says_so_and_does_nothing(tmp_path):
    with running(tmp_path) as service:
        before = set(service.processes())
        second = thumbwheel("up", "--home", str(service.home))
        assert second.returncode == 1 and "Traceback" not in second.stderr
        assert "already runs" in second.stderr and str(service.process.pid) in second.stderr
        assert service.process.poll() is None and set(service.processes()) == before
        assert httpx.get(service.endpoint("api") + "/readyz").status_code == 200
        doctor = json.loads(thumbwheel("doctor", "--home", str(service.home), "--json").stdout)
        found = {finding["what"]: finding for finding in doctor["findings"]}
        assert found["port api"]["advice"] is None and found["engine engine-0"]["found"] == "answers"


def test_wrong_settings_are_told_all_together(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = thumbwheel("up", "--home", str(tmp_path / "home"), "--model", "nowhere/at-all", "--port", str(port))
    assert told.returncode == 2 and "Traceback" not in told.stderr
    assert "nowhere/at-all" in told.stderr and f"api_port holds {port}" in told.stderr
    assert not (tmp_path / "home" / "endpoints.json").exists()


def test_an_engine_that_cannot_start_is_told_while_it_is_tried_again(tmp_path):
    env = environment(tmp_path, engine_program="tests.integration.no_such_engine", restart_pause_s=0.05)
    process = subprocess.Popen(
        [sys.executable, "-m", "thumbwheel", "up", "--home", str(tmp_path / "home")],
        cwd=ROOT,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = next(line for line in process.stderr if "engine ended" in line)
        assert "status 1" in line
    finally:
        process.terminate()
        assert process.wait(30) == 0


def test_a_deep_home_gets_a_short_socket_that_goes_at_the_end(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    runtime = tmp_path / "run"
    runtime.mkdir()
    os.environ["XDG_RUNTIME_DIR"], before = str(runtime), os.environ.get("XDG_RUNTIME_DIR")
    try:
        with running(deep) as service:
            (folder,) = runtime.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and (folder / "engine-0.sock").exists()
            assert service.stop() == 0
        assert list(runtime.iterdir()) == []
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before


def test_a_locked_store_stops_nothing_and_loses_nothing(tmp_path):
    with running(tmp_path) as service:
        service.channel("support")
        store = store_in(service.home)
        with store.write():
            answers = [service.ask("support", f"Where is parcel {n}?", f"u{n}") for n in range(10)]
            assert all(answers)
            said = [service.say(answer["id"], thumb="down", correction="It is on its way.") for answer in answers]
            assert all(said)
            time.sleep(2.0)
        store.close()
        service.wait_until(lambda: service.ledger("support")["acknowledged"] == 10, "the ledger to catch up")
        assert service.process.poll() is None


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_a_request_under_way_is_answered_while_the_service_drains(tmp_path, sent):
    import signal
    import threading

    with running(tmp_path) as service:
        service.channel("support")
        (service.home / "engines" / "engine-0" / "faults.json").write_text(json.dumps({"delay_ms": 1_500}))
        answers = []
        asking = threading.Thread(target=lambda: answers.append(service.ask("support", "Are you there?", "u1")))
        asking.start()
        time.sleep(0.5)
        service.process.send_signal(getattr(signal, sent))
        assert service.process.wait(60) == 0
        asking.join()
        assert answers[0] is not None, service.failed_requests


def test_an_upstream_is_routed_and_learned_from_but_not_trained(tmp_path):
    environment(tmp_path)  # makes the model
    artifacts = tmp_path / "other"
    with (
        recorded_engine(tmp_path / "tiny-model", Path(tmp_path / "up.sock"), tmp_path / "other-engine", artifacts),
        running(tmp_path, upstream=f"unix:{tmp_path / 'up.sock'}") as service,
    ):
        assert "engine" not in service.processes()
        service.channel("support")
        service.teach("support", 100)
        run = service.run_to_end("support")
        assert run["state"] == "failed" and run["dataset"]
        assert "weights are not here" in run["reasons"][0] and run["dataset"] in run["reasons"][0]
        assert service.ledger("support")["used"] == 100
