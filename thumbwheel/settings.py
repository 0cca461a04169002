"""The service's settings: read once at a process's edge, frozen, every problem reported together.

Sources, later ones win: the defaults below, `<home>/settings.yaml`, the environment (`THUMBWHEEL_` + the key in
capitals), flags of the command line. Channel policies are not here: they live in the store.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from thumbwheel.errors import SettingsError
from thumbwheel.events import TOLD, TOPICS

SETTINGS_FILE = "settings.yaml"
DEFAULT_HOME = ".thumbwheel"
DEFAULT_MODEL = ".base/smollm2-135m-instruct"
PREFIX = "THUMBWHEEL_"
USUAL_PORTS: Mapping[str, int] = {"api_port": 8080, "admin_port": 8081}
HOST_OF: Mapping[str, str] = {"api_port": "host", "admin_port": "admin_host"}
SERVER = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}", re.ASCII)
KAFKA_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
KAFKA_SECURITY = ("PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT")
KAFKA_MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
SECRETS = ("upstream_key", "teacher_key", "embeddings_key", "kafka_password")  # whose texts belong in no message
LOGGED = (*TOPICS, *TOLD)
KEEP_RECORDS = re.compile(rf"({'|'.join(LOGGED)})=([1-9][0-9]{{0,10}}|forever)", re.ASCII)
NAME_MODEL = re.compile(r"[a-z]{2}=[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
# As a browser sends it: lower case, and without a port that is the scheme's own it has none.
ORIGIN = re.compile(r"https?://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """Every setting with its default. Durations end in _s or _ms, sizes in _bytes."""

    home: Path
    model: str = DEFAULT_MODEL  # a directory with a checkpoint, or an id that transformers finds in its cache
    upstream: str | None = None  # an OpenAI-compatible server's URL: it answers instead of an engine of ours
    upstream_key: str | None = None  # sent to it as a bearer token
    upstream_model: str | None = None  # what to ask it for; by default the first that it lists
    teacher: str | None = None  # an OpenAI-compatible server's URL, which `propose` and `reword` ask
    teacher_key: str | None = None  # sent to it as a bearer token
    teacher_model: str | None = None  # what to ask it for; by default the first that it lists
    teacher_timeout_s: float = 60.0  # how long one try may take
    embeddings: str | None = None  # an OpenAI-compatible server's URL: what finds duplicates by meaning
    embeddings_key: str | None = None  # sent to it as a bearer token
    embeddings_model: str | None = None  # what to ask it for; there is no default
    embeddings_timeout_s: float = 30.0  # how long one try may take
    store_url: str | None = None  # postgresql://user@host/database; by default an SQLite file in the home
    host: str = "127.0.0.1"
    admin_host: str = "127.0.0.1"  # whatever `host` is: /metrics there asks for no key
    api_port: int | None = None  # by default 8080, or a free one
    admin_port: int | None = None  # by default 8081, or a free one
    cors_origins: tuple[str, ...] = ()  # whose pages may ask from a browser; in the environment, commas between them
    gateway_workers: int = 1
    max_body_bytes: int = 4 * 1024 * 1024
    max_in_flight: int = 256  # requests of one key at a time, in each gateway worker
    feedback_window_s: int = 30 * 24 * 3600  # how long feedback on an answer is taken, and waits for its record
    engine_wait_s: float = 10.0  # how long a request waits for an engine that is starting before it gets a 503
    engine_timeout_s: float = 600.0  # the longest that an answer may take
    kafka: str | None = None  # bootstrap servers, host:port with commas between; by default the log is a SQLite file
    kafka_security: str = "PLAINTEXT"  # or SSL (which is TLS), SASL_SSL, SASL_PLAINTEXT
    kafka_ca_file: str | None = (
        None  # who issued the brokers' certificates, in PEM; by default whom this machine trusts
    )
    kafka_cert_file: str | None = None  # our own certificate, where the brokers ask for one; in PEM
    kafka_key_file: str | None = None  # and its key, unencrypted, where it is in another file
    kafka_mechanism: str = "SCRAM-SHA-512"  # how the password is shown: or SCRAM-SHA-256, PLAIN
    kafka_username: str | None = None
    kafka_password: str | None = dataclasses.field(default=None, repr=False)  # as THUMBWHEEL_KAFKA_PASSWORD, say
    kafka_prefix: str = "thumbwheel."  # before the name of each topic
    kafka_partitions: int = 6  # of a topic that is made: as many consumers can share the work
    kafka_group: str = "thumbwheel"  # the consumers' group
    kafka_instance: str | None = None  # a consumer's own name in it: back within 10 s, it gets its partitions again
    dead_letter_channels: tuple[str, ...] = ()  # whose dead letters go to topics of their own, dead-letter.<channel>
    keep_records: tuple[str, ...] = ()  # feedback=7776000, release=forever: how many seconds the log keeps a topic
    log_queue: int = 10_000  # inferences held in memory before they are dropped, and counted
    spool_bytes: int = 256 * 1024 * 1024  # inferences held on disk, per worker, while the log is away
    engine_program: str = "serving.engine"  # the module that is an engine; tests start the recorded one
    engine_max_model_len: int = 2048
    engine_max_loras: int = 4
    max_lora_rank: int = 32
    restart_pause_s: float = 1.0  # the first pause before a dead process or job is started again; doubles to 30 s
    train_threads: int = 1
    recipe: str = "retrain.recipes.sft"  # the module that is a recipe
    recipe_config: str | None = None  # by default the YAML beside the recipe
    gate_config: str | None = None  # by default retrain/gate.yaml
    general_prompts: str | None = None  # by default retrain/prompts/general.jsonl
    name_models: tuple[str, ...] = ()  # en=en_core_web_sm: what finds names to redact, of the extra `names`
    job_attempts: int = 3  # how often a run's step is started before the run fails
    controller_poll_ms: int = 500
    consumer_poll_ms: int = 50
    gateway_poll_ms: int = 200


def read_settings(flags: Mapping[str, Any], environment: Mapping[str, str], working_directory: Path) -> Settings:
    """The settings that flags, environment and the home's file make. Raises SettingsError with every problem."""
    problems: list[tuple[str, str, str]] = []
    chosen = flags.get("home") or environment.get(PREFIX + "HOME") or DEFAULT_HOME
    try:
        home = (working_directory / str(chosen)).resolve()
    except (OSError, RuntimeError) as error:  # a RuntimeError where links lead round in a circle
        raise SettingsError([("home", f"holds {chosen!r}", f"a directory is right ({error})")]) from error
    fields = {field.name: field for field in dataclasses.fields(Settings) if field.name != "home"}

    values: dict[str, Any] = {}
    for key, raw in _file(home / SETTINGS_FILE, problems).items():
        if key in fields:
            values[key] = raw
        else:
            problems.append((f"settings.yaml: {key}", "is no setting", f"known: {', '.join(sorted(fields))}"))
    for key in fields:
        if PREFIX + key.upper() in environment:
            values[key] = environment[PREFIX + key.upper()]
    values.update({key: value for key, value in flags.items() if key in fields and value is not None})

    parsed: dict[str, Any] = {}
    for key, raw in values.items():
        if raw is None:  # a key of the file with nothing after it
            continue
        try:
            parsed[key] = _parse(str(fields[key].type), raw)
        except ValueError as error:
            problems.append((key, "holds what it cannot" if key in SECRETS else f"holds {raw!r}", str(error)))
    settings = Settings(home=home, **parsed)
    problems += _check(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def holds_secrets(home: Path) -> bool:
    """Whether the home's file of settings has any in it."""
    return any(_file(home / SETTINGS_FILE, []).get(key) is not None for key in SECRETS)


def _file(path: Path, problems: list[tuple[str, str, str]]) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        problems.append((path.name, f"cannot be read ({error})", "a text file in UTF-8 is right"))
        return {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError of a date, or a number, that is none
        problems.append((path.name, f"is no YAML ({str(error).splitlines()[0]})", "write `key: value` lines"))
        return {}
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        problems.append((path.name, f"holds a {type(raw).__name__}", "write `key: value` lines"))
        return {}
    return {str(key): value for key, value in raw.items()}


def _parse(kind: str, raw: Any) -> Any:
    if kind.endswith("| None"):
        if raw == "":
            return None
        kind = kind.removesuffix("| None").strip()
    if kind == "tuple[str, ...]":
        items = [item for item in raw.split(",") if item.strip()] if isinstance(raw, str) else raw
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
            raise ValueError("a list of texts is right")
        return tuple(item.strip() for item in items)
    if kind == "int":
        if isinstance(raw, bool) or not str(raw).strip().lstrip("-").isdigit():
            raise ValueError("a whole number is right")
        return int(str(raw).strip())
    if kind == "float":
        try:
            number = float(raw)
        except (TypeError, ValueError, OverflowError):
            raise ValueError("a number is right") from None
        if isinstance(raw, bool) or not math.isfinite(number):
            raise ValueError("a number is right")
        return number
    if isinstance(raw, bool | list | dict) or not str(raw).strip() or "\0" in str(raw):
        raise ValueError("a text that is not empty is right")
    return str(raw)


def _check(settings: Settings) -> list[tuple[str, str, str]]:
    problems = []
    for port in ("api_port", "admin_port"):
        value = getattr(settings, port)
        if value is not None and not 1 <= value <= 65535:
            problems.append((port, f"holds {value}", "a port from 1 to 65535 is right"))
    if settings.api_port is not None and settings.api_port == settings.admin_port:
        problems.append(("admin_port", f"holds {settings.admin_port}, as api_port does", "two ports are needed"))
    at_least: dict[str, float] = {
        "gateway_workers": 1,
        "max_body_bytes": 1024,
        "max_in_flight": 64,
        "feedback_window_s": 1,
        "engine_wait_s": 0,
        "engine_timeout_s": 1,
        "teacher_timeout_s": 1,
        "embeddings_timeout_s": 1,
        "kafka_partitions": 1,
        "log_queue": 1,
        "spool_bytes": 0,
        "engine_max_model_len": 64,
        "engine_max_loras": 2,
        "max_lora_rank": 1,
        "restart_pause_s": 0.05,
        "train_threads": 1,
        "job_attempts": 1,
        "controller_poll_ms": 10,
        "consumer_poll_ms": 1,
        "gateway_poll_ms": 10,
    }
    for key, least in at_least.items():
        value = getattr(settings, key)
        if value < least:
            problems.append((key, f"holds {value}", f"at least {least:g} is right"))
    problems += _check_kafka(settings)
    for one in settings.keep_records:
        if not KEEP_RECORDS.fullmatch(one):
            right = f"a topic ({', '.join(LOGGED)}) with its seconds, or forever: feedback=7776000 is right"
            problems.append(("keep_records", f"holds {one!r}", right))
    for one in settings.name_models:
        if not NAME_MODEL.fullmatch(one):
            problems.append(("name_models", f"holds {one!r}", "a language and its model, en=en_core_web_sm, is right"))
    for origin in settings.cors_origins:
        if not ORIGIN.fullmatch(origin):
            right = "scheme and host are right, such as https://shop.example, without a path"
            problems.append(("cors_origins", f"holds {origin!r}", right))
    if settings.upstream is not None and not _is_upstream(settings.upstream):
        problems.append(("upstream", f"holds {settings.upstream!r}", "a URL such as http://127.0.0.1:8000 is right"))
    for key in ("teacher", "embeddings"):
        server = getattr(settings, key)
        if server is not None and not _is_web(server):
            problems.append((key, f"holds {server!r}", "a URL such as https://api.example/v1 is right"))
    if settings.embeddings is not None and settings.embeddings_model is None:
        problems.append(("embeddings_model", "is not set", "the model that `embeddings` is asked for is needed"))
    if settings.store_url is not None and not _is_store(settings.store_url):
        # Its text may hold a password.
        problems.append(("store_url", "names no store", "postgresql://user@host:5432/database is right"))
    for key in ("upstream_key", "teacher_key", "embeddings_key"):
        secret = getattr(settings, key)
        if secret is not None and not (secret.isascii() and secret.isprintable()):
            problems.append((key, "holds a character that no header takes", "printable ASCII is right"))
    return problems


def _is_store(text: str) -> bool:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a ValueError of a port that is no number
        return False
    return url.drivername in ("postgresql", "postgres", "postgresql+psycopg") and bool(url.database)


def _check_kafka(settings: Settings) -> list[tuple[str, str, str]]:
    problems = []
    if settings.kafka is not None and not all(SERVER.fullmatch(server) for server in kafka_servers(settings.kafka)):
        right = "host:port of one or more brokers is right, with commas between, such as 127.0.0.1:9092"
        problems.append(("kafka", f"holds {settings.kafka!r}", right))
    named = [(key, getattr(settings, key)) for key in ("kafka_prefix", "kafka_group", "kafka_instance")]
    named += [("dead_letter_channels", channel) for channel in settings.dead_letter_channels]
    for key, value in named:
        if value is not None and not KAFKA_NAME.fullmatch(value):
            problems.append(
                (key, f"holds {value!r}", "letters, digits, dots, dashes and underlines are right, 200 at most")
            )
    return [*problems, *_check_kafka_security(settings)]


def _check_kafka_security(settings: Settings) -> list[tuple[str, str, str]]:
    problems = []
    protocol, mechanism = settings.kafka_security, settings.kafka_mechanism
    if protocol not in KAFKA_SECURITY:
        problems.append(("kafka_security", f"holds {protocol!r}", f"one of {', '.join(KAFKA_SECURITY)} is right"))
    if mechanism not in KAFKA_MECHANISMS:
        problems.append(("kafka_mechanism", f"holds {mechanism!r}", f"one of {', '.join(KAFKA_MECHANISMS)} is right"))
    # What is set and not used would leave somebody in the belief that it protects them.
    for key in ("kafka_username", "kafka_password"):
        is_set = getattr(settings, key) is not None
        if protocol.startswith("SASL") and not is_set:
            problems.append((key, "is not set", f"kafka_security {protocol} needs it"))
        if protocol in ("PLAINTEXT", "SSL") and is_set:
            problems.append((key, f"is set, and kafka_security is {protocol}", "SASL_SSL makes use of it"))
    for key in ("kafka_ca_file", "kafka_cert_file", "kafka_key_file"):
        if protocol in ("PLAINTEXT", "SASL_PLAINTEXT") and getattr(settings, key) is not None:
            problems.append((key, f"is set, and kafka_security is {protocol}", "SSL or SASL_SSL makes use of it"))
    if settings.kafka_key_file is not None and settings.kafka_cert_file is None:
        problems.append(
            ("kafka_cert_file", "is not set, and kafka_key_file is", "the certificate of that key is needed")
        )
    return problems


def kept_s(settings: Settings) -> dict[str, float | None]:
    """By topic how many seconds its records are kept, as `keep_records` says; None for ever."""
    said = (one.split("=", 1) for one in settings.keep_records)
    return {topic: None if seconds == "forever" else float(seconds) for topic, seconds in said}


def models_of_names(settings: Settings) -> dict[str, str]:
    """By language the model that finds names in it, as `name_models` says."""
    return dict(one.split("=", 1) for one in settings.name_models)


def kafka_servers(text: str) -> tuple[str, ...]:
    """The brokers that the setting `kafka` names."""
    return tuple(server.strip() for server in text.split(","))


def _is_upstream(text: str) -> bool:
    return text.startswith("unix:") or _is_web(text)


def _is_web(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and url.host != "" and (url.port is None or 1 <= url.port <= 65535)
