from pathlib import Path

import pytest

from thumbwheel.errors import SettingsError
from thumbwheel.settings import read_settings


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = read_settings({}, {}, tmp_path)
    assert settings.home == (tmp_path / ".thumbwheel").resolve()
    assert settings.host == "127.0.0.1"


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text("train_threads: 2\nmax_lora_rank: 8\nlog_queue: 5\n")
    environment = {"THUMBWHEEL_HOME": str(home), "THUMBWHEEL_MAX_LORA_RANK": "16", "THUMBWHEEL_LOG_QUEUE": "6"}
    settings = read_settings({"log_queue": 7}, environment, tmp_path)
    assert (settings.train_threads, settings.max_lora_rank, settings.log_queue) == (2, 16, 7)


def test_every_problem_is_reported_at_once_with_its_key(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text("gateway_worker: 2\n")
    environment = {
        "THUMBWHEEL_HOME": str(home),
        "THUMBWHEEL_API_PORT": "http",
        "THUMBWHEEL_TRAIN_THREADS": "0",
        "THUMBWHEEL_UPSTREAM": "localhost:8000",
        "THUMBWHEEL_ENGINE_WAIT_S": "soon",
    }
    with pytest.raises(SettingsError) as caught:
        read_settings({"admin_port": 70000}, environment, tmp_path)
    found = {key for key, _, _ in caught.value.problems}
    assert found == {
        "settings.yaml: gateway_worker",
        "api_port",
        "train_threads",
        "upstream",
        "engine_wait_s",
        "admin_port",
    }


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "just words"])
def test_a_file_that_is_no_mapping_is_a_problem_and_no_traceback(tmp_path: Path, text: str) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text(text)
    with pytest.raises(SettingsError):
        read_settings({"home": str(home)}, {}, tmp_path)


def test_the_same_port_twice_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two ports"):
        read_settings({"api_port": 9000, "admin_port": 9000}, {}, tmp_path)
