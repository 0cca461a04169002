"""Starts one vLLM engine on a Unix socket, with adapters resolved by artifact and nothing else open.

    python -m serving.engine --model DIR --socket PATH --engine-dir DIR --artifacts DIR [--max-lora-rank 32] ...

The process becomes vLLM's API server (execve), so the pid that a supervisor started is the engine's. It ends when its
parent ends, and its children end with it. Start it from a thread that lives as long as the engine should (see
thumbwheel.lifeline). Until the socket answers `GET /health`, about 35 s on two cores, it is starting.

The decisions are `engine_command`, `engine_environment` and `problems`, pure functions of `EngineSettings`. It does not
know pools, releases or restarts; several API servers for one engine (the resolver needs there to be one); or more than
one GPU (vLLM has flags for it; none is passed).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import shutil
import socket
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.lora_resolver import ENV_ARTIFACTS, ENV_BASE, ENV_ENGINE_DIR, ENV_MAX_LORA_RANK
from thumbwheel.adapter import base_modules
from thumbwheel.errors import ArtifactError, SettingsError
from thumbwheel.home import LONGEST_SOCKET_PATH
from thumbwheel.lifeline import die_with_parent

RPC_NAME_BYTES = len("/rpc/") + 36  # vLLM's own sockets are named by a UUID
SERVED_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM 0.32 takes for --max-lora-rank
PLUGIN_GROUP = "vllm.general_plugins"
PLUGINS = ("thumbwheel_lifeline", "thumbwheel_lora_cpu", "thumbwheel_lora_resolver")
GUARD = "serving.engine_guard.EngineGuard"
# On a CPU vLLM would put the model into a process of its own, for the sake of pinning threads, which we turn off. The
# two then spin on shared memory for a second after each step: with one request a second, two whole cores, and 0.5 GB.
IN_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"

# What an engine may know of its parent's environment: where things are and how many threads, never a key or a proxy.
PASSED = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"),
        *("LD_LIBRARY_PATH", "LD_PRELOAD", "VIRTUAL_ENV", "PYTHONPATH"),
        *("CUDA_HOME", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"),
        *("VLLM_LOGGING_LEVEL", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_CPU_NUM_OF_RESERVED_CPU"),
    }
)


@dataclass(frozen=True)
class EngineSettings:
    """One engine. Lengths are tokens, sizes bytes; `lora_targets` are the last parts of adaptable modules' names."""

    model: Path
    socket: Path
    engine_dir: Path
    artifacts: Path
    device: str = "cpu"  # or "cuda"
    threads: int = 1  # that compute, on a CPU
    lora_targets: tuple[str, ...] = ()
    max_lora_rank: int = 32
    max_loras: int = 4  # adapters in one batch
    max_cpu_loras: int = 8  # adapters kept in memory
    max_model_len: int = 2048
    max_num_seqs: int = 64
    max_num_batched_tokens: int = (
        1024  # bounds a step's memory: log-probabilities of a prompt take 4 B x vocabulary each
    )
    max_logprobs: int = 20
    kv_cache_bytes: int | None = 512 << 20  # taken whole at start; None: what vLLM finds on the GPU
    gpu_memory_utilization: float = 0.85


def engine_command(settings: EngineSettings) -> list[str]:
    """The command line that `main` becomes, beginning with this interpreter."""
    command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server"]  # -P: no modules from where we stand
    command += ["--model", str(settings.model), "--served-model-name", "base"]
    command += ["--uds", str(settings.socket), "--middleware", GUARD, "--disable-uvicorn-access-log"]
    command += ["--max-model-len", str(settings.max_model_len), "--max-num-seqs", str(settings.max_num_seqs)]
    command += ["--max-num-batched-tokens", str(settings.max_num_batched_tokens)]
    command += ["--max-logprobs", str(settings.max_logprobs)]
    command += ["--enable-lora", "--max-lora-rank", str(settings.max_lora_rank)]
    command += ["--max-loras", str(settings.max_loras), "--max-cpu-loras", str(settings.max_cpu_loras)]
    if settings.lora_targets:
        command += ["--lora-target-modules", *settings.lora_targets]
    if settings.kv_cache_bytes is not None:
        command += ["--kv-cache-memory-bytes", str(settings.kv_cache_bytes)]
    if settings.device == "cpu":
        command += ["--dtype", "bfloat16", "--enforce-eager"]  # our LoRA arithmetic is for eager mode
        command += ["--distributed-executor-backend", IN_PROCESS]
    else:
        command += ["--gpu-memory-utilization", str(settings.gpu_memory_utilization)]
    return command


