"""Rows of datasets, examples and splits, and the snapshot of feedback from which a dataset is curated.

What a dataset holds is written once, with the feedback's new places in the ledger, in the transaction of the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, insert, or_, select, update

from thumbwheel import ledger as words
from thumbwheel.errors import InvalidRequest, LostRace, NotFound
from thumbwheel.ledger import Seen
from thumbwheel.store import bulk, erasure_rows, release_rows, schema
from thumbwheel.store.connection import hold_ledger


@dataclass(frozen=True)
class ExampleRow:
    """Where a dataset's example came from, and its split."""

    id: str
    feedback: str
    inference: str
    author: str
    split: str
    kind: str = "sft"  # or kto, of a thumb without a correction; or augmented, of another wording of one


@dataclass(frozen=True)
class Ruling:
    """Where a feedback shall stand, if it still is as it was read: at `at_ms`, `seq`, `was`."""

    feedback: str
    at_ms: int
    seq: int
    was: tuple[str, str | None]
    state: str
    reason: str | None


def feedback_with_inferences(tx: Connection, channel: str) -> list[tuple[Row[Any], str | None]]:
    """All feedback of a channel with `messages` and `answer` of its inference, None where that is not there; by id.

    Each with why its inference may not be learnt from (ledger.barred). What was erased is not among it.
    """
    f, i = schema.feedback.c, schema.inferences.c
    columns = (f.id, f.inference, f.author, f.role, f.at_ms, f.seq, f.thumb, f.correction, f.tags, f.state, f.reason)
    joined = schema.feedback.outerjoin(schema.inferences, f.inference == i.id)
    facts = (f.tenant, i.id.label("seen"), i.tenant.label("served"), i.channel.label("by"), i.unit, i.trainable)
    kept = and_(f.channel == channel, func.coalesce(f.reason, "") != words.ERASED)
    query = select(*columns, i.messages, i.answer, *facts).select_from(joined).where(kept).order_by(f.id)
    found: list[Row[Any]] = list(tx.execute(query))
    return [(row, _barred(row, channel)) for row in found]


def tags_of(tx: Connection, feedback: Sequence[str]) -> dict[str, list[str]]:
    """The tags of those of these feedback that have any, by id."""
    f = schema.feedback.c
    found = tx.execute(bulk.look_up(tx, f.id, feedback, (f.id, f.tags)))
    return {row.id: list(row.tags) for row in found if row.tags}


def _barred(row: Row[Any], channel: str) -> str | None:
    if row.seen is None:
        return None
    seen = Seen(row.served, row.by, row.unit, row.trainable, row.messages is not None)
    return words.barred(seen, row.tenant, channel)


def unseen_since(tx: Connection, channel: str, since_ms: int) -> int:
    """How much feedback, received since then, still waits for its inference to arrive."""
    c = schema.feedback.c
    waits = and_(c.channel == channel, c.state == words.WAITING, c.reason == words.INFERENCE_NOT_SEEN)
    return tx.execute(select(func.count()).where(waits, c.at_ms >= since_ms)).scalar_one()


def splits_of(tx: Connection, channel: str) -> dict[str, str]:
    """Group -> split, of every group that a dataset of the channel has held."""
    c = schema.splits.c
    return {row.group: row.split for row in tx.execute(select(c.group, c.split).where(c.channel == channel))}


def splits_by(tx: Connection, dataset: str) -> dict[str, str]:
    """Group -> split, of the groups that this dataset was the first to hold."""
    c = schema.splits.c
    return {row.group: row.split for row in tx.execute(select(c.group, c.split).where(c.dataset == dataset))}


def learnt_from(tx: Connection, release: str) -> str | None:
    """The dataset that a release was trained on; None for a base, or an adapter from elsewhere. Raises NotFound."""
    run = release_rows.get_release(tx, release).run
    return None if run is None else release_rows.get_run(tx, run).dataset


def insert_dataset(
    tx: Connection,
    dataset: str,
    channel: str,
    run: str,
    card: Mapping[str, Any],
    examples: Sequence[ExampleRow],
    new_splits: Mapping[str, str],
    now_ms: int,
) -> None:
    """A frozen dataset with its examples, whose feedback is `used` from now on. One that is there stays as it is.

    Raises LostRace where another dataset has meanwhile fixed a group's split otherwise, or where somebody was erased
    whose words these are.
    """
    hold_ledger(tx)
    _fix_splits(tx, channel, dataset, new_splits)
    c = schema.feedback.c
    held = bulk.among(tx, c.id, [example.feedback for example in examples])
    erased = and_(held, c.state == words.REFUSED, c.reason == words.ERASED)
    if tx.execute(select(c.id).where(erased).limit(1)).first() is not None:
        raise LostRace(f"a person whose words are in dataset {dataset[:12]} was erased meanwhile")
    if tx.execute(select(schema.datasets.c.id).where(schema.datasets.c.id == dataset)).first() is None:
        row = {"id": dataset, "channel": channel, "run": run, "card": dict(card), "created_ms": now_ms}
        tx.execute(insert(schema.datasets).values(**row))
        rows = [{"dataset": dataset, **vars(example)} for example in examples]
        if rows:
            tx.execute(insert(schema.examples), rows)
    used = {"state": words.USED, "reason": None, "dataset": dataset}
    tx.execute(update(schema.feedback).where(held).values(**used))


