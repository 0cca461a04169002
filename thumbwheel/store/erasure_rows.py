"""What the store holds of erased persons, taken out of its rows: texts go, and names become tombstones.

The rows stay, so that the ledger adds up and rollouts are judged by what they were judged by: an erased inference has
neither messages nor answer, and what anybody said of it, or the person of anything, is `refused (erased)` without a
text, even where it was `used`. Datasets and their examples are the job's (thumbwheel/erasing), which rewrites the files
that these rows name.

Everything here is idempotent and may run beside anything else (see connection.py).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, null, or_, select, update

from thumbwheel import events
from thumbwheel.erasure import (
    TOMBSTONE,
    Erased,
    erased_by,
    is_tombstone,
    scrubbed,
    scrubbed_curation,
    tombstone,
    without_names,
)
from thumbwheel.events import CurationEvent, ErasureEvent, ExclusionEvent
from thumbwheel.ledger import ERASED, REFUSED
from thumbwheel.store import bulk, schema
from thumbwheel.store.connection import hold_ledger, insert_or

BARE: Mapping[str, Any] = {"comment": None, "correction": None, "tags": [], "metrics": {}}


@dataclass(frozen=True)
class Theirs:
    """The ids of what is erased persons' own in the store, each with whose it is: feedback that somebody else gave on a
    person's inference is gone as well, and is that person's here.
    """

    inferences: Mapping[str, str]
    feedback: Mapping[str, frozenset[str]]


def erased(tx: Connection, secret: bytes) -> Erased:
    """Everybody who is erased, as far as the store knows."""
    c = schema.curations.c
    # `channel is null` has PostgreSQL look into the index; the rest of the table may be long.
    query = select(c.event).where(c.channel.is_(None), c.type == ErasureEvent.__struct_config__.tag)
    return erased_by([msgspec.convert(body, ErasureEvent) for body in tx.execute(query).scalars()], secret)


def theirs(tx: Connection, erased: Erased) -> Theirs:
    """What `forget` has found to be theirs."""
    i, f = schema.inferences.c, schema.feedback.c
    units = tx.execute(select(i.id, i.unit).where(bulk.among(tx, i.unit, _tombstones(erased)))).all()
    inferences = {id_: unit.removeprefix(TOMBSTONE) for id_, unit in units}
    feedback = {}
    for id_, author, inference in tx.execute(
        select(f.id, f.author, f.inference).where(f.state == REFUSED, f.reason == ERASED)
    ):
        said = {author.removeprefix(TOMBSTONE)} if is_tombstone(author) else set()
        feedback[id_] = frozenset(said | ({inferences[inference]} if inference in inferences else set()))
    return Theirs(inferences, feedback)


def forget(tx: Connection, erased: Erased) -> int:
    """Take them out of inferences, feedback, curations, dead letters and audit; how many rows have changed."""
    if not erased:
        return 0
    changed = _forget_units(tx, erased)
    hold_ledger(tx)
    changed += _forget_authors(tx, erased)
    i = schema.inferences.c
    changed += _bare_feedback(tx, select(i.id).where(bulk.among(tx, i.unit, _tombstones(erased))), erased)
    own = theirs(tx, erased)
    return changed + _forget_curations(tx, erased, own) + _forget_letters(tx, erased, own) + _forget_audit(tx, erased)


def forget_late(tx: Connection, erased: Erased, inferences: Collection[str]) -> None:
    """As `forget`, of what has just been said of `inferences` or come of them; `scrubbed` was all that came."""
    if not erased or not inferences:
        return
    i = schema.inferences.c
    among = and_(bulk.among(tx, i.id, sorted(inferences)), bulk.among(tx, i.unit, _tombstones(erased)))
    now = bulk.among(tx, schema.feedback.c.inference, sorted(inferences))
    _bare_feedback(tx, select(i.id).where(among), erased, now)


def forget_curations_late(tx: Connection, said: Collection[CurationEvent]) -> None:
    """Take the texts out of what came now about feedback that is erased already."""
    f, c = schema.feedback.c, schema.curations.c
    about = sorted({event.feedback for event in said if not isinstance(event, ExclusionEvent | ErasureEvent)})
    if not about:
        return
    gone = tx.execute(select(f.id).where(bulk.among(tx, f.id, about), f.state == REFUSED, f.reason == ERASED)).scalars()
    held = frozenset(gone)
    for event in said:
        if getattr(event, "feedback", None) in held:
            body = msgspec.to_builtins(scrubbed_curation(event, Erased(), held))
            tx.execute(update(schema.curations).where(c.id == event.id).values(event=body))


def _tombstones(erased: Erased) -> list[str]:
    return sorted(map(tombstone, erased.persons))


def _forget_units(tx: Connection, erased: Erased) -> int:
    """By their names, which no index has: one look at every inference, however many persons there are."""
    i = schema.inferences.c
    named = [row for row in tx.execute(select(i.tenant, i.unit).distinct()) if erased.holds(row.tenant, row.unit)]
    changed = 0
    for tenant, unit in named:
        gone = {"messages": null(), "answer": None, "error": None, "unit": erased.named(tenant, unit)}
        held = or_(i.messages.is_not(None), i.answer.is_not(None), i.error.is_not(None), i.unit != gone["unit"])
        where = and_(i.tenant == tenant, i.unit == unit, held)
        changed += tx.execute(update(schema.inferences).where(where).values(**gone)).rowcount
    return changed


def _forget_authors(tx: Connection, erased: Erased) -> int:
    f = schema.feedback.c
    changed = 0
    for tenant, author in tx.execute(select(f.tenant, f.author).where(f.author.is_not(None)).distinct()).all():
        if erased.holds(tenant, author) and not is_tombstone(author):
            where = and_(f.tenant == tenant, f.author == author)
            gone = {**BARE, "author": erased.named(tenant, author), "state": REFUSED, "reason": ERASED, "dataset": None}
            changed += tx.execute(update(schema.feedback).where(where).values(**gone)).rowcount
    return changed


def _bare_feedback(tx: Connection, inferences: Any, erased: Erased, more: ColumnElement[bool] | None = None) -> int:
    """What was said of their inferences, by whomever, or by them."""
    f = schema.feedback.c
    own = or_(f.inference.in_(inferences), bulk.among(tx, f.author, _tombstones(erased)))
    where = and_(own, _not_bare()) if more is None else and_(own, more, _not_bare())
    gone = {**BARE, "state": REFUSED, "reason": ERASED, "dataset": None}
    return tx.execute(update(schema.feedback).where(where).values(**gone)).rowcount


def _not_bare() -> ColumnElement[bool]:
    f = schema.feedback.c
    return or_(f.state != REFUSED, f.reason.is_(None), f.reason != ERASED)


def _forget_curations(tx: Connection, erased: Erased, own: Theirs) -> int:
    c = schema.curations.c
    authors = c.type == ExclusionEvent.__struct_config__.tag
    query = select(c.id, c.event).where(or_(bulk.among(tx, c.feedback, sorted(own.feedback)), authors))
    changed = 0
    for id_, body in tx.execute(query).all():
        event = events.decode(msgspec.json.encode(body))
        bare = scrubbed(event, erased, feedback=own.feedback)
        if bare != event:
            values = {"event": msgspec.json.decode(events.encode(bare))}
            changed += tx.execute(update(schema.curations).where(c.id == id_).values(**values)).rowcount
    return changed


def _forget_letters(tx: Connection, erased: Erased, own: Theirs) -> int:
    d = schema.dead_letters.c
    changed = 0
    for row in tx.execute(select(schema.dead_letters)).all():
        bare = bare_record(row.key, bytes(row.value), erased, own)
        if bare is not None:
            where = and_(d.topic == row.topic, d.partition == row.partition, d.position == row.position)
            values = {"value": bare, "reason": "erased: what it held is gone"}
            changed += tx.execute(update(schema.dead_letters).where(where).values(**values)).rowcount
    return changed


def bare_record(key: str, value: bytes, erased: Erased, own: Theirs) -> bytes | None:
    """What is left of a record of the log; None where nothing of it is theirs.

    Of one that cannot be read, and whose key or whose fields say that it is theirs, nothing but its id.
    """
    try:
        event = events.decode(value)
    except msgspec.DecodeError:
        return _bare_unreadable(key, value, erased, own)
    bare = scrubbed(event, erased, own.inferences, own.feedback)
    return None if bare == event else events.encode(bare)


def _bare_unreadable(key: str, value: bytes, erased: Erased, own: Theirs) -> bytes | None:
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    said: dict[str, Any] = found if isinstance(found, dict) else {}
    if said.get("type") == ERASED:
        return None
    tenant = said.get("tenant")
    names = [said.get(name) for name in ("unit", "author")]
    named = isinstance(tenant, str) and any(isinstance(one, str) and erased.holds(tenant, one) for one in names)
    about = {one for one in (key, said.get("id"), said.get("inference"), said.get("feedback")) if isinstance(one, str)}
    if not named and about.isdisjoint(own.inferences) and about.isdisjoint(own.feedback):
        return None
    return msgspec.json.encode({"type": ERASED, "id": said.get("id"), "channel": said.get("channel")})


def _forget_audit(tx: Connection, erased: Erased) -> int:
    a = schema.audit.c
    changed = 0
    for row in tx.execute(select(schema.audit)).all():
        held = {"subject": row.subject, "before": row.before, "after": row.after}
        bare = without_names(held, erased)
        if bare != held:
            changed += tx.execute(update(schema.audit).where(a.id == row.id).values(**bare)).rowcount
    return changed


# datasets


def move_dataset(
    tx: Connection, old: str, new: str, card: Mapping[str, Any], gone: Collection[str], now_ms: int
) -> bool:
    """Whatever names the dataset `old` names `new` from now on, which lacks the examples `gone`; False if it did so."""
    e, d = schema.examples.c, schema.datasets.c
    first = _bury(tx, old, new, now_ms)
    tx.execute(delete(schema.examples).where(e.dataset == old, bulk.among(tx, e.id, sorted(gone))))
    tx.execute(update(schema.examples).where(e.dataset == old).values(dataset=new))
    tx.execute(update(schema.datasets).where(d.id == old).values(id=new, card=dict(card)))
    for table in (schema.runs, schema.splits, schema.feedback):
        tx.execute(update(table).where(table.c.dataset == old).values(dataset=new))
    return first


def _bury(tx: Connection, old: str, new: str, now_ms: int) -> bool:
    kept = {"sum": old, "now": new, "at_ms": now_ms}
    statement = insert_or(tx, schema.tombstones).values(**kept).on_conflict_do_nothing()
    return tx.execute(statement.returning(schema.tombstones.c.sum)).first() is not None


def move_archive(tx: Connection, old: str, new: str) -> None:
    """The archive is another artifact now."""
    tx.execute(update(schema.archives).where(schema.archives.c.artifact == old).values(artifact=new))


def move_segment(tx: Connection, old: str, new: str) -> None:
    """The segment of the log is another artifact now."""
    tx.execute(update(schema.segments).where(schema.segments.c.artifact == old).values(artifact=new))


def move_report(tx: Connection, old: str, new: str, now_ms: int) -> None:
    """The report is another artifact now, for its run and its release."""
    _bury(tx, old, new, now_ms)
    for table in (schema.runs, schema.releases):
        tx.execute(update(table).where(table.c.report == old).values(report=new))


def named(tx: Connection) -> list[str]:
    """The sums of all artifacts that may have been replaced, as the rows name them."""
    columns = (schema.datasets.c.id, schema.runs.c.report, schema.archives.c.artifact, schema.segments.c.artifact)
    return sorted({one for column in columns for one in tx.execute(select(column)).scalars() if one is not None})


def standing(tx: Connection, sum_: str) -> str:
    """The sum that has taken the place of `sum_`, after erasures; itself where none has."""
    t = schema.tombstones.c
    seen = {sum_}
    while (now := tx.execute(select(t.now).where(t.sum == sum_)).scalar_one_or_none()) and now not in seen:
        seen.add(now)
        sum_ = now
    return sum_
