"""A run's evaluation report: the texts in the artifact that the run's row names. What they say is retrain/report.py's.

The files are named here because the admin API and the command line read what the evaluator has written.
"""

from __future__ import annotations

import json
from typing import Any

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import NotFound
from thumbwheel.records import Run

JSON, MARKDOWN = "report.json", "report.md"


def read_json(artifacts: ArtifactStore, run: Run) -> dict[str, Any]:
    """The report for programs. Raises NotFound where the run has none; UnknownArtifact, ArtifactCorrupt."""
    content: dict[str, Any] = json.loads(_text(artifacts, run, JSON))
    return content


def read_markdown(artifacts: ArtifactStore, run: Run) -> str:
    """The report for people. Raises as `read_json`."""
    return _text(artifacts, run, MARKDOWN)


def _text(artifacts: ArtifactStore, run: Run, name: str) -> str:
    if run.report is None:
        raise NotFound(
            f"Run {run.id} is {run.state} and has no report: the evaluation writes one. Its reasons are in the run.",
            code="no_report",
        )
    artifacts.verify(run.report)  # a damaged one is said to be so, and is not shown
    return (artifacts.path(run.report) / name).read_text(encoding="utf-8")
