"""The data directory: where each thing lies in it, and the secret made at the first start. All of it is private."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.errors import SettingsError, StoreUnavailable

ROOM_BYTES = 64 * 1024
EVERY_CHANNEL = "*"  # no channel's name, which has letters, digits and few signs
KEY_PREFIX = {"app": "tw-app-", "admin": "tw-admin-"}


@dataclass(frozen=True)
class Home:
    """Paths below the data directory `root`."""

    root: Path

    @property
    def store(self) -> Path:
        """The store's SQLite file."""
        return self.root / "store.db"

    @property
    def events(self) -> Path:
        """The event log's SQLite file."""
        return self.root / "events.db"

    @property
    def spool(self) -> Path:
        """Where a gateway puts inferences while the log is away."""
        return self.root / "spool"

    @property
    def artifacts(self) -> Path:
        """The artifact store."""
        return self.root / "artifacts"

    @property
    def engines(self) -> Path:
        """One folder an engine: its socket and its read-only copies of adapters."""
        return self.root / "engines"

    @property
    def runs(self) -> Path:
        """One 0700 folder a run: checkpoints, curves, progress. Never published."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    @property
    def workers(self) -> Path:
        """A socket of each living gateway worker, for its siblings."""
        return self.root / "workers"

    @property
    def keys(self) -> Path:
        """app.key, admin.key and the sealing secret."""
        return self.root / "keys"

    @property
    def endpoints(self) -> Path:
        """Where clients find the service."""
        return self.root / "endpoints.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "up.lock"

    @property
    def emergency(self) -> Path:
        """Channels that answer with their stable release alone, whatever the store says (see `emergency_stop`)."""
        return self.root / "emergency.json"

    @property
    def emergency_room(self) -> Path:
        """Room on the disk, given up for the emergency file where a full disk is why the store is away."""
        return self.root / "emergency.room"


def prepare(root: Path) -> Home:
    """Make the data directory (0700) with its folders and its sealing secret. Idempotent. Raises SettingsError."""
    home = Home(root)
    folders = (home.root, home.spool, home.artifacts, home.engines, home.runs, home.logs, home.workers, home.keys)
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
    except OSError as error:
        right = f"a directory of this user's own is right ({error.strerror})"
        raise SettingsError([("home", f"holds {str(root)!r}", right)]) from error
    secret_file = home.keys / "secret"
    if not secret_file.exists():
        write_private(secret_file, os.urandom(32).hex() + "\n")
    if not home.emergency_room.exists():
        with contextlib.suppress(OSError):  # a full disk must not keep a process from starting
            write_private(home.emergency_room, "\0" * ROOM_BYTES)
    return home


def read_secret(home: Home) -> bytes:
    """The key under which inference ids and feedback tokens are sealed (32 bytes)."""
    return bytes.fromhex((home.keys / "secret").read_text().strip())


def make_private(path: Path) -> None:
    """Make `path` an empty 0600 file if there is none: what SQLite puts beside it gets the same mode.

    A file that is there is not opened: closing it would drop the locks that this process's connections hold on it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def write_private(path: Path, text: str) -> None:
    """Write `path` whole and 0600: another process sees the old file or the new one, never half of one.

    Raises OSError, with the old file as it was.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise


def emergency_stop(home: Home, channel: str, who: str, now_ms: int) -> None:
    """The lever for when the store is away: every gateway worker answers `channel` by its stable release alone.

    Gateways look at this file as often as at the store. The controller turns each entry into an audited abort when the
    store is back, and takes it out. Raises StoreUnavailable where not even this can be written.
    """
    entries: dict[str, dict[str, object]] = {}
    with contextlib.suppress(OSError):  # the lever works whatever was there before
        entries = read_emergency(home)
    text = json.dumps({**entries, channel: {"who": who, "at_ms": now_ms}}) + "\n"
    try:
        write_private(home.emergency, text)
    except OSError:
        home.emergency_room.unlink(missing_ok=True)
        try:
            write_private(home.emergency, text)
        except OSError as error:
            raise StoreUnavailable(f"the emergency stop cannot be written: {error.strerror}") from error


def read_emergency(home: Home) -> dict[str, dict[str, object]]:
    """The channels under an emergency stop, with who asked and when; EVERY_CHANNEL is one that stands for all.

    A damaged file, which only a hand can have made, stops every channel's candidates: it may have named any of them.
    """
    try:
        entries = json.loads(home.emergency.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
        return {EVERY_CHANNEL: {"who": "a damaged emergency.json", "at_ms": None}}
    return entries


def clear_emergency(home: Home, channel: str) -> None:
    """Take `channel` out of the emergency file, which goes when it is empty."""
    entries = {name: entry for name, entry in read_emergency(home).items() if name != channel}
    if entries:
        write_private(home.emergency, json.dumps(entries) + "\n")
    else:
        home.emergency.unlink(missing_ok=True)
