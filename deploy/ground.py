"""What must be there before the first process starts: the home for ourselves alone, the model, the keys, a short path.

All of it is idempotent: after `kill -9` of anything the next start finds its things, or makes them anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import resource
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from thumbwheel import keys
from thumbwheel.errors import AlreadyUp, SettingsError
from thumbwheel.home import LONGEST_SOCKET_PATH, Home, write_private
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows
from thumbwheel.store.connection import Store

TENANT = "default"
LOOKS, LOOK_S = 5, 0.05


@contextmanager
def claim(home: Home) -> Iterator[None]:
    """Hold the home as its only supervisor; the kernel lets go however we end. Raises AlreadyUp naming the other."""
    descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            _lock(descriptor)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise AlreadyUp(
                f"`thumbwheel up` already runs in {home.root} (process {pid}); nothing was started. "
                "`thumbwheel status` shows it; name another --home for a second service."
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Raises BlockingIOError where another has the lock. Whoever asks whether the service runs has it for a moment."""
    for _ in range(LOOKS):
        with suppress(BlockingIOError):
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOOK_S)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def find_model(settings: Settings) -> Path:
    """The checkpoint's directory: the setting itself, or where transformers' cache holds it. Raises SettingsError."""
    directory = Path(settings.model).expanduser()
    if directory.is_dir():
        if (directory / "config.json").is_file() and any(directory.glob("*.safetensors")):
            return directory.resolve()
        wanted = "a checkpoint's directory holds config.json and *.safetensors"
        raise SettingsError([("model", f"holds {settings.model!r}", wanted)])
    from huggingface_hub import snapshot_download  # half a second to import, and only ids need it
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(settings.model, local_files_only=True))
    except (HFValidationError, LocalEntryNotFoundError, FileNotFoundError):
        advice = (
            "there is no such directory, and transformers' cache has no model of that id; `make setup` makes the "
            "default model, --model names another, --upstream a server that runs already"
        )
        raise SettingsError([("model", f"holds {settings.model!r}", advice)]) from None


def make_keys(home: Home, store: Store, now_ms: int) -> None:
    """app.key and admin.key, made at the first start; the store gets their hashes, also when it was lost."""
    for kind in ("app", "admin"):
        file = home.keys / f"{kind}.key"
        if not file.exists():
            write_private(file, keys.mint(kind) + "\n")
        text = file.read_text().strip()
        with store.write() as tx:
            if keys.hash_key(text) in {key.hash for key in fleet_rows.all_keys(tx)}:
                continue
            record = keys.as_record(text, kind, TENANT, keys.OWN_RIGHTS[kind], now_ms)
            fleet_rows.insert_key(tx, record, now_ms)
            fleet_rows.record(tx, now_ms, "supervisor", "create_key", record.id, None, {"kind": kind})


def socket_path(home: Home, engine: str, environment: Mapping[str, str]) -> Path:
    """Where an engine listens: in the home, or in a private folder with a short name where the home lies too deep."""
    path = home.engines / engine / "engine.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    return short_folder(home, environment) / f"{engine}.sock"


def short_folder(home: Home, environment: Mapping[str, str]) -> Path:
    """A 0700 folder of ours for this home's sockets; the same one at each start, so a killed one's is cleaned up.

    Raises SettingsError where somebody else's lies there.
    """
    mark = hashlib.sha256(os.fsencode(home.root)).hexdigest()[:12]
    root = Path(environment.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = root / f"thumbwheel-{os.getuid()}-{mark}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SettingsError([("home", f"holds {str(home.root)!r}", f"a shorter path, or {folder} removed")])
    folder.chmod(0o700)
    return folder


def raise_file_limit() -> None:
    """Every connection is a file: take as many as the system allows, for us and for what we start."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
