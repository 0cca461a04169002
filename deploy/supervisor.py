"""`thumbwheel up`: the whole service on one machine, in the foreground.

    thumbwheel up [--home DIR] [--model DIR_OR_ID | --upstream URL] [--host HOST] [--port N] [--admin-port N]

It starts engine, gateway, consumer and controller (and the relay where Kafka is the log), starts again what ends, and
stops them in order on SIGTERM or Ctrl-C (exit status 0; a second signal stops at once). A second `up` in the same home
says so, does nothing and exits with 1.
Whatever is killed, this process too, the next `up` goes on from what lies in the home.

It knows nothing of requests, runs or rollouts; it starts other packages' processes by their verbs and imports none.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from deploy.ground import claim, find_model, make_keys, raise_file_limit, short_folder, socket_path
from deploy.ports import listen, url
from deploy.processes import Child, Program
from deploy.service import Service
from thumbwheel import base
from thumbwheel.cli import parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.errors import SettingsError
from thumbwheel.eventlog.opening import open_log
from thumbwheel.home import Home, prepare, read_secret
from thumbwheel.ids import new_id
from thumbwheel.records import Engine
from thumbwheel.settings import HOST_OF, PREFIX, USUAL_PORTS, Settings
from thumbwheel.stopping import Stop
from thumbwheel.store.connection import open_store
from thumbwheel.store.migrate import migrate

POOL = "default"
ENGINE = "engine-0"
TURN_S = 0.2
GATEWAY_GRACE_S = 30.0
TOLD_EVERY_S = 10.0

log_lines = logging.getLogger("thumbwheel.up")


def run(argv: list[str]) -> int:
    """The verb `up`."""
    arguments = _options().parse_args(argv)
    settings = settings_from(arguments)
    home = prepare(settings.home)
    with claim(home):
        _log_to(home)
        settings, listeners = check(settings, home)
        raise_file_limit()
        stop = _signals()
        try:
            serve(settings, home, listeners, stop, _speaker(sys.stderr.isatty()))
        finally:
            for listener in listeners.values():
                listener.close()
    return 0


def _options() -> argparse.ArgumentParser:
    options = parser("up")
    options.add_argument("--model", help="the base: a checkpoint's directory, or an id in transformers' cache")
    options.add_argument("--upstream", help="an OpenAI-compatible server's URL, which answers instead of an engine")
    options.add_argument("--upstream-model", help="what to ask it for; by default the first that it lists")
    options.add_argument("--host", help="where applications are listened to; by default 127.0.0.1")
    options.add_argument("--admin-host", help="where administrators are; by default 127.0.0.1, whatever --host is")
    options.add_argument("--port", "--api-port", dest="api_port", help="by default 8080, or a free one")
    options.add_argument("--admin-port", dest="admin_port", help="by default 8081, or a free one")
    return options


def check(settings: Settings, home: Home) -> tuple[Settings, dict[str, socket.socket]]:
    """The settings with the model found, and the open listeners. Raises SettingsError with every problem."""
    problems: list[tuple[str, str, str]] = []
    try:
        read_secret(home)  # every gateway worker would end at once
    except SettingsError as error:
        problems += error.problems
    if settings.upstream is None:
        try:
            settings = replace(settings, model=str(find_model(settings)))
        except SettingsError as error:
            problems += error.problems
    listeners: dict[str, socket.socket] = {}
    before = _ports_before(home)
    for name in ("api", "admin"):
        key = f"{name}_port"
        host, port = getattr(settings, HOST_OF[key]), getattr(settings, key)
        try:
            listeners[name] = listen(host, key, port, before.get(name, USUAL_PORTS[key]))
        except SettingsError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        for listener in listeners.values():
            listener.close()
        raise SettingsError(problems)
    return settings, listeners


def _ports_before(home: Home) -> dict[str, int]:
    """Where a service that was killed listened: its clients look there first."""
    try:
        left = json.loads(home.endpoints.read_text())
        found = {name: int(address.rpartition(":")[2]) for name, address in left.items()}
        return {name: port for name, port in found.items() if 0 < port < 65536}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def serve(
    settings: Settings,
    home: Home,
    listeners: Mapping[str, socket.socket],
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    """Run the service until `stop` is set, then drain it. Raises EngineHopeless, SettingsError for another base."""
    home.endpoints.unlink(missing_ok=True)
    before, now = migrate(settings, home)
    if before not in (None, now):
        log_lines.info("the store's schema was %d and is %d now", before, now)
    store, log = open_store(settings, home), open_log(settings, home, "gateway")
    try:
        base.settle(store, settings)
        make_keys(home, store, system_clock())
        environment = child_environment(settings, os.environ)
        row = engine_row(settings, home, environment)
        found = programs(settings, home, listeners, row, environment)
        children = [Child(program, settings.restart_pause_s) for program in found]
        engine = next((child for child in children if child.program.name.startswith("engine")), None)
        hosts = {name: getattr(settings, HOST_OF[f"{name}_port"]) for name in listeners}
        where = {name: url(hosts[name], listener) for name, listener in listeners.items()}
        service = Service(settings, home, store, log, children, engine, row, where, say)
        try:
            while not stop.is_set():
                service.turn()
                stop.wait(TURN_S)
        finally:
            service.drain()
            _remove_short_folder(home, row, environment)
    finally:
        log.close()
        store.close()
    say("stopped")


def child_environment(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with every setting in it, so that flags of `up` hold for the children too."""
    values = dataclasses.asdict(settings)
    chosen = {PREFIX + key.upper(): _as_text(value) for key, value in values.items() if value is not None}
    return {**environment, **chosen, "PYTHONUNBUFFERED": "1"}


