"""Erased persons among the artifacts that hold what came from the log: days and segments as Parquet, and big events."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from thumbwheel.artifacts import ArtifactStore, Manifest
from thumbwheel.clock import Clock
from thumbwheel.erasure import Erased
from thumbwheel.eventlog import references
from thumbwheel.store import erasure_rows, retention, segments
from thumbwheel.store.connection import Store
from thumbwheel.store.erasure_rows import Theirs, bare_record

GONE = ("messages", "answer", "error")  # the columns that hold texts


def forget_in_archive(
    store: Store, artifacts: ArtifactStore, manifest: Manifest, scratch: Path, erased: Erased, clock: Clock
) -> bool:
    """Rewrite a day's Parquet file, if there is anybody in it. Raises ArtifactError, StoreUnavailable."""
    import pyarrow as arrow  # a third of a second and 50 MB, and mostly there is no archive
    from pyarrow import parquet

    file = artifacts.path(manifest.sha) / retention.FILE
    who = parquet.read_table(file, columns=["tenant", "unit"]).to_pylist()
    units = [erased.named(one["tenant"], one["unit"]) for one in who]
    theirs = [unit != one["unit"] for unit, one in zip(units, who, strict=True)]
    if not any(theirs):
        return False
    table = parquet.read_table(file)
    columns = {"unit": arrow.array(units, table.schema.field("unit").type)}
    for name in GONE:
        kept = [None if own else value for own, value in zip(theirs, table[name].to_pylist(), strict=True)]
        columns[name] = arrow.array(kept, table.schema.field(name).type)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    _empty(scratch)
    parquet.write_table(table, scratch / retention.FILE, compression="zstd")
    _take_its_place(store, artifacts, manifest, scratch, erasure_rows.move_archive, clock)
    return True


def forget_in_segment(
    store: Store, artifacts: ArtifactStore, manifest: Manifest, scratch: Path, erased: Erased, own: Theirs, clock: Clock
) -> bool:
    """Rewrite a segment of the log, whose records keep their offsets. Raises ArtifactError, StoreUnavailable."""
    import pyarrow as arrow
    from pyarrow import parquet

    table = parquet.read_table(artifacts.path(manifest.sha) / segments.FILE)
    held = list(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))
    bare = [bare_record(key, value, erased, own) for key, value in held]
    if not any(value is not None for value in bare):
        return False
    values = [was if value is None else value for value, (_, was) in zip(bare, held, strict=True)]
    column = table.schema.get_field_index("value")
    field = table.schema.field(column)
    left = table.set_column(column, field, arrow.array(values, field.type))
    _empty(scratch)
    parquet.write_table(left, scratch / segments.FILE, compression="zstd")
    _take_its_place(store, artifacts, manifest, scratch, erasure_rows.move_segment, clock)
    return True


def forget_in_event(
    artifacts: ArtifactStore, manifest: Manifest, scratch: Path, erased: Erased, own: Theirs, clock: Clock
) -> bool:
    """Rewrite an event that lies here and not in the log; the log's reference leads to what is left of it."""
    bare = bare_record("", (artifacts.path(manifest.sha) / references.FILE).read_bytes(), erased, own)
    if bare is None:
        return False
    _empty(scratch)
    (scratch / references.FILE).write_bytes(bare)
    artifacts.replace(manifest.sha, scratch, manifest.kind, manifest.meta, clock())
    shutil.rmtree(scratch)
    return True


def _empty(scratch: Path) -> None:
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)


def _take_its_place(
    store: Store,
    artifacts: ArtifactStore,
    manifest: Manifest,
    scratch: Path,
    move: Callable[[Connection, str, str], None],
    clock: Clock,
) -> None:
    """The new artifact first, then the rows that name it, then the old one goes: killed between, it is done again."""
    new = artifacts.publish(scratch, manifest.kind, manifest.meta)
    with store.write() as tx:
        move(tx, manifest.sha, new)
    artifacts.replace(manifest.sha, scratch, manifest.kind, manifest.meta, clock())
    shutil.rmtree(scratch)
