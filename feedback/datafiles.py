"""Reads files of training data: JSON lists and lines, Parquet, Arrow, and folders of them, record by record.

A folder is read with all that is below it, in order of names; what beside the data lies there by custom (METADATA, and
Hugging Face's caches) is left out. So are the splits that files may be named after: curation makes its own. A record
that cannot be read is handed on with its place and its fault.

It knows nothing of what a record means (forms.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.errors import InvalidRequest

LISTS_AND_LINES, TABLES = (".json", ".jsonl", ".ndjson"), (".parquet", ".arrow")
METADATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "card.json"})
CACHE = "cache-"
ARROW_FILE = b"ARROW1"  # how an Arrow file begins that is no stream

_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Found:
    """What lies at one place of a file: a value, or why there is none."""

    where: str
    value: object = None
    fault: str | None = None


def data_files(path: Path) -> list[Path]:
    """The file itself, or a folder's files of data in order of names. Raises InvalidRequest where there is none."""
    if path.is_file():
        if path.suffix.lower() not in LISTS_AND_LINES + TABLES:
            raise InvalidRequest(f"{path.name} is none of {', '.join(LISTS_AND_LINES + TABLES)}.")
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in LISTS_AND_LINES + TABLES
        and file.name not in METADATA
        and not file.name.startswith((CACHE, "."))
        and file.is_file()
    ]
    if not found:
        what = "holds no data" if path.is_dir() else "is not there"
        raise InvalidRequest(f"{path.name or path} {what}; a file of {', '.join(LISTS_AND_LINES + TABLES)} is right.")
    return found


def records(file: Path, name: str) -> Iterator[Found]:
    """The file's records in order, each with its place in `name`. Raises InvalidRequest where it cannot be opened."""
    try:
        if file.suffix.lower() in TABLES:
            yield from _of_table(file, name)
            return
        raw = file.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be read: {error.strerror}.") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        right = "write the file in UTF-8 (of GB18030: `iconv -f GB18030 -t UTF-8 FILE`)"
        yield Found(f"{name} line {line}", fault=f"it is not UTF-8; {right}")
        return
    start = _after_blanks(text, 0)
    yield from _of_list(text, start + 1, name) if text[start : start + 1] == "[" else _of_lines(text, name)


def _of_lines(text: str, name: str) -> Iterator[Found]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            try:
                yield Found(where, json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Found(where, fault=f"it is no JSON ({error}); one object a line is right, or one list of objects")


def _of_list(text: str, at: int, name: str) -> Iterator[Found]:
    """The items of the list whose bracket is before `at`, each with its own line; none after a fault."""
    decoder = json.JSONDecoder()
    line, counted, after = 1, 0, "["
    at = _after_blanks(text, at)
    if text[at : at + 1] == "]":
        after = "]"
    while after != "]":
        line, counted = line + text.count("\n", counted, at), at
        where = f"{name} line {line}"
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield Found(where, fault=f"it is no JSON ({error})")
            return
        yield Found(where, value)
        at = _after_blanks(text, at)
        after = text[at : at + 1]
        if after not in (",", "]") or not after:
            yield Found(where, fault="the list breaks off after it; a comma, or a closing bracket, is right")
            return
        at = _after_blanks(text, at + 1) if after == "," else at
    if text[at + 1 :].strip():
        yield Found(f"{name} line {line}", fault="something follows the list; one list a file is right")


def _after_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _of_table(file: Path, name: str) -> Iterator[Found]:
    import pyarrow  # a third of a second, which most imports do not need
    from pyarrow import ipc, parquet

    raw = file.read_bytes()
    source = pyarrow.BufferReader(raw)
    try:
        if file.suffix.lower() == ".parquet":
            table = parquet.read_table(source)
        elif raw.startswith(ARROW_FILE):
            table = ipc.open_file(source).read_all()
        else:  # as Hugging Face's datasets are saved
            table = ipc.open_stream(source).read_all()
    except pyarrow.ArrowException as error:
        yield Found(name, fault=f"the file is damaged ({error})")
        return
    number = 0
    for batch in table.to_batches():
        for value in batch.to_pylist():
            number += 1
            yield Found(f"{name} row {number}", value)