def _as_text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def engine_row(settings: Settings, home: Home, environment: Mapping[str, str]) -> Engine:
    """What the store says of the engine before it is there. An upstream's base_name may be empty until it is asked."""
    incarnation = new_id("inc", system_clock())
    if settings.upstream is not None:
        name = settings.upstream_model or ""
        return Engine("upstream-0", POOL, "upstream", settings.upstream, name, incarnation, "starting")
    address = str(socket_path(home, ENGINE, environment))
    return Engine(ENGINE, POOL, "vllm", address, "base", incarnation, "starting")


def programs(
    settings: Settings, home: Home, listeners: Mapping[str, socket.socket], row: Engine, environment: Mapping[str, str]
) -> list[Program]:
    """What is to run, each with `environment`, in the order of starting."""
    found = []
    if row.kind == "vllm":
        found.append(_engine(settings, home, row, environment))
    if settings.kafka is not None:
        found.append(_verb("relay", home, environment))
    for number in range(settings.gateway_workers):
        found.append(_gateway(number, home, listeners, environment))
    for verb in ("consumer", "controller"):
        found.append(_verb(verb, home, environment))
    return found


def _verb(verb: str, home: Home, environment: Mapping[str, str]) -> Program:
    command = (sys.executable, "-m", "thumbwheel", verb, "--home", str(home.root))
    return Program(verb, command, home.logs / f"{verb}.log", environment)


def _engine(settings: Settings, home: Home, row: Engine, environment: Mapping[str, str]) -> Program:
    command = (
        *(sys.executable, "-m", settings.engine_program),
        *("--model", settings.model),
        *("--socket", row.address),
        *("--engine-dir", str(home.engines / row.id)),
        *("--artifacts", str(home.artifacts)),
        *("--max-lora-rank", str(settings.max_lora_rank)),
        *("--max-loras", str(settings.engine_max_loras)),
        *("--max-model-len", str(settings.engine_max_model_len)),
    )
    return Program("engine", command, home.logs / "engine.log", environment)


def _gateway(
    number: int, home: Home, listeners: Mapping[str, socket.socket], environment: Mapping[str, str]
) -> Program:
    descriptors = {name: listener.fileno() for name, listener in listeners.items()}
    command = (
        *(sys.executable, "-m", "thumbwheel", "gateway", "--home", str(home.root)),
        *("--api-fd", str(descriptors["api"]), "--admin-fd", str(descriptors["admin"])),
    )
    return Program(
        f"gateway-{number}",
        command,
        home.logs / f"gateway-{number}.log",
        environment,
        pass_fds=tuple(descriptors.values()),
        grace_s=GATEWAY_GRACE_S,
    )


def _remove_short_folder(home: Home, row: Engine, environment: Mapping[str, str]) -> None:
    if row.kind == "vllm" and not row.address.startswith(str(home.root)):
        shutil.rmtree(short_folder(home, environment), ignore_errors=True)


def _signals() -> Stop:
    """Said by the first SIGTERM or Ctrl-C; the second ends the process, and the kernel its children."""
    stop = Stop()

    def heard(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, heard)
    return stop


def _log_to(home: Home) -> None:
    handler = logging.FileHandler(home.logs / "up.log")
    Path(handler.baseFilename).chmod(0o600)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log_lines.addHandler(handler)
    log_lines.setLevel(logging.INFO)
    log_lines.propagate = False


def _speaker(terminal: bool) -> Callable[[str], None]:
    """One line of progress: rewritten on a terminal, elsewhere printed when it says something new."""
    last_words, last_s = "", 0.0

    def say(text: str) -> None:
        nonlocal last_words, last_s
        if terminal:
            final = text.startswith(("up ", "stopped"))
            _print(f"\r\033[Kthumbwheel: {text}", "\n" if final else "")
            return
        words = "".join(char for char in text if not char.isdigit())
        if words != last_words or time.monotonic() - last_s > TOLD_EVERY_S:
            last_words, last_s = words, time.monotonic()
            _print(f"thumbwheel: {text}", "\n")

    return say


def _print(text: str, end: str) -> None:
    with contextlib.suppress(OSError):  # a full disk, a closed terminal: no reason to stop the service
        print(text, end=end, file=sys.stderr, flush=True)
