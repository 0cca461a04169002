"""A dataset's rows as files that other programs read: laid out as a pure function, then written, whole or not at all.

One file a split: `train.json` for ShareGPT and Alpaca (a list, one row a line), `train.jsonl` for the others. Beside
the first two lies LLaMA-Factory's dataset_info.json, in which `<channel>_<split>` names the file; beside all of them a
README.md with the columns, for Hugging Face's library. The folder is 0700,
its files 0600, and nothing is ever written over. Whose a correction was is only in the form `jsonl`.

It knows nothing of the store.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback.folders import check_free, unwritable
from feedback.forms import ALPACA, KTO, PREFERENCE, SHAREGPT, columns_of, described, is_a, said_as
from thumbwheel.dataset_files import line
from thumbwheel.errors import InvalidRequest

DESCRIPTION, README = "dataset_info.json", "README.md"
LISTS = (SHAREGPT, ALPACA)


@dataclass(frozen=True)
class Export:
    """The files by name; how many rows each split has in them; the ids of the rows that the form cannot say."""

    files: Mapping[str, bytes]
    rows: Mapping[str, int]
    left_out: tuple[str, ...]


def lay_out(rows: Sequence[Mapping[str, Any]], form: str, kind: str, splits: Sequence[str], channel: str) -> Export:
    """The rows of one kind and of these splits in a form.

    Raises InvalidRequest where nothing is left.
    """
    files: dict[str, bytes] = {}
    counts: dict[str, int] = {}
    left_out: list[str] = []
    about: dict[str, Any] = {}
    for split in splits:
        wanted = [row for row in rows if row["split"] == split and is_a(kind, row)]
        said = [(row["id"], said_as(form, kind, row)) for row in wanted]
        left_out += [id_ for id_, one in said if one is None]
        told = [line(one).removesuffix(b"\n") for _, one in said if one is not None]
        if not told:
            continue
        name = f"{split}.json" if form in LISTS else f"{split}.jsonl"
        files[name] = b"[\n" + b",\n".join(told) + b"\n]\n" if form in LISTS else b"".join(one + b"\n" for one in told)
        counts[split] = len(told)
        about[f"{channel}_{split}"] = described(form, kind, name)
    if not files:
        what = {PREFERENCE: " with a rejected answer", KTO: " that is a thumb alone"}.get(kind, "")
        raise InvalidRequest(f"No row{what} of {', '.join(splits)} can be said as {form}; nothing was written.")
    files[README] = _readme(form, kind, channel)
    if form in LISTS:
        files[DESCRIPTION] = json.dumps(about, indent=2).encode() + b"\n"
    return Export(files, counts, tuple(left_out))


def _readme(form: str, kind: str, channel: str) -> bytes:
    """What Hugging Face's library reads of a folder: the columns, in JSON, which is YAML too."""
    about = json.dumps({"features": columns_of(form, kind)})
    words = f"Rows of kind {kind} of a dataset of Thumbwheel's channel {channel}, in the form {form}."
    return f"---\ndataset_info: {about}\n---\n\n{words}\n".encode()


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` with the files. Raises InvalidRequest where something is there, or it cannot be written."""
    check_free(folder)
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # 0700
        for name, content in files.items():
            with os.fdopen(os.open(staging / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        staging.rename(folder)  # onto an empty folder at most
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
