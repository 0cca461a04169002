"""The emergency stop: a file that keeps a channel's candidates from answering while the store takes no writes.

Gateway workers look at it as often as at the store: a channel that it names answers by its stable release alone. An
entry says what was asked of which rollout; the controller does that when the store is back, and takes the entry out.
Changes are made one at a time, under a lock; a reader needs none. It knows nothing of rollouts but their ids.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from thumbwheel.errors import StoreUnavailable
from thumbwheel.home import Home, write_private

EVERY_CHANNEL = "*"  # no channel's name, which has letters, digits and few signs
ACTIONS = ("pause", "abort", "rollback")  # what can be asked for; a later one outdoes those before it


def emergency_stop(home: Home, channel: str, who: str, now_ms: int, action: str, rollout: str | None) -> None:
    """Have every gateway worker answer `channel` by its stable release alone, and the controller do `action` (one of
    ACTIONS) to `rollout` when it can.

    What was asked of the same rollout before stays where it is more. Raises StoreUnavailable where not even this can
    be written.
    """
    asked = {"who": who, "at_ms": now_ms, "action": action, "rollout": rollout}
    try:
        with _alone(home):
            entries = read_emergency(home)
            if not _outdone(asked, entries.get(channel)):
                _write(home, {**entries, channel: asked})
    except OSError as error:
        raise StoreUnavailable(f"the emergency stop cannot be written: {error.strerror}") from error


def read_emergency(home: Home) -> dict[str, dict[str, object]]:
    """The channels under an emergency stop, each with `who` asked, `at_ms`, for which `action` on which `rollout`.

    EVERY_CHANNEL is one that stands for all: a damaged file, which only a hand can have made, stops every channel's
    candidates, as it may have named any of them. Raises OSError.
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


def clear_emergency(home: Home, channel: str, obeyed: Mapping[str, object]) -> None:
    """Take `channel` out of the emergency file, which goes when it is empty; but not where it asks for something else
    than `obeyed` by now. Raises OSError."""
    with _alone(home):
        entries = read_emergency(home)
        if entries.get(channel) != obeyed:
            return
        del entries[channel]
        if entries:
            _write(home, entries)
        else:
            home.emergency.unlink(missing_ok=True)


def _outdone(asked: Mapping[str, object], before: Mapping[str, object] | None) -> bool:
    """Whether `before` asks for as much of the same rollout: a pause must not take an abort back."""
    if before is None or before.get("rollout") != asked["rollout"] or before.get("action") not in ACTIONS:
        return False
    return ACTIONS.index(str(before["action"])) >= ACTIONS.index(str(asked["action"]))


def _write(home: Home, entries: Mapping[str, object]) -> None:
    text = json.dumps(entries) + "\n"
    try:
        write_private(home.emergency, text)
    except OSError:
        home.emergency_room.unlink(missing_ok=True)
        write_private(home.emergency, text)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold the lock on the file's changes, against other threads and other processes. Raises OSError."""
    # The lock is on the directory itself: a full disk may have no room for a lock's file.
    descriptor = os.open(home.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