def engine_environment(settings: EngineSettings, parent: Mapping[str, str]) -> dict[str, str]:
    """The engine's whole environment: a listed few of the parent's variables, and what keeps vLLM offline."""
    rpc = rpc_directory(settings)
    # vLLM would pin its threads to cores, all engines of a machine to the same ones; the scheduler shares better.
    # oneDNN keeps a compiled product for each shape, 1,024 by default; the engine grew by 1.4 GB from it.
    threads = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(settings.threads),
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
    }
    return {
        **(threads if settings.device == "cpu" else {}),
        **{name: value for name, value in parent.items() if name in PASSED},
        **({"VLLM_RPC_BASE_PATH": str(rpc)} if rpc else {}),
        ENV_ARTIFACTS: str(settings.artifacts),
        ENV_ENGINE_DIR: str(settings.engine_dir),
        ENV_BASE: str(settings.model),
        ENV_MAX_LORA_RANK: str(settings.max_lora_rank),
        "VLLM_PLUGINS": ",".join(PLUGINS),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",  # else no resolver is asked; the guard shuts the routes it opens
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a forked child would not run the plug-ins anew
        "VLLM_HOST_IP": "127.0.0.1",  # the processes' own rendezvous stays on this machine
        "VLLM_CACHE_ROOT": str(settings.engine_dir / "cache"),
        "VLLM_CONFIG_ROOT": str(settings.engine_dir / "config"),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def rpc_directory(settings: EngineSettings) -> Path | None:
    """Where vLLM's processes meet: beside the socket, or None (the system's temporary folder) if that is too long."""
    fits = len(os.fsencode(settings.socket.parent)) + RPC_NAME_BYTES <= LONGEST_SOCKET_PATH
    return settings.socket.parent / "rpc" if fits else None


def problems(settings: EngineSettings, plugins: Collection[str]) -> list[tuple[str, str, str]]:
    """What is wrong, all of it, as (key, what it holds, what would be right); `plugins` are the installed ones."""
    found = []
    if not (settings.model / "config.json").is_file():
        found.append(("--model", str(settings.model), "a directory with a checkpoint: config.json, *.safetensors"))
    if len(os.fsencode(settings.socket)) > LONGEST_SOCKET_PATH:
        found.append(("--socket", str(settings.socket), f"a path of at most {LONGEST_SOCKET_PATH} bytes"))
    if settings.max_lora_rank not in SERVED_RANKS:
        held = str(settings.max_lora_rank)
        found.append(("--max-lora-rank", held, f"one of {', '.join(map(str, SERVED_RANKS))}"))
    if not 1 <= settings.max_loras <= settings.max_cpu_loras:
        held = f"{settings.max_loras} with --max-cpu-loras {settings.max_cpu_loras}"
        found.append(("--max-loras", held, "from 1 to --max-cpu-loras"))
    if settings.max_num_batched_tokens < settings.max_num_seqs:
        held = str(settings.max_num_batched_tokens)
        found.append(("--max-num-batched-tokens", held, f"--max-num-seqs ({settings.max_num_seqs}) or more"))
    if settings.threads < 1:
        found.append(("--threads", str(settings.threads), "1 or more"))
    missing = sorted(set(PLUGINS) - set(plugins))
    if missing:
        found.append(("plug-ins", f"{', '.join(missing)} not installed", "`pip install -e .` in the project's folder"))
    return found


def device_here() -> str:
    """`cuda` where vLLM's GPU build and a GPU are there, else `cpu`."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cpu"


def prepare(settings: EngineSettings) -> None:
    """Make the private folders empty of an earlier engine's leavings. Raises SettingsError where one still listens."""
    os.umask(0o077)  # every socket and file of vLLM's too
    for directory in (settings.socket.parent, settings.engine_dir, settings.artifacts):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.socket.exists():
        if _answers(settings.socket):
            raise SettingsError([("--socket", str(settings.socket), "another engine listens there; stop it first")])
        settings.socket.unlink()
    shutil.rmtree(settings.engine_dir / "adapters", ignore_errors=True)
    rpc = rpc_directory(settings)
    if rpc is not None:
        shutil.rmtree(rpc, ignore_errors=True)
        rpc.mkdir(mode=0o700)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def read_settings(arguments: Sequence[str]) -> tuple[EngineSettings, int]:
    """Parse the command line into settings and the parent's pid. Raises SettingsError with every problem."""
    parser = argparse.ArgumentParser(prog="python -m serving.engine", description="Start one vLLM engine.")
    for name in ("--model", "--socket", "--engine-dir", "--artifacts"):
        parser.add_argument(name, type=lambda text: Path(text).resolve(), required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    for field in ("max_lora_rank", "max_loras", "max_cpu_loras", "max_model_len", "max_num_seqs"):
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, default=getattr(EngineSettings, field))
    parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1))
    for field in ("max_num_batched_tokens", "max_logprobs", "kv_cache_bytes"):
        parser.add_argument(f"--{field.replace('_', '-')}", type=int, default=getattr(EngineSettings, field))
    parser.add_argument("--gpu-memory-utilization", type=float, default=EngineSettings.gpu_memory_utilization)
    parser.add_argument("--parent", type=int, default=os.getppid(), help="pid whose end ends the engine")
    chosen = vars(parser.parse_args(arguments))
    parent = chosen.pop("parent")
    device = chosen.pop("device")
    chosen["device"] = device_here() if device == "auto" else device
    if chosen["device"] == "cuda" and chosen["kv_cache_bytes"] == EngineSettings.kv_cache_bytes:
        chosen["kv_cache_bytes"] = None
    settings = EngineSettings(**chosen)
    found = problems(settings, importlib.metadata.entry_points(group=PLUGIN_GROUP).names)
    if found:
        raise SettingsError(found)
    return settings, parent


def run(argv: list[str]) -> int:
    """The verb `engine`: become the engine, or say what is wrong and return 2."""
    try:
        settings, parent = read_settings(argv)
        targets = sorted({module.rpartition(".")[2] for module in base_modules(settings.model).modules})
        settings = EngineSettings(**{**vars(settings), "lora_targets": tuple(targets)})
        prepare(settings)
    except (SettingsError, ArtifactError) as error:
        print(error, file=sys.stderr)
        return 2
    die_with_parent(parent)
    command = engine_command(settings)
    os.execve(command[0], command, engine_environment(settings, os.environ))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
