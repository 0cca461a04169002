"""Rows of inferences and feedback, the ledger over them, and how far the event log has been read into the store.

Ingestion is idempotent: an inference counts once, and a feedback that comes again only moves its time of receipt.
It knows nothing of curation; datasets, examples and splits are in `dataset_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Text, and_, bindparam, cast, func, insert, or_, select, update

from thumbwheel import ledger as words
from thumbwheel.errors import LostRace
from thumbwheel.eventlog import Record
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.ledger import Entry, Seen, settle
from thumbwheel.records import Feedback, Outcome
from thumbwheel.store import release_rows, schema

CHUNK = 500  # ids in one `in (...)`: SQLite takes 32,766 variables, PostgreSQL plans long lists badly

INFERENCE_FIELDS = tuple(column.name for column in schema.inferences.c)


# ingestion


def ingest(
    tx: Connection, inferences: Iterable[InferenceEvent], feedbacks: Iterable[tuple[int, FeedbackEvent]]
) -> None:
    """Write events, each feedback with its offset in the log, and settle every feedback that they touch.

    An inference that is there already stays as it is. A feedback that is there already takes the later of the two times
    of receipt, so that the author's latest word counts, however often it was said before.
    """
    first = {event.id: event for event in reversed(list(inferences))}
    touched = set(_new_inferences(tx, first)) | set(_new_feedback(tx, list(feedbacks)))
    for ids in _chunks(sorted(touched)):
        _settle(tx, ids)


def _new_inferences(tx: Connection, events: Mapping[str, InferenceEvent]) -> list[str]:
    fresh = sorted(set(events) - _known(tx, schema.inferences, events))
    if fresh:
        rows = [{name: getattr(events[id_], name) for name in INFERENCE_FIELDS} for id_ in fresh]
        tx.execute(insert(schema.inferences), rows)
    return fresh


def _new_feedback(tx: Connection, events: Sequence[tuple[int, FeedbackEvent]]) -> list[str]:
    latest: dict[str, tuple[int, FeedbackEvent]] = {}
    for seq, event in events:
        if event.id not in latest or (event.at_ms, seq) > (latest[event.id][1].at_ms, latest[event.id][0]):
            latest[event.id] = (seq, event)
    known = _known(tx, schema.feedback, latest)
    rows = [_feedback_row(seq, event) for id_, (seq, event) in sorted(latest.items()) if id_ not in known]
    if rows:
        tx.execute(insert(schema.feedback), rows)
    c = schema.feedback.c
    for id_ in sorted(known):
        seq, event = latest[id_]
        later = or_(c.at_ms < event.at_ms, and_(c.at_ms == event.at_ms, c.seq < seq))
        tx.execute(update(schema.feedback).where(c.id == id_, later).values(at_ms=event.at_ms, seq=seq))
    return [event.inference for _, event in latest.values()]


def _feedback_row(seq: int, event: FeedbackEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "inference": event.inference,
        "tenant": event.tenant,
        "channel": event.channel,
        "at_ms": event.at_ms,
        "seq": seq,
        "author": event.author,
        "role": event.role,
        "thumb": event.thumb,
        "score": event.score,
        "comment": event.comment,
        "correction": event.correction,
        "tags": event.tags,
        "metrics": event.metrics,
        "state": words.WAITING,
        "reason": words.INFERENCE_NOT_SEEN,
    }


def _known(tx: Connection, table: Any, ids: Iterable[str]) -> set[str]:
    return {
        id_
        for chunk in _chunks(sorted(ids))
        for id_ in tx.execute(select(table.c.id).where(table.c.id.in_(chunk))).scalars()
    }


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), CHUNK):
        yield ids[start : start + CHUNK]


def _settle(tx: Connection, inferences: Sequence[str]) -> None:
    """Write where the feedback on these inferences stands, where that has changed."""
    c, i = schema.feedback.c, schema.inferences.c
    # A message list that was not logged is JSON's null in the column, which SQL's `is null` does not find.
    has_text = and_(i.messages.is_not(None), cast(i.messages, Text) != "null").label("has_text")
    query = select(i.id, i.tenant, i.channel, i.unit, i.trainable, has_text).where(i.id.in_(inferences))
    seen = {
        row.id: Seen(row.tenant, row.channel, row.unit, row.trainable, bool(row.has_text)) for row in tx.execute(query)
    }
    columns = (c.id, c.inference, c.tenant, c.channel, c.author, c.at_ms, c.seq, c.state, c.reason)
    corrects = c.correction.is_not(None).label("corrects")
    entries: dict[str, list[Entry]] = {}
    for row in tx.execute(select(*columns, corrects).where(c.inference.in_(inferences))):
        fields = dict(row._mapping)
        entries.setdefault(fields.pop("inference"), []).append(Entry(**{**fields, "corrects": bool(row.corrects)}))
    moved = []
    for inference, group in entries.items():
        standings = settle(seen.get(inference), group)
        for entry in group:
            now = standings[entry.id]
            if (entry.author, entry.state, entry.reason) != (now.author, now.state, now.reason):
                moved.append({"of": entry.id, "new_author": now.author, "to": now.state, "why": now.reason})
    if moved:
        values: dict[str, Any] = {
            "author": bindparam("new_author"),
            "state": bindparam("to"),
            "reason": bindparam("why"),
        }
        tx.execute(update(schema.feedback).where(c.id == bindparam("of")).values(**values), moved)


def give_up_unseen(tx: Connection, received_ms: int) -> int:
    """Refuse the feedback, received at `received_ms` or before, whose inference has not arrived; how many it is."""
    c = schema.feedback.c
    waits = and_(c.state == words.WAITING, c.reason == words.INFERENCE_NOT_SEEN, c.at_ms <= received_ms)
    refused = {"state": words.REFUSED, "reason": words.INFERENCE_UNKNOWN}
    return tx.execute(update(schema.feedback).where(waits).values(**refused)).rowcount


# positions in the log


def positions(tx: Connection) -> dict[str, dict[int, int]]:
    """Topic -> partition -> the offset of the last record that is in the store."""
    found: dict[str, dict[int, int]] = {}
    for row in tx.execute(select(schema.offsets)):
        found.setdefault(row.topic, {})[row.partition] = row.position
    return found


def caught_up(tx: Connection, wanted: Mapping[str, Mapping[int, int]] | Mapping[str, Mapping[str, int]]) -> bool:
    """Whether everything up to `wanted` is in the store. Partitions may be text, as JSON makes them."""
    read, of = events_read(tx, wanted)
    return read == of


def events_read(
    tx: Connection, wanted: Mapping[str, Mapping[int, int]] | Mapping[str, Mapping[str, int]]
) -> tuple[int, int]:
    """How far the store is on the way to `wanted`, and how far that is, both in offsets over all partitions."""
    held = positions(tx)
    ways = [
        (min(position, held.get(topic, {}).get(int(partition), 0)), position)
        for topic, partitions in wanted.items()
        for partition, position in partitions.items()
    ]
    return sum(read for read, _ in ways), sum(position for _, position in ways)


def take_partition(tx: Connection, topic: str, partition: int) -> tuple[int, int]:
    """Become the partition's only writer: its raised epoch, and the offset to read on from.

    Whoever held an earlier epoch gets LostRace from `advance` from now on.
    """
    c = schema.offsets.c
    here = and_(c.topic == topic, c.partition == partition)
    if tx.execute(update(schema.offsets).where(here).values(epoch=c.epoch + 1)).rowcount == 0:
        tx.execute(insert(schema.offsets).values(topic=topic, partition=partition, epoch=1, position=0))
    row = tx.execute(select(c.epoch, c.position).where(here)).one()
    return row.epoch, row.position


def advance(tx: Connection, topic: str, partition: int, epoch: int, before: int, after: int) -> None:
    """Move the partition's offset with the data, in their transaction. Raises LostRace for a writer of an old epoch."""
    c = schema.offsets.c
    here = and_(c.topic == topic, c.partition == partition, c.epoch == epoch, c.position == before)
    if tx.execute(update(schema.offsets).where(here).values(position=after)).rowcount != 1:
        raise LostRace(f"{topic}/{partition} has another reader, or was moved from {before}")


