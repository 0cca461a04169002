"""What a replay needs of the event log once the log has let go of it: segments of its partitions, as Parquet.

A log that keeps its records for a time only (Kafka) loses what datasets were made of. Before that, and once the
feedback window of the inferences that its records speak of is over, a partition's next records are written into the
artifact store: of feedback all, of inferences those of which somebody has said something, for nothing else bears on a
dataset. Records keep their offsets and their bytes, so a replay reads them as if they were in the log. The topic
`curation` is kept for ever by the log itself.

What is said of an inference once its window is over (a dead letter that is redriven after weeks) finds it neither in
the store nor here; as long as the log still has it, a replay would.

The hourly job of retention.py calls `keep`. A segment is an artifact of kind `events`: `events.parquet` with `offset`,
`key` and `value`; the table `segments` says which part of which partition it covers. Killed between any two steps it is
done again: at worst an artifact lies there that `segments` does not name.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import LostRace
from thumbwheel.eventlog import EventLog, Record
from thumbwheel.events import FEEDBACK, INFERENCE
from thumbwheel.ids import DAY_MS, day_of
from thumbwheel.store import bulk, data_rows, schema
from thumbwheel.store.connection import Store, insert_or

KIND = "events"
FILE = "events.parquet"
TOPICS = (FEEDBACK, INFERENCE)
PAGE = 2_000  # records
AT_ONCE = 100_000  # records of a partition that one call looks at


@dataclass(frozen=True)
class Segment:
    """The records of a partition after offset `after`, up to `last`; `artifact` is None where none is worth keeping."""

    topic: str
    partition: int
    after: int
    last: int
    artifact: str | None


def segments(tx: Connection) -> list[Segment]:
    """All of them, in order."""
    c = schema.segments.c
    query = select(c.topic, c.partition, c.after, c.last, c.artifact).order_by(c.topic, c.partition, c.after)
    return [Segment(*row) for row in tx.execute(query)]


@dataclass
class Archive:
    """Reads segments, each hashed when it is first read. Raises ArtifactError for one that is gone or damaged."""

    artifacts: ArtifactStore
    held: Collection[Segment]
    _open: dict[str, list[Record]] = field(default_factory=dict)

    def of(self, topic: str, partition: int) -> list[Segment]:
        """A partition's segments, in order."""
        mine = [one for one in self.held if (one.topic, one.partition) == (topic, partition)]
        return sorted(mine, key=lambda one: one.after)

    def end(self, topic: str, partition: int) -> int:
        """How far the partition is covered; 0 where nothing of it is."""
        return max((one.last for one in self.of(topic, partition)), default=0)

    def read(self, topic: str, partition: int, after: int, limit: int) -> list[Record]:
        """Up to `limit` records of one segment, after that offset; none where none is left."""
        for one in self.of(topic, partition):
            if one.last > after and one.artifact is not None:
                found = [record for record in self._records(one, one.artifact) if record.offset > after]
                if found:
                    return found[:limit]
        return []

    def _records(self, segment: Segment, artifact: str) -> list[Record]:
        if artifact not in self._open:
            self._open = {artifact: list(records_in(self.artifacts, segment, artifact))}
        return self._open[artifact]


def records_in(artifacts: ArtifactStore, segment: Segment, artifact: str) -> Iterator[Record]:
    """The segment's records. Raises ArtifactError."""
    from pyarrow import parquet

    artifacts.verify(artifact)
    for row in parquet.read_table(artifacts.path(artifact) / FILE).to_pylist():
        yield Record(segment.topic, segment.partition, row["offset"], row["key"], row["value"])


