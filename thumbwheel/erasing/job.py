"""Erasing: every erased person out of everything that this home holds, in steps that may be killed and done again.

`forget` does it for all who are erased at once, since a place is read once for all of them, and does nothing where
nobody is. The command `thumbwheel erase` calls it, and the controller once an hour: for a command that was killed, and
for what has come since (a gateway's spool, a log that was replayed, a backup that was restored). What is looked at is
noted in the home's `erasures.json`, so that an hour in which nothing came costs one look at the store's rows.

Rows go before files: from then on nothing new is made of them. A run's folder and a report go before the dataset that
names their rows. Last the databases' files are written anew; noted is beforehand that they must be.

What it cannot reach is in docs/privacy.md.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgspec

from thumbwheel.artifacts import ArtifactStore, Manifest
from thumbwheel.clock import Clock
from thumbwheel.erasing import archives, frozen
from thumbwheel.erasing.lines import forget_in_log, forget_in_spool
from thumbwheel.erasure import Erased, erased_by
from thumbwheel.errors import ArtifactCorrupt, ArtifactError
from thumbwheel.eventlog import EventLog, references
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.events import ErasureEvent
from thumbwheel.home import Home, write_private
from thumbwheel.store import curation_rows, dataset_rows, erasure_rows, retention, segments
from thumbwheel.store.connection import Store
from thumbwheel.store.erasure_rows import Theirs

NOTES, LOCK = "erasures.json", "erasures.lock"
SCRATCH = "erasure"
REPORT = "report"
KINDS = (frozen.DATASET, REPORT, retention.KIND, segments.KIND, references.KIND)  # of artifacts that hold texts


@dataclass(frozen=True)
class Notes:
    """Who is erased, and what has been looked at for them. `compact`: the databases' files hold what is gone."""

    events: tuple[ErasureEvent, ...] = ()
    offsets: Mapping[str, int] = field(default_factory=dict)
    artifacts: tuple[str, ...] = ()
    compact: bool = False


@dataclass(frozen=True)
class Forgotten:
    """What one pass has changed, in rows, records, lines and artifacts."""

    rows: int = 0
    records: int = 0
    spooled: int = 0
    datasets: int = 0
    reports: int = 0
    archives: int = 0
    folders: int = 0


def forget(
    store: Store,
    log: EventLog,
    artifacts: ArtifactStore,
    home: Home,
    secret: bytes,
    clock: Clock,
    *,
    rewrite: bool = False,
) -> Forgotten:
    """Take all who are erased out of everything. Idempotent; `rewrite` has PostgreSQL write its tables anew each time.

    Raises StoreUnavailable and ArtifactError; what was done until then is done, and the next call goes on.
    """
    if not _known(store, home):
        return Forgotten()
    with _alone(home):
        said = _known(store, home)
        return _forget(store, log, artifacts, home, said, erased_by(said, secret), clock, rewrite)