def bury(tx: Connection, record: Record, reason: str, now_ms: int) -> None:
    """Keep a record that cannot be handled, byte for byte, with the reason; once, where it is read again."""
    c = schema.dead_letters.c
    here = and_(c.topic == record.topic, c.partition == record.partition, c.position == record.offset)
    told = {"key": record.key, "value": record.value, "reason": reason, "at_ms": now_ms}
    if tx.execute(update(schema.dead_letters).where(here).values(**told)).rowcount == 0:
        place = {"topic": record.topic, "partition": record.partition, "position": record.offset}
        tx.execute(insert(schema.dead_letters).values(**place, **told))


def dead_letter_count(tx: Connection) -> int:
    """How many records could not be handled."""
    return tx.execute(select(func.count()).select_from(schema.dead_letters)).scalar_one()


# feedback and its ledger


def feedback_row(tx: Connection, feedback: str) -> Feedback | None:
    """The feedback, or None where the store has not seen it (yet)."""
    row = tx.execute(select(schema.feedback).where(schema.feedback.c.id == feedback)).first()
    return None if row is None else _feedback(row)


def _feedback(row: Row[Any]) -> Feedback:
    fields = dict(row._mapping)
    return Feedback(**{**fields, "tags": tuple(fields["tags"])})


def feedback_on(tx: Connection, inference: str) -> list[Feedback]:
    """All feedback on one inference, in order of receipt."""
    c = schema.feedback.c
    query = select(schema.feedback).where(c.inference == inference).order_by(c.at_ms, c.seq, c.id)
    return [_feedback(row) for row in tx.execute(query)]


