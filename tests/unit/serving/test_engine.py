"""How an engine is started: its flags, its environment, and what is said of wrong settings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.engine import (
    PLUGINS,
    EngineSettings,
    engine_command,
    engine_environment,
    prepare,
    problems,
    rpc_directory,
)
from thumbwheel.errors import SettingsError
from thumbwheel.home import LONGEST_SOCKET_PATH


@pytest.fixture
def settings(tmp_path: Path) -> EngineSettings:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return EngineSettings(
        model=tmp_path / "model",
        socket=tmp_path / "run" / "engine.sock",
        engine_dir=tmp_path / "engine",
        artifacts=tmp_path / "artifacts",
        lora_targets=("k_proj", "q_proj"),
    )


def value(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_command_listens_on_the_socket_alone_behind_the_guard(settings: EngineSettings) -> None:
    command = engine_command(settings)
    assert command[1:4] == ["-P", "-m", "vllm.entrypoints.openai.api_server"]
    assert value(command, "--uds") == str(settings.socket)
    assert value(command, "--middleware") == "serving.engine_guard.EngineGuard"
    assert not {"--host", "--port", "--api-key", "--trust-remote-code"} & set(command)
    assert value(command, "--served-model-name") == "base"
    assert command[command.index("--lora-target-modules") + 1 :][:2] == ["k_proj", "q_proj"]


def test_eager_mode_and_bfloat16_are_the_cpus_alone(settings: EngineSettings) -> None:
    cpu = engine_command(settings)
    assert "--enforce-eager" in cpu and value(cpu, "--dtype") == "bfloat16"
    assert value(cpu, "--kv-cache-memory-bytes") == str(settings.kv_cache_bytes)
    gpu = engine_command(replace(settings, device="cuda", kv_cache_bytes=None))
    assert value(cpu, "--distributed-executor-backend").endswith(".UniProcExecutor")
    own = {"--enforce-eager", "--dtype", "--kv-cache-memory-bytes", "--distributed-executor-backend"}
    assert not own & set(gpu)
    assert value(gpu, "--gpu-memory-utilization") == "0.85"


def test_the_environment_passes_no_secret_and_no_proxy(settings: EngineSettings) -> None:
    parent = {
        "PATH": "/bin",
        "HOME": "/home/x",
        "OPENAI_API_KEY": "k",
        "AWS_SECRET_ACCESS_KEY": "k",
        "HTTPS_PROXY": "http://user:pass@proxy",
        "VLLM_API_KEY": "k",
        "HF_TOKEN": "k",
        "VLLM_PLUGINS": "evil",
        "HF_HUB_OFFLINE": "0",
        "THUMBWHEEL_ARTIFACTS": "/elsewhere",
    }
    environment = engine_environment(settings, parent)
    assert environment["PATH"] == "/bin" and environment["HOME"] == "/home/x"
    assert not {"OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "VLLM_API_KEY", "HF_TOKEN"} & set(environment)
    assert environment["VLLM_PLUGINS"] == ",".join(PLUGINS)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["THUMBWHEEL_ARTIFACTS"] == str(settings.artifacts)


def test_threads_are_the_settings_unless_an_operator_binds_them(settings: EngineSettings) -> None:
    environment = engine_environment(replace(settings, threads=3), {"OMP_NUM_THREADS": "64"})
    assert (environment["OMP_NUM_THREADS"], environment["VLLM_CPU_OMP_THREADS_BIND"]) == ("3", "nobind")
    bound = engine_environment(settings, {"VLLM_CPU_OMP_THREADS_BIND": "0-7"})
    assert bound["VLLM_CPU_OMP_THREADS_BIND"] == "0-7"
    assert "VLLM_CPU_OMP_THREADS_BIND" not in engine_environment(replace(settings, device="cuda"), {})


def test_good_settings_have_no_problems(settings: EngineSettings) -> None:
    assert problems(settings, PLUGINS) == []


def test_all_problems_are_reported_together_by_key(settings: EngineSettings) -> None:
    wrong = replace(
        settings,
        model=settings.model / "nothing",
        socket=settings.socket.parent / ("x" * LONGEST_SOCKET_PATH),
        max_lora_rank=12,
        max_loras=9,
        max_num_batched_tokens=8,
        threads=0,
    )
    keys = [key for key, _, _ in problems(wrong, PLUGINS[:1])]
    assert keys == [
        "--model",
        "--socket",
        "--max-lora-rank",
        "--max-loras",
        "--max-num-batched-tokens",
        "--threads",
        "plug-ins",
    ]


def test_a_sockets_path_may_have_107_bytes_and_no_more(settings: EngineSettings) -> None:
    room = LONGEST_SOCKET_PATH - len("/run/")
    for length, expected in ((room, []), (room + 1, ["--socket"])):
        path = Path("/run") / ("é" * (length // 2) + "x" * (length % 2))
        assert [key for key, _, _ in problems(replace(settings, socket=path), PLUGINS)] == expected


def test_vllms_own_sockets_lie_beside_ours_where_the_path_allows(settings: EngineSettings) -> None:
    short = replace(settings, socket=Path("/run/t/engine.sock"))
    assert rpc_directory(short) == Path("/run/t/rpc")
    assert engine_environment(short, {})["VLLM_RPC_BASE_PATH"] == "/run/t/rpc"
    long = replace(settings, socket=Path("/" + "d" * 70) / "engine.sock")
    assert rpc_directory(long) is None
    assert "VLLM_RPC_BASE_PATH" not in engine_environment(long, {})


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name, as pytest's own may not."""
    with tempfile.TemporaryDirectory(prefix="tw-") as directory:
        yield Path(directory)


def test_preparing_clears_what_an_earlier_engine_left(short_home: Path) -> None:
    # In a process of its own, as it changes the umask.
    script = (
        "import sys; from pathlib import Path; from serving.engine import EngineSettings, prepare; "
        "home = Path(sys.argv[1]); prepare(EngineSettings(home, home / 'run/e.sock', home / 'engine', home / 'store'))"
    )
    home = short_home / "h"
    (home / "run" / "rpc").mkdir(parents=True)
    (home / "run" / "rpc" / "left").touch()
    (home / "engine" / "adapters" / "old").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "run" / "e.sock"))
    subprocess.run([sys.executable, "-c", script, str(home)], check=True, cwd=Path(__file__).parents[3])
    assert not (home / "run" / "e.sock").exists() and not (home / "engine" / "adapters").exists()
    assert list((home / "run" / "rpc").iterdir()) == []
    assert (home / "store").stat().st_mode & 0o777 == 0o700


def test_an_engine_that_still_listens_is_not_pushed_aside(settings: EngineSettings) -> None:
    settings.socket.parent.mkdir()
    mask = os.umask(0o077)
    try:
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(str(settings.socket))
            live.listen()
            with pytest.raises(SettingsError, match="another engine listens"):
                prepare(settings)
    finally:
        os.umask(mask)
    assert settings.socket.exists()


def test_wrong_settings_end_with_status_2_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving.engine", "--model", str(tmp_path), "--max-lora-rank", "3"]
    command += [
        "--socket",
        str(tmp_path / "s"),
        "--engine-dir",
        str(tmp_path / "e"),
        "--artifacts",
        str(tmp_path / "a"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert ended.returncode == 2
    assert "--model" in ended.stderr and "--max-lora-rank" in ended.stderr and "Traceback" not in ended.stderr