def _fix_splits(tx: Connection, channel: str, dataset: str, new: Mapping[str, str]) -> None:
    held = splits_of(tx, channel)
    if any(held.get(group, split) != split for group, split in new.items()):
        raise LostRace(f"the splits of channel {channel} changed meanwhile")
    rows = [
        {"channel": channel, "group": group, "split": split, "dataset": dataset}
        for group, split in new.items()
        if group not in held
    ]
    if rows:
        tx.execute(insert(schema.splits), rows)


def rule(tx: Connection, rulings: Iterable[Ruling]) -> None:
    """Write where feedback stands after curation; what has changed since it was read, or is used, keeps its place.

    That a wait was given up meanwhile is no change: curation has looked at it, and the consumer has not.
    """
    c = schema.feedback.c
    rows = [
        {
            "of": ruling.feedback,
            "then_ms": ruling.at_ms,
            "then_seq": ruling.seq,
            "was": ruling.was[0],
            "for": ruling.was[1] or "",
            "gone": gone[0],
            "as": gone[1] or "",
            "to": ruling.state,
            "why": ruling.reason,
        }
        for ruling in rulings
        for gone in (words.given_up(*ruling.was, ruling.at_ms, ruling.at_ms),)
    ]
    if not rows:
        return
    hold_ledger(tx)
    reason = func.coalesce(c.reason, "")
    stands = or_(
        and_(c.state == bindparam("was"), reason == bindparam("for")),
        and_(c.state == bindparam("gone"), reason == bindparam("as")),
    )
    unchanged = and_(c.at_ms == bindparam("then_ms"), c.seq == bindparam("then_seq"), stands)
    moved = update(schema.feedback).where(c.id == bindparam("of"), unchanged, c.state != words.USED)
    tx.execute(moved.values(state=bindparam("to"), reason=bindparam("why")), rows)


def dataset_row(tx: Connection, dataset: str) -> dict[str, Any]:
    """The dataset's row: id, channel, run, card, created_ms. Raises NotFound."""
    row = tx.execute(select(schema.datasets).where(schema.datasets.c.id == dataset)).first()
    if row is None:
        raise NotFound(f"There is no dataset {dataset!r}.", code="dataset_not_found")
    return dict(row._mapping)


def examples_where(tx: Connection, **fields: str) -> list[dict[str, Any]]:
    """The rows of `examples` with these columns, by dataset and id: feedback=..., inference=..., id=..., dataset=..."""
    c = schema.examples.c
    wanted = and_(*(c[name] == value for name, value in fields.items()))
    return [dict(row._mapping) for row in tx.execute(select(schema.examples).where(wanted).order_by(c.dataset, c.id))]


def dataset_named(tx: Connection, name: str) -> dict[str, Any]:
    """The dataset with this id, or whose id begins so, where that is one alone; after an erasure, by the old id too.

    Raises NotFound, InvalidRequest.
    """
    found = _beginning(tx, schema.datasets.c.id, name)
    if not found:
        replaced = {erasure_rows.standing(tx, one) for one in _beginning(tx, schema.tombstones.c.sum, name)}
        found = [one for now in sorted(replaced) for one in _beginning(tx, schema.datasets.c.id, now)]
    if len(found) > 1 and name not in found:
        raise InvalidRequest(f"Several datasets begin with {name!r}; more of the id is right.")
    if not found:
        raise NotFound(
            f"There is no dataset {name!r}; `thumbwheel dataset list` names them, and an id's first characters do.",
            code="dataset_not_found",
        )
    return dataset_row(tx, found[0])


def _beginning(tx: Connection, column: ColumnElement[str], name: str) -> list[str]:
    """The first two sums in the column that begin so."""
    begins = and_(column >= name, column < name + "g")  # they are hex digits
    return list(tx.execute(select(column).where(begins).order_by(column).limit(2)).scalars()) if name else []


def datasets_of(tx: Connection, channel: str | None = None) -> list[dict[str, Any]]:
    """All datasets, or a channel's, in the order in which they were frozen."""
    c = schema.datasets.c
    query = select(schema.datasets).order_by(c.created_ms, c.id)
    return [dict(row._mapping) for row in tx.execute(query if channel is None else query.where(c.channel == channel))]


def last_of(tx: Connection, channel: str) -> dict[str, Any] | None:
    """The channel's last dataset; None where it has none."""
    c = schema.datasets.c
    query = select(schema.datasets).where(c.channel == channel).order_by(c.created_ms.desc(), c.id.desc()).limit(1)
    row = tx.execute(query).first()
    return None if row is None else dict(row._mapping)


def dataset_before(tx: Connection, dataset: str) -> str | None:
    """The one that was frozen last before it on its channel. Raises NotFound."""
    ids = [row["id"] for row in datasets_of(tx, dataset_row(tx, dataset)["channel"])]
    at = ids.index(dataset)
    return ids[at - 1] if at else None
