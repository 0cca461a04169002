"""Erasing where the log is a broker's, which cannot be rewritten: what it holds is said, and is not brought back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.integration.kafka_broker import Broker
from tests.integration.test_kafka import Place
from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.clock import system_clock
from thumbwheel.erasing.job import forget
from thumbwheel.erasing.verb import ask, held_by_broker
from thumbwheel.erasure import person_of, tombstone
from thumbwheel.home import read_secret
from thumbwheel.records import Policies
from thumbwheel.store import schema

pytestmark = pytest.mark.kafka


@contextmanager
def consuming(place: Place) -> Iterator[None]:
    process = place.start()
    try:
        place.until(place.caught_up, "the consumer")
        yield
    finally:
        process.terminate()
        process.wait(20)


def state_of_three(place: Place) -> tuple[object, ...]:
    """What the store has of the third person, and how many it has texts of."""
    i, f = schema.inferences.c, schema.feedback.c
    with place.store.read() as tx:
        mine = tx.execute(select(i.unit, i.messages, i.answer).where(i.id == "inf-3")).one()
        said = tx.execute(select(f.author, f.correction, f.state, f.reason).where(f.id == "fb-3")).one()
        others = tx.execute(select(i.id).where(i.answer.is_not(None))).all()
    return tuple(mine), tuple(said), len(others)


def test_what_a_broker_holds_is_said_and_not_brought_back(broker: Broker, tmp_path: Path) -> None:
    place = Place(broker, tmp_path / "home")
    with closing(place):
        place.say(range(20))
        secret = read_secret(place.home)
        person = person_of(secret, "shop", "u3")
        gone = ((tombstone(person), None, None), (tombstone(person), None, "refused", "erased"), 19)
        with consuming(place):
            ask(place.store, place.log, "shop", person, system_clock)
            forget(place.store, place.log, ArtifactStore(place.home.artifacts), place.home, secret, system_clock)
            assert state_of_three(place) == gone
            place.until(place.caught_up, "the event of the erasure to be read")
        assert held_by_broker(place.settings) == {
            "inference": "for 37 days after it was written",
            "feedback": "for 37 days after it was written",
            "curation": "for ever",
            "dead-letter": "for 37 days after it was written",
        }
        # All of it is read once more, into a store that knows of nothing.
        place.store.close()
        for path in place.home.root.glob("store.db*"):
            path.unlink()
        place.store = store_in(place.home.root)
        with place.store.write() as tx:
            rollouts.create_channel(tx, "support", Policies(), "base", "main", 1, "test")
        with consuming(place):
            assert state_of_three(place) == gone
