"""What `up` hands to its children."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.supervisor import _speaker, check, child_environment, engine_row, programs
from thumbwheel.errors import SettingsError
from thumbwheel.home import prepare
from thumbwheel.settings import Settings, read_settings


def test_a_child_reads_the_settings_that_its_parent_had(tmp_path: Path) -> None:
    settings = Settings(tmp_path, cors_origins=("https://a.example", "https://b.example"), gateway_workers=2)
    assert read_settings({}, child_environment(settings, {}), tmp_path) == settings
    assert read_settings({}, child_environment(Settings(tmp_path), {}), tmp_path) == Settings(tmp_path)


@pytest.mark.parametrize("terminal", [True, False])
def test_words_that_nobody_can_take_stop_nothing(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails too
    monkeypatch.setattr(sys, "stderr", full)
    say = _speaker(terminal)
    say("waiting")
    say("up")
    with pytest.raises(OSError):
        full.close()


@pytest.mark.parametrize("left", ["http://127.0.0.1:99999999", "http://127.0.0.1:-1", "http://127.0.0.1:port", 2])
def test_what_a_killed_service_left_is_taken_where_it_means_something(tmp_path: Path, left: object) -> None:
    home = prepare(tmp_path / "home")
    home.endpoints.write_text(json.dumps({"api": left}))
    for text in (home.endpoints.read_text(), "[" * 100_000):
        home.endpoints.write_text(text)
        _, listeners = check(replace(Settings(home.root), upstream="http://127.0.0.1:1"), home)
        for listener in listeners.values():
            listener.close()
        assert set(listeners) == {"api", "admin"}


def test_each_listener_has_its_own_host(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    settings = replace(Settings(home.root), upstream="http://127.0.0.1:1", host="127.0.0.2")
    _, listeners = check(settings, home)
    held = {name: listener.getsockname()[0] for name, listener in listeners.items()}
    for listener in listeners.values():
        listener.close()
    assert held == {"api": "127.0.0.2", "admin": "127.0.0.1"}


def test_a_damaged_secret_is_told_before_anything_starts(tmp_path: Path) -> None:
    home = prepare(tmp_path / "home")
    (home.keys / "secret").write_text("")
    with pytest.raises(SettingsError) as caught:
        check(replace(Settings(home.root), model=str(tmp_path / "nowhere")), home)
    assert [key for key, _, _ in caught.value.problems] == ["keys/secret", "model"]


@pytest.mark.parametrize(("kafka", "relays"), [(None, []), ("127.0.0.1:9092", ["relay"])])
def test_a_relay_runs_before_the_gateways_where_kafka_is_the_log(
    tmp_path: Path, kafka: str | None, relays: list[str]
) -> None:
    home = prepare(tmp_path / "home")
    settings = Settings(home.root, upstream="http://127.0.0.1:1", kafka=kafka, gateway_workers=2)
    found, listeners = check(settings, home)
    started = programs(found, home, listeners, engine_row(found, home, {}), {})
    for listener in listeners.values():
        listener.close()
    assert [program.name for program in started] == [*relays, "gateway-0", "gateway-1", "consumer", "controller"]
