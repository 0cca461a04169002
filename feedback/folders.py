"""The folder that a person names for what a command makes: new or empty, so that nothing is written over."""

from __future__ import annotations

from pathlib import Path

from thumbwheel.errors import InvalidRequest

RIGHT = "a new or an empty folder of this user's own is right"


def check_free(folder: Path) -> None:
    """Raises InvalidRequest, which says what is there, unless the folder can be made or is empty."""
    try:
        if folder.is_symlink():
            raise InvalidRequest(f"{folder} is a link, and is there already; {RIGHT}.")
        if folder.is_dir() and any(folder.iterdir()):
            raise InvalidRequest(f"{folder} is there already and not empty; nothing is written over, {RIGHT}.")
        if folder.exists() and not folder.is_dir():
            raise InvalidRequest(f"{folder} is there already and no folder; {RIGHT}.")
        above = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        if not above.is_dir():
            raise InvalidRequest(f"{folder} cannot be made, as {above} is no folder; {RIGHT}.")
    except OSError as error:
        raise unwritable(folder, error) from error


def make(folder: Path) -> None:
    """Make the folder and what is above it. Raises InvalidRequest, where it is not free too."""
    check_free(folder)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(folder: Path, error: OSError) -> InvalidRequest:
    """What to raise where something cannot be written there."""
    return InvalidRequest(f"{folder} cannot be written ({error.strerror}); {RIGHT}, on a disk with room.")
