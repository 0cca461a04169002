"""Reads files of training data: JSON lists and lines, Parquet, Arrow, and folders of them, record by record.

A folder is read with all that is below it, in order of names; what beside the data lies there by custom (METADATA, and
Hugging Face's caches) is left out. So are the splits that files may be named after: curation makes its own. A record
that cannot be read is handed on with its place and its fault.

It knows nothing of what a record means (forms.py).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.errors import InvalidRequest

LISTS_AND_LINES, TABLES = (".json", ".jsonl", ".ndjson"), (".parquet", ".arrow")
METADATA = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "card.json", "README.md"}
)
CACHE = "cache-"
ARROW_FILE = b"ARROW1"  # how an Arrow file begins that is no stream

_SUFFIXES = ", ".join(LISTS_AND_LINES + TABLES)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how its files begin
_BLANK = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True)
class Found:
    """What lies at one place of a file: a value, or why there is none."""

    where: str
    value: object = None
    fault: str | None = None


def data_files(path: Path) -> list[Path]:
    """The file itself, or a folder's files of data in order of names.

    Raises InvalidRequest where there is none, or where one cannot be read as a file.
    """
    shown = path.name or str(path)
    try:
        return _data_files(path, shown)
    except OSError as error:
        raise InvalidRequest(f"{shown} cannot be read: {error.strerror}.") from error


def _data_files(path: Path, shown: str) -> list[Path]:
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if _is_data(file) and _checked(file, path)]
        if not found:
            raise InvalidRequest(f"{shown} holds no data; files of {_SUFFIXES} are.")
        return found
    if not os.path.lexists(path):
        raise InvalidRequest(f"{shown} is not there; a file of {_SUFFIXES} is right, or a folder of them.")
    if _checked(path, path.parent) and path.suffix.lower() not in LISTS_AND_LINES + TABLES:
        how = (
            " Write its rows as JSON lines, one object a row, with `instruction` and `output`."
            if _is_sheet(path)
            else ""
        )
        raise InvalidRequest(f"{shown} is none of {_SUFFIXES}.{how}")
    return [path]


def passed_over(path: Path) -> list[str]:
    """The files of a folder that are no data by their names, and are not read; nothing that lies there by custom."""
    if not path.is_dir():
        return []
    files = [file for file in sorted(path.rglob("*")) if not file.is_dir() and not _by_custom(file)]
    return [file.relative_to(path).as_posix() for file in files if not _is_data(file)]


def _is_data(file: Path) -> bool:
    return file.suffix.lower() in LISTS_AND_LINES + TABLES and not _by_custom(file) and not file.is_dir()


def _is_sheet(file: Path) -> bool:
    return file.suffix.lower() in (".csv", ".tsv", ".xls", ".xlsx", ".ods")


def _by_custom(file: Path) -> bool:
    return file.name in METADATA or file.name.startswith((CACHE, "."))


def _checked(file: Path, folder: Path) -> bool:
    """True of a file; a pipe would be waited for, and a device never ends."""
    if file.is_file():
        return True
    name = file.relative_to(folder).as_posix()
    if file.is_symlink() and not file.exists():
        raise InvalidRequest(f"{name} is a link to what is not there; mend it, or take it out.")
    raise InvalidRequest(f"{name} is a pipe or a device and no file; write what it gives into a file.")


def records(file: Path, name: str) -> Iterator[Found]:
    """The file's records in order, each with its place in `name`. Raises InvalidRequest where it cannot be opened."""
    try:
        if file.suffix.lower() in TABLES:
            yield from _of_table(file, name)
            return
        raw = file.read_bytes()
    except OSError as error:
        raise InvalidRequest(f"{name} cannot be read: {error.strerror}.") from error
    text = _decoded(raw, name)
    if isinstance(text, Found):
        yield text
        return
    start = _after_blanks(text, 0)
    yield from _of_list(text, start + 1, name) if text[start : start + 1] == "[" else _of_lines(text, name)


def _decoded(raw: bytes, name: str) -> str | Found:
    """The file's text, or where it is none and what would be right."""
    if raw.startswith(_UTF_16):
        return Found(f"{name} line 1", fault="it is UTF-16; write it anew (`iconv -f UTF-16 -t UTF-8 FILE`)")
    at, why = raw.find(b"\0"), "it holds a NUL, as no JSON does; write the file anew as text in UTF-8"
    if at < 0:
        try:
            return raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            at = error.start
            why = "it is not UTF-8; write the file in UTF-8 (of GB18030: `iconv -f GB18030 -t UTF-8 FILE`)"
    line = raw.count(b"\n", 0, at) + 1
    return Found(f"{name} line {line}", fault=why)


def _of_lines(text: str, name: str) -> Iterator[Found]:
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if len(lines) > 1 and (value := _one_value(lines[0][1], text)) is not None:
        yield Found(f"{name} line {lines[0][0]}", value)
        return
    for number, line in lines:
        where = f"{name} line {number}"
        try:
            yield Found(where, json.loads(line))
        except (ValueError, RecursionError) as error:
            right = "one object a line is right, or one list of objects"
            yield Found(where, fault=f"it is no JSON ({_said(error)}); {right}")


def _one_value(first: str, text: str) -> object:
    """The one object that is the whole file, on several lines; None where it is none."""
    try:
        json.loads(first)
        return None
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _said(error: Exception) -> str:
    """What is wrong; where it is in the file the place says, so of its own only the column."""
    return f"{error.msg}, at character {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


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
