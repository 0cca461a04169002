from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.keeping import keep_house
from tests.unit.thumbwheel.erasing.test_job import HER, HERS, Place, everywhere
from thumbwheel.erasing.verb import ask
from thumbwheel.erasure import person_of
from thumbwheel.errors import ArtifactCorrupt
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.settings import Settings


def keep(place: Place, **settings: object) -> None:
    chosen = replace(Settings(home=place.home.root, feedback_window_s=30 * 86_400), **settings)  # type: ignore[arg-type]
    keep_house(chosen, place.home, place.store, place.log, place.artifacts)


def test_an_erasure_whose_command_was_killed_is_finished(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    with closing(place.store), closing(place.log):
        everywhere(place)
        ask(place.store, place.log, "shop", person_of(place.secret, "shop", HER), place.clock)
        place.read()
        assert place.files_with(HERS) != []
        keep(place)
        assert place.files_with(HERS, HER) == []


def test_the_log_is_trimmed_of_what_is_in_the_store_and_in_segments(tmp_path: Path) -> None:
    """Everything here is years old. The last record of a topic stays, and what nobody has read."""
    place = Place(tmp_path / "home")
    with closing(place.store), closing(place.log):
        everywhere(place)
        place.read()
        keep(place)
        assert [record.offset for record in place.log.read(INFERENCE, 0, 0, 99)] == [5]
        assert [record.offset for record in place.log.read(FEEDBACK, 0, 0, 99)] == [5]
        place.write(place.feedback(place.his, "fb-unread", "x"), place.feedback(place.his, "fb-last", "x"))
        keep(place)
        assert [record.offset for record in place.log.read(FEEDBACK, 0, 0, 99)] == [6, 7]


def test_a_damaged_dataset_keeps_the_log_from_nothing(tmp_path: Path) -> None:
    place = Place(tmp_path / "home")
    with closing(place.store), closing(place.log):
        dataset, _ = everywhere(place)
        file = place.artifacts.path(dataset) / "rows.jsonl"
        file.chmod(0o600)
        file.write_bytes(b"{}")
        ask(place.store, place.log, "shop", person_of(place.secret, "shop", HER), place.clock)
        place.read()
        with pytest.raises(ArtifactCorrupt):
            keep(place)
        assert [record.offset for record in place.log.read(INFERENCE, 0, 0, 99)] == [5]