def pending(store: Store, log: EventLog, closed_ms: int, now_ms: int) -> list[Segment]:
    """For each partition with records to keep, the segment from where to go on; `last` is how far the store has read.

    Raises StoreUnavailable.
    """
    with store.read() as tx:
        held, read = segments(tx), data_rows.positions(tx)
    starts = log.starts()
    found = []
    for topic in TOPICS:
        for partition, position in sorted(read.get(topic, {}).items()):
            mine = [one.last for one in held if (one.topic, one.partition) == (topic, partition)]
            # What has expired already, no archive can hold.
            after = max([starts.get(topic, {}).get(partition, 0), *mine])
            first = log.read(topic, partition, after, 1) if after < position else []
            if first and first[0].offset <= position and _is_over(first[0], closed_ms, now_ms):
                found.append(Segment(topic, partition, after, position, None))
    return found


def _is_over(record: Record, closed_ms: int, now_ms: int) -> bool:
    """Whether nobody can say anything more of the inference that the record is keyed by.

    An id of a day that is yet to come was made by a clock that is wrong, and is not waited for.
    """
    day = day_of(record.key)
    return day < closed_ms // DAY_MS or day > now_ms // DAY_MS + 1


def keep(
    store: Store,
    log: EventLog,
    artifacts: ArtifactStore,
    scratch: Path,
    ahead: Sequence[Segment],
    closed_ms: int,
    now_ms: int,
) -> list[Segment]:
    """Keep what is `pending`, at most AT_ONCE records of each partition; what was kept.

    All that was said until now must be in the store.

    Raises StoreUnavailable; LostRace where another did the same meanwhile.
    """
    return [_keep(store, log, artifacts, scratch, one, closed_ms, now_ms) for one in ahead]


def _keep(
    store: Store, log: EventLog, artifacts: ArtifactStore, scratch: Path, ahead: Segment, closed_ms: int, now_ms: int
) -> Segment:
    import pyarrow as arrow
    from pyarrow import parquet

    shape = arrow.schema([("offset", arrow.int64()), ("key", arrow.string()), ("value", arrow.binary())])
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700, parents=True)
    at, rows = ahead.after, 0
    with parquet.ParquetWriter(scratch / FILE, shape, compression="zstd") as writer:
        while at < ahead.last and at - ahead.after < AT_ONCE:
            page = [one for one in log.read(ahead.topic, ahead.partition, at, PAGE) if one.offset <= ahead.last]
            over = _while_over(page, closed_ms, now_ms)
            if not over:
                break
            with store.read() as tx:
                kept = over if ahead.topic == FEEDBACK else _rated(tx, over)
            table = [{"offset": one.offset, "key": one.key, "value": one.value} for one in kept]
            writer.write_table(arrow.Table.from_pylist(table, shape))
            at, rows = over[-1].offset, rows + len(kept)
            if len(over) < len(page):
                break
    meta = {"topic": ahead.topic, "partition": ahead.partition, "after": ahead.after, "last": at}
    sha = artifacts.publish(scratch, KIND, meta) if rows else None
    shutil.rmtree(scratch, ignore_errors=True)
    made = Segment(ahead.topic, ahead.partition, ahead.after, at, sha)
    with store.write() as tx:
        values = {"topic": made.topic, "partition": made.partition, "after": made.after, "last": made.last}
        statement = insert_or(tx, schema.segments).values(**values, artifact=sha, at_ms=now_ms)
        if tx.execute(statement.on_conflict_do_nothing().returning(schema.segments.c.last)).first() is None:
            raise LostRace(f"another has kept {made.topic}/{made.partition} after {made.after}")
    return made


def _while_over(page: Collection[Record], closed_ms: int, now_ms: int) -> list[Record]:
    """The first records up to one whose feedback window is not over: a segment has no holes."""
    found = []
    for record in page:
        if not _is_over(record, closed_ms, now_ms):
            break
        found.append(record)
    return found


def _rated(tx: Connection, records: Collection[Record]) -> list[Record]:
    c = schema.feedback.c
    ids = sorted({record.key for record in records})
    said = set(tx.execute(select(c.inference).where(bulk.among(tx, c.inference, ids)).distinct()).scalars())
    return [record for record in records if record.key in said]
