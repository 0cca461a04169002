"""The data directory: where each thing lies in it, and the secret made at the first start. All of it is private."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.errors import SettingsError

LONGEST_SOCKET_PATH = 107  # bytes in Linux's sockaddr_un, less the final zero
ROOM_BYTES = 64 * 1024
SECRET_BYTES = 32


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
    def relay(self) -> Path:
        """The socket of the process that speaks with Kafka for the gateways."""
        return self.root / "relay"

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
        """Channels that answer with their stable release alone, whatever the store says (see emergency.py)."""
        return self.root / "emergency.json"

    @property
    def emergency_room(self) -> Path:
        """Room on the disk, given up for the emergency file where a full disk is why the store is away."""
        return self.root / "emergency.room"


def prepare(root: Path) -> Home:
    """Make the data directory (0700) with its folders and its sealing secret. Idempotent. Raises SettingsError."""
    home = Home(root)
    folders = (home.root, home.spool, home.artifacts, home.engines, home.runs, home.logs, home.workers)
    try:
        for folder in (*folders, home.relay, home.keys):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o700)
    except OSError as error:
        right = f"a directory of this user's own is right ({error.strerror})"
        raise SettingsError([("home", f"holds {str(root)!r}", right)]) from error
    secret_file = home.keys / "secret"
    if not secret_file.exists():
        write_private(secret_file, os.urandom(SECRET_BYTES).hex() + "\n")
    if not home.emergency_room.exists():
        with contextlib.suppress(OSError):  # a full disk must not keep a process from starting
            write_private(home.emergency_room, "\0" * ROOM_BYTES)
    return home


@contextlib.contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """Another path to `folder`, short enough for a socket's name, while the block runs. Raises OSError. Linux only."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def supervisor_pid(home: Home) -> int | None:
    """The process that holds the home, as `thumbwheel up` does as long as it lives; None where none does."""
    try:
        descriptor = os.open(home.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        text = os.pread(descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)


def read_secret(home: Home) -> bytes:
    """The key under which inference ids and feedback tokens are sealed (32 bytes). Raises SettingsError.

    With less than all of it anybody could forge them.
    """
    try:
        secret = bytes.fromhex((home.keys / "secret").read_text("ascii"))
    except (OSError, ValueError):
        secret = b""
    if len(secret) != SECRET_BYTES:
        right = (
            f"{SECRET_BYTES} bytes in hexadecimal are right; restore the file, or delete it for a new one, which ends "
            "feedback on all answers so far"
        )
        raise SettingsError([("keys/secret", "holds something else than the secret that was made", right)])
    return secret


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
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600, and this thread's own
    scratch = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
