from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import StoreUnavailable
from thumbwheel.eventlog.references import MOST_BYTES, outline, resolve, weight
from thumbwheel.events import decode


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


def test_what_fits_goes_as_it_is(artifacts: ArtifactStore) -> None:
    value = b"x" * MOST_BYTES
    assert outline(artifacts, value) is value and resolve(artifacts, value) is value
    assert list(artifacts.root.iterdir()) == []


def test_what_does_not_fit_goes_by_reference_and_comes_back(artifacts: ArtifactStore) -> None:
    value = b"x" * (MOST_BYTES + 1)
    reference = outline(artifacts, value)
    assert len(reference) < 200
    assert outline(artifacts, value) == reference, "a retried one takes no more room"
    assert [len(folder.name) for folder in artifacts.root.iterdir()] == [64], "nothing else is left behind"
    assert resolve(artifacts, reference) == value


def test_what_it_weighs_is_known_before_it_is_fetched(artifacts: ArtifactStore) -> None:
    value = b"x" * 5_000
    reference = outline(artifacts, value, most=4)
    assert (weight(value), weight(reference), weight(b"")) == (5_000, 5_000, 0)
    nonsense = reference.replace(b'"bytes":5000', b'"bytes":-7'), reference[:-1]
    assert [weight(one) for one in nonsense] == [len(one) for one in nonsense]


@pytest.mark.parametrize("damage", ["gone", "changed", "nonsense"])
def test_a_reference_that_leads_nowhere_is_no_event(artifacts: ArtifactStore, damage: str) -> None:
    reference = outline(artifacts, b"12345", most=4)
    (folder,) = artifacts.root.iterdir()
    if damage == "gone":
        shutil.rmtree(folder)
    elif damage == "changed":
        (folder / "event.json").chmod(0o600)
        (folder / "event.json").write_bytes(b"54321")
    else:
        reference = reference.replace(b'"artifact"', b'"nothing"')
    assert resolve(artifacts, reference) == reference
    with pytest.raises(ValueError, match=r"reference\.v1"):
        decode(reference)


def test_a_store_that_cannot_be_read_or_written_is_an_outage(artifacts: ArtifactStore) -> None:
    reference = outline(artifacts, b"12345", most=4)
    shutil.rmtree(artifacts.root)
    artifacts.root.write_bytes(b"")  # the disk is another one, say
    with pytest.raises(StoreUnavailable):
        outline(artifacts, b"54321", most=4)
    with pytest.raises(StoreUnavailable):
        resolve(artifacts, reference)