def feedback_view(tx: Connection, feedback: str) -> dict[str, Any] | None:
    """The body of GET /v1/feedback/{id}, or None where the store has not seen it (yet)."""
    row = feedback_row(tx, feedback)
    if row is None:
        return None
    held = select(schema.examples.c.dataset).where(schema.examples.c.feedback == feedback)
    runs = select(schema.runs.c.id).where(schema.runs.c.dataset.in_(held)).order_by(schema.runs.c.id)
    run_ids = list(tx.execute(runs).scalars())
    releases = select(schema.releases.c.id).where(schema.releases.c.run.in_(run_ids)).order_by(schema.releases.c.id)
    return {
        "id": row.id,
        "inference_id": row.inference,
        "state": row.state,
        "reason": row.reason,
        "dataset": row.dataset,
        "runs": run_ids,
        "releases": list(tx.execute(releases).scalars()),
    }


def ledger(tx: Connection, channel: str) -> dict[str, Any]:
    """The body of GET .../ledger. One query: acknowledged = used + refused + waiting of one moment."""
    c = schema.feedback.c
    query = select(c.state, c.reason, func.count().label("n")).where(c.channel == channel).group_by(c.state, c.reason)
    used, refused, waiting = 0, {}, {}
    for row in tx.execute(query.order_by(c.state, c.reason)):
        if row.state == words.USED:
            used += row.n
        elif row.state == words.REFUSED:
            refused[row.reason] = row.n
        else:
            waiting[row.reason] = row.n
    total = used + sum(refused.values()) + sum(waiting.values())
    return {"acknowledged": total, "used": used, "refused": refused, "waiting": waiting}


def train_due(tx: Connection, channel: str) -> int:
    """How many corrections have come since the channel's last run was asked for, and wait for one."""
    c = schema.feedback.c
    asked = select(func.coalesce(func.max(schema.runs.c.created_ms), 0)).where(schema.runs.c.channel == channel)
    query = select(func.count()).where(
        c.channel == channel, c.state == words.WAITING, c.reason == words.NO_RUN_YET, c.at_ms > asked.scalar_subquery()
    )
    return tx.execute(query).scalar_one()


# outcomes


def rollout_outcomes(tx: Connection, rollout: str) -> list[Outcome]:
    """What became of each request given to the rollout's candidate, or to the stable release at the same time.

    The time runs from the candidate's first request to the rollout's end; in order of time.
    Pinned requests and those of other candidates are left out. Raises NotFound.
    """
    subject = release_rows.get_rollout(tx, rollout)
    c = schema.inferences.c
    # By the rollout's id, not by its times: what came after the clock was set back is the candidate's doing too.
    candidates = and_(c.rollout == rollout, c.assigned == subject.release, c.role == "candidate")
    ended = () if subject.ended_ms is None else (c.at_ms <= subject.ended_ms,)
    first = tx.execute(select(func.min(c.at_ms)).where(candidates, *ended)).scalar()
    if first is None:
        return []
    concerned = and_(
        c.channel == subject.channel,
        c.at_ms >= first,
        *ended,
        or_(c.role == "stable", candidates),
    )
    thumbs = _latest_thumbs(tx, concerned)
    names = [name for name in Outcome.__dataclass_fields__ if name != "thumb"]
    query = select(*(c[name] for name in names)).where(concerned).order_by(c.at_ms, c.id)
    return [
        Outcome(**{**row._mapping, "flags": tuple(row.flags), "thumb": thumbs.get(row.id)}) for row in tx.execute(query)
    ]


def times_asked(tx: Connection, release: str) -> int:
    """How many requests were given to the release, or answered by it."""
    c = schema.inferences.c
    return tx.execute(select(func.count()).where(or_(c.served_by == release, c.assigned == release))).scalar_one()


def thumb_counts(tx: Connection) -> dict[tuple[str, str, str, str], int]:
    """How many thumbs were received, by channel, assigned release, its role, and thumb (up or down)."""
    f, i = schema.feedback.c, schema.inferences.c
    by = (i.channel, i.assigned, i.role, f.thumb)
    joined = select(*by, func.count()).join(schema.inferences, i.id == f.inference)
    found = tx.execute(joined.where(f.thumb.is_not(None)).group_by(*by))
    return {(channel, release, role, thumb): count for channel, release, role, thumb, count in found}


def _latest_thumbs(tx: Connection, concerned: Any) -> dict[str, str]:
    """Inference -> the last thumb that was received for it."""
    c = schema.feedback.c
    query = (
        select(c.inference, c.thumb)
        .join(schema.inferences, schema.inferences.c.id == c.inference)
        .where(concerned, c.thumb.is_not(None))
        .order_by(c.at_ms, c.seq, c.id)
    )
    return {row.inference: row.thumb for row in tx.execute(query)}
