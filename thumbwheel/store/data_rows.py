"""What is asked of inferences and feedback, and how far the event log has been read into the store.

How they get there is in `ingestion`; datasets, examples and splits are in `dataset_rows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, or_, select, update
from sqlalchemy.sql.dml import ReturningUpdate

from thumbwheel import ledger as words
from thumbwheel.errors import LostRace
from thumbwheel.eventlog import Place
from thumbwheel.ids import day_of
from thumbwheel.records import Feedback, Outcome
from thumbwheel.store import bulk, dead_letter_rows, release_rows, schema
from thumbwheel.store.bulk import in_one_trip
from thumbwheel.store.connection import insert_or

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
    first = {"topic": topic, "partition": partition, "epoch": 1, "position": 0}
    statement = insert_or(tx, schema.offsets).values(**first)
    raised = statement.on_conflict_do_update(index_elements=["topic", "partition"], set_={"epoch": c.epoch + 1})
    row = tx.execute(raised.returning(c.epoch, c.position)).one()
    return row.epoch, row.position


def advance(tx: Connection, topic: str, partition: int, epoch: int, before: int, after: int) -> None:
    """Move the partition's offset with the data, in their transaction. Raises LostRace for a writer of an old epoch."""
    here = {"at_topic": topic, "at_partition": partition, "under": epoch, "before": before, "after": after}
    (moved,) = in_one_trip(tx, [(_advance(), here)])
    if not moved:
        raise LostRace(f"{topic}/{partition} has another reader, or was moved from {before}")


@cache
def _advance() -> ReturningUpdate[tuple[int]]:
    c = schema.offsets.c
    here = (c.topic == bindparam("at_topic"), c.partition == bindparam("at_partition"), c.epoch == bindparam("under"))
    moved = update(schema.offsets).where(*here, c.position == bindparam("before"))
    return moved.values(position=bindparam("after")).returning(c.position)


def epochs(tx: Connection) -> dict[Place, int]:
    """The epoch of each partition: whoever holds an earlier one is no longer its writer."""
    return {(row.topic, row.partition): row.epoch for row in tx.execute(select(schema.offsets))}


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


def known_feedback(tx: Connection, feedback: Sequence[str]) -> set[str]:
    """Those of these ids that are in the store."""
    return set(tx.execute(bulk.look_up(tx, schema.feedback.c.id, feedback, (schema.feedback.c.id,))).scalars())


def status_of(tx: Connection, inference: str) -> str | None:
    """What became of the request; None where its inference is not in the store."""
    c = schema.inferences.c
    here = and_(c.id == inference, c.day == day_of(inference))
    return tx.execute(select(c.status).where(here)).scalar()


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
    """The body of GET .../ledger, of one moment in a `read`: acknowledged = used + refused + waiting."""
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
    buried, given_up = dead_letter_rows.standing(tx, channel)
    waiting |= {words.DEAD_LETTER: buried} if buried else {}
    refused |= {words.UNHANDLED: given_up} if given_up else {}
    total = used + sum(refused.values()) + sum(waiting.values())
    return {"acknowledged": total, "used": used, "refused": refused, "waiting": waiting}


def train_due(tx: Connection, channel: str) -> int:
    """How many corrections have come since the channel's last run was asked for, and wait for one or have in vain."""
    c = schema.feedback.c
    asked = select(func.coalesce(func.max(schema.runs.c.created_ms), 0)).where(schema.runs.c.channel == channel)
    waits = and_(c.state == words.WAITING, c.reason == words.NO_RUN_YET)
    waited = and_(c.state == words.REFUSED, c.reason == words.UNUSED)
    due = and_(c.channel == channel, or_(waits, waited), c.correction.is_not(None))
    query = select(func.count()).where(due, c.at_ms > asked.scalar_subquery())
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
