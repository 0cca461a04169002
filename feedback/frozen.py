"""A frozen dataset as it lies among the artifacts: its rows, and what became of the feedback that is no row.

It knows nothing of how it was curated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from thumbwheel.artifacts import ArtifactFile, ArtifactStore
from thumbwheel.dataset_files import REASONS, ROWS
from thumbwheel.errors import ArtifactCorrupt
from thumbwheel.ledger import USED


@dataclass(frozen=True)
class Frozen:
    """A dataset. `places` is where each feedback stood then, as `used` or `refused (duplicate)`, by id; None of a
    dataset whose files do not say.
    """

    id: str
    rows: tuple[Mapping[str, Any], ...]
    places: Mapping[str, str] | None
    files: tuple[ArtifactFile, ...]


def read_frozen(artifacts: ArtifactStore, dataset: str) -> Frozen:
    """The dataset, hashed before it is read. Raises UnknownArtifact, ArtifactCorrupt."""
    artifacts.verify(dataset)
    folder, files = artifacts.path(dataset), artifacts.manifest(dataset).files
    held = {file.path for file in files}
    if ROWS not in held:
        raise ArtifactCorrupt(f"artifact {dataset[:12]} holds no {ROWS}: it is no dataset")
    rows = tuple(map(json.loads, (folder / ROWS).read_bytes().splitlines()))
    places = None
    if REASONS in held:
        others = map(json.loads, (folder / REASONS).read_bytes().splitlines())
        places = {one["feedback"]: f"{one['state']} ({one['reason']})" for one in others}
        places |= {row["feedback"]: USED for row in rows}
    return Frozen(dataset, rows, places, files)