def _known(store: Store, home: Home) -> tuple[ErasureEvent, ...]:
    """All erasures. The store is told of those that this home has done and it does not know: it is an older copy."""
    with store.read() as tx:
        held = {one.id: one for one in curation_rows.erasures(tx)}
    done = {one.id: one for one in read_notes(home).events}
    if missing := [one for id_, one in done.items() if id_ not in held]:
        with store.write(alone=False) as tx:
            curation_rows.keep(tx, [(0, one) for one in missing])
    return tuple(one for _, one in sorted((held | done).items()))


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Wait until nobody else in this home does the same."""
    descriptor = os.open(home.root / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _forget(
    store: Store,
    log: EventLog,
    artifacts: ArtifactStore,
    home: Home,
    said: tuple[ErasureEvent, ...],
    erased: Erased,
    clock: Clock,
    rewrite: bool,
) -> Forgotten:
    notes = read_notes(home)
    if {one.person for one in notes.events} != erased.persons:
        notes = Notes(said, compact=True)
        write_notes(home, notes)
    with store.write(alone=False) as tx:
        rows = erasure_rows.forget(tx, erased)
        own = erasure_rows.theirs(tx, erased)
        if rows:  # what is new here may be new anywhere
            notes = Notes(notes.events, compact=True)
            write_notes(home, notes)
    looked = {one.sha for one in artifacts.of_kinds(*KINDS)}  # what is published from now on was not looked at
    spooled = forget_in_spool(home.spool, erased, own)
    records, offsets = 0, dict(notes.offsets)
    if isinstance(log, SqliteEventLog):
        records, offsets = forget_in_log(log, erased, own, notes.offsets)
    damaged: ArtifactError | None = None
    try:
        done = _artifacts(store, artifacts, home, erased, own, notes, clock)
    except ArtifactError as error:  # what cannot be read must not keep the rest readable
        damaged, done, looked = error, Forgotten(), set(notes.artifacts)
    if rewrite or notes.compact or records or done != Forgotten():
        write_notes(home, replace(notes, compact=True))
        store.compact(rewrite=rewrite)
        if isinstance(log, SqliteEventLog):
            log.compact()
    write_notes(home, replace(notes, offsets=offsets, artifacts=tuple(sorted(looked)), compact=False))
    if damaged is not None:
        raise damaged
    return replace(done, rows=rows, records=records, spooled=spooled)


def _artifacts(
    store: Store, artifacts: ArtifactStore, home: Home, erased: Erased, own: Theirs, notes: Notes, clock: Clock
) -> Forgotten:
    artifacts.bury()
    frozen.catch_up(store, artifacts, clock)
    looked = set(notes.artifacts)
    new = [one for one in artifacts.of_kinds(*KINDS) if one.sha not in looked]
    _must_be_whole(artifacts, new)
    scratch = home.runs / SCRATCH

    def tags_of(feedback: Sequence[str]) -> Mapping[str, Sequence[str]]:
        with store.read() as tx:
            return dataset_rows.tags_of(tx, feedback)

    found = (frozen.losing(artifacts, one, erased, own, tags_of) for one in _of(new, frozen.DATASET))
    losing = [one for one in found if one is not None]
    affected = {run for one in losing for run in frozen.end_runs(store, one.manifest.sha, clock)}
    gone = frozenset().union(*(one.gone for one in losing))
    folders = frozen.clear_folders(home.runs, affected, erased, own)
    shutil.rmtree(home.runs / retention.SCRATCH, ignore_errors=True)
    reports = sum(
        frozen.rewrite_report(store, artifacts, one, gone, scratch, clock) for one in _of(new, REPORT) if gone
    )
    for one in losing:
        frozen.rewrite_dataset(store, artifacts, one, scratch, clock)
    days = sum(
        archives.forget_in_archive(store, artifacts, one, scratch, erased, clock) for one in _of(new, retention.KIND)
    )
    parts = sum(
        archives.forget_in_segment(store, artifacts, one, scratch, erased, own, clock)
        for one in _of(new, segments.KIND)
    )
    events = sum(
        archives.forget_in_event(artifacts, one, scratch, erased, own, clock) for one in _of(new, references.KIND)
    )
    return Forgotten(datasets=len(losing), reports=reports, archives=days + parts + events, folders=folders)


def _must_be_whole(artifacts: ArtifactStore, manifests: list[Manifest]) -> None:
    for one in manifests:
        try:
            artifacts.verify(one.sha)
        except ArtifactCorrupt as error:
            raise ArtifactCorrupt(
                f"{error}, so nobody can tell whose words it holds; bring the {one.kind}'s folder back from a backup, "
                "or remove it from the artifacts, and erase again"
            ) from error


def _of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one.kind == kind]


def read_notes(home: Home) -> Notes:
    """What was looked at; nothing where the file is not there, or damaged: then everything is looked at again."""
    try:
        return msgspec.json.decode((home.root / NOTES).read_bytes(), type=Notes)
    except (OSError, msgspec.DecodeError):
        return Notes()


def write_notes(home: Home, notes: Notes) -> None:
    """Note what was looked at. Raises OSError."""
    write_private(home.root / NOTES, msgspec.json.encode(notes, order="sorted").decode() + "\n")
