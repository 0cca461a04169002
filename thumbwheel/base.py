"""Which base a data directory's releases are made of: settled at its first start, the same at each later one.

A release is immutable, and its base is a part of it: with other weights under the same data directory every base
release would silently answer otherwise, and no adapter would fit. It knows nothing of what an upstream serves; that
there is one is all that can be held.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import Connection

from thumbwheel.adapter import base_modules
from thumbwheel.errors import ArtifactError, SettingsError
from thumbwheel.settings import Settings
from thumbwheel.store.connection import Store, get_meta, put_meta

META = "base"
UPSTREAM = "upstream"


@dataclass(frozen=True)
class Base:
    """A base by what it is (`fingerprint`, see adapter.base_modules), what it is called, and where it lay."""

    fingerprint: str
    name: str
    directory: str | None


def settled(store: Store) -> Base | None:
    """The data directory's base; None before its first start. Raises StoreUnavailable."""
    with store.read() as tx:
        return _read(tx)


def settle(store: Store, settings: Settings) -> None:
    """Make the settings' base the data directory's, where it has none yet; note where it lies now, where it is that.

    `settings.model` is a checkpoint's directory by now. Raises SettingsError where it is another, StoreUnavailable.
    """
    ours = of(settings)
    with store.write() as tx:
        held = _read(tx)
        if held is None or held.fingerprint == ours.fingerprint:
            put_meta(tx, META, json.dumps(asdict(ours)))
            return
    raise SettingsError([conflict(held, settings)])


def conflict(held: Base, settings: Settings) -> tuple[str, str, str]:
    """What is wrong with settings that name another base than `held`: the key, what it holds, what would be right."""
    before = f"with --model {held.directory}" if held.directory else f"with --upstream {held.name}"
    right = (
        f"the data directory {settings.home} was first started {before}, and its releases are made of that: start it "
        "so again, or name another --home"
    )
    key = "model" if settings.upstream is None else "upstream"
    return key, f"holds {settings.upstream or settings.model!r}", right


def _read(tx: Connection) -> Base | None:
    held = get_meta(tx, META)
    return None if held is None else Base(**json.loads(held))


def of(settings: Settings) -> Base:
    """The base that the settings name. Raises SettingsError where it cannot be read."""
    if settings.upstream is not None:
        return Base(UPSTREAM, settings.upstream, None)
    directory = Path(settings.model).resolve()
    try:
        return Base(base_modules(directory).fingerprint, directory.name, str(directory))
    except (ArtifactError, OSError) as error:
        right = f"a checkpoint that can be read; this one cannot: {error}"
        raise SettingsError([("model", f"holds {settings.model!r}", right)]) from error
