"""What becomes of releases, told on the topic `release` to whoever listens: a registry, a chat room, another service.

Each change of a release's row is told once it is committed, as the release then is; of two changes between two looks
the last is told. One may be told twice, where the controller is killed in between: its id, the release's with the
version of its row, tells. Nothing here reads the topic: the store knows.
"""

from __future__ import annotations

import json

from thumbwheel.eventlog import EventLog
from thumbwheel.events import RELEASE, ReleaseEvent, encode
from thumbwheel.records import Release
from thumbwheel.store import release_rows
from thumbwheel.store.connection import Store, get_meta, put_meta

TOLD = "releases_told"  # in the store's own facts: release -> the version of its row that was told last
AT_ONCE = 500  # releases in one look, of a service that had many before it announced any


def announce(store: Store, log: EventLog, now_ms: int) -> int:
    """Tell what has changed since the last time; how many changes that were. Raises StoreUnavailable."""
    with store.read() as tx:
        told: dict[str, int] = json.loads(get_meta(tx, TOLD) or "{}")
        changed = [one for one in release_rows.all_releases(tx) if told.get(one.id) != one.version][:AT_ONCE]
    if not changed:
        return 0
    log.append(RELEASE, [(one.id, encode(_event(one, now_ms))) for one in changed], durable=True)
    with store.write() as tx:
        put_meta(tx, TOLD, json.dumps({**told, **{one.id: one.version for one in changed}}))
    return len(changed)


def _event(release: Release, now_ms: int) -> ReleaseEvent:
    return ReleaseEvent(
        id=f"{release.id}-{release.version}",
        release=release.id,
        channel=release.channel,
        state=release.state,
        at_ms=now_ms,
        base=release.base,
        adapter=release.adapter,
        run=release.run,
        parent=release.parent,
        report=release.report,
        reason=release.reason,
    )
