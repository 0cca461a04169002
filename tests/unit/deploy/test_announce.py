from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from deploy.announce import announce
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import RELEASE, ReleaseEvent
from thumbwheel.records import Policies, Release
from thumbwheel.store import release_rows
from thumbwheel.store.connection import Store


class Place:
    """A store with one channel, and a log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = store_in(folder)
        self.log = SqliteEventLog(folder / "events.db")
        with self.store.write() as tx:
            self.base = rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test").stable

    def told(self) -> list[tuple[str, str, str]]:
        events = [msgspec.json.decode(one.value, type=ReleaseEvent) for one in self.log.read(RELEASE, 0, 0, 99)]
        return [(event.id, event.release, event.state) for event in events]

    def change(self, state: str) -> Release:
        with self.store.write() as tx:
            return release_rows.save_release(tx, replace(release_rows.get_release(tx, self.base), state=state))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.log.close()
    made.store.close()


def test_each_change_is_told_once(place: Place) -> None:
    assert announce(place.store, place.log, 5) == 1
    assert announce(place.store, place.log, 6) == 0
    place.change("retired")
    assert announce(place.store, place.log, 7) == 1
    assert place.told() == [(f"{place.base}-1", place.base, "stable"), (f"{place.base}-2", place.base, "retired")]
    (first, _) = place.log.read(RELEASE, 0, 0, 9)
    assert first.key == place.base
    event = msgspec.json.decode(first.value, type=ReleaseEvent)
    assert (event.channel, event.base, event.adapter, event.at_ms) == ("support", "base", None, 5)


def test_of_two_changes_between_two_looks_the_last_is_told(place: Place) -> None:
    announce(place.store, place.log, 5)
    place.change("retired")
    place.change("stable")
    assert announce(place.store, place.log, 6) == 1
    assert place.told()[1:] == [(f"{place.base}-3", place.base, "stable")]


def test_what_the_log_did_not_take_is_told_later(place: Place) -> None:
    class Away(SqliteEventLog):
        """A log that takes nothing."""

        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            raise StoreUnavailable("gone fishing")

    away = Away(place.folder / "other.db")
    with pytest.raises(StoreUnavailable):
        announce(place.store, away, 5)
    away.close()
    assert announce(place.store, place.log, 6) == 1 and len(place.told()) == 1


def test_one_that_is_told_twice_says_so_by_its_id(place: Place) -> None:
    class Dying(SqliteEventLog):
        """The process dies when the event is in the log."""

        def append(self, topic: str, records: Sequence[tuple[str, bytes]], *, durable: bool) -> None:
            super().append(topic, records, durable=durable)
            raise KeyboardInterrupt

    dying = Dying(place.folder / "events.db")
    with pytest.raises(KeyboardInterrupt):
        announce(place.store, dying, 5)
    dying.close()
    announce(place.store, place.log, 6)
    assert place.told() == [(f"{place.base}-1", place.base, "stable")] * 2
