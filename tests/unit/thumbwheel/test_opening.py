from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.opening import Role, open_log
from thumbwheel.eventlog.relay_log import RelayLog
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.home import prepare
from thumbwheel.settings import Settings

NOWHERE = "127.0.0.1:1"
ROLES: tuple[Role, ...] = ("client", "member", "gateway")


@pytest.mark.parametrize("role", ROLES)
def test_without_kafka_every_process_has_the_homes_file(tmp_path: Path, role: Role) -> None:
    home = prepare(tmp_path / "home")
    log = open_log(Settings(home=home.root), home, role)
    assert isinstance(log, SqliteEventLog) and home.events.exists()
    log.close()


@pytest.mark.parametrize("role", ROLES)
def test_a_service_starts_though_its_brokers_are_away(tmp_path: Path, role: Role) -> None:
    home = prepare(tmp_path / "home")
    log = open_log(replace(Settings(home=home.root), kafka=NOWHERE), home, role, busy_ms=200)
    assert isinstance(log, RelayLog) == (role == "gateway")
    with pytest.raises(StoreUnavailable):
        log.ends()
    assert not home.events.exists()
    log.close()


def test_a_gateway_holds_no_client_of_a_broker() -> None:
    """Its import alone costs a worker memory and time."""
    script = (
        "import sys, pathlib, serving.app\n"
        "from thumbwheel.home import Home; from thumbwheel.settings import Settings\n"
        "from thumbwheel.eventlog.opening import open_log\n"
        "root = pathlib.Path('/nowhere')\n"
        "open_log(Settings(home=root, kafka='127.0.0.1:1'), Home(root), 'gateway')\n"
        "assert 'kafka' not in sys.modules, 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
