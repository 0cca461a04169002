"""Events become rows of inferences and feedback, and every feedback gets its place in the ledger.

It is idempotent: an inference counts once, and a feedback that comes again only moves its time of receipt. It is the
consumer's inner loop, so a batch costs the same few statements whatever its size, and rows are made by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec import json
from sqlalchemy import ColumnElement, Connection, and_, bindparam, select, update

from thumbwheel import ledger as words
from thumbwheel.events import FeedbackEvent, InferenceEvent
from thumbwheel.ids import day_of
from thumbwheel.ledger import Entry, Seen, Standing, settle
from thumbwheel.store import bulk, schema
from thumbwheel.store.connection import hold_ledger

INFERENCE_FIELDS = tuple(column.name for column in schema.inferences.c)
FEEDBACK_FIELDS = tuple(column.name for column in schema.feedback.c if column.name != "dataset")
MOVING = ("author", "at_ms", "seq", "state", "reason")  # the fields of a feedback that later events change
NO_NUL = "\N{REPLACEMENT CHARACTER}"  # PostgreSQL's text has no NUL

_Said = tuple[int, FeedbackEvent]
"""A feedback with its offset in the log."""


def ingest(tx: Connection, inferences: Iterable[InferenceEvent], feedbacks: Iterable[_Said]) -> None:
    """Write events, each feedback with its offset in the log, and settle every feedback that they touch.

    An inference that is there already stays as it is. A feedback that is there already takes the later of the two times
    of receipt, so that the author's latest word counts, however often it was said before. Right beside any other
    transaction (see connection.py): it holds the ledger once the inferences are written, which takes longest.
    """
    first = {event.id: event for event in reversed(list(inferences))}
    rows = [_inference_row(first[id_]) for id_ in sorted(first)]
    bulk.insert_missing(tx, schema.inferences, INFERENCE_FIELDS, rows)
    said: dict[str, _Said] = {}
    for seq, event in feedbacks:
        if event.id not in said or (event.at_ms, seq) > (said[event.id][1].at_ms, said[event.id][0]):
            said[event.id] = seq, event
    hold_ledger(tx)
    _settle(tx, {*first, *(event.inference for _, event in said.values())}, said)


def _settle(tx: Connection, inferences: Collection[str], said: Mapping[str, _Said]) -> None:
    """Write what was `said` of these inferences now, and where all feedback on them stands, where that has changed."""
    held: dict[str, Entry] = {}
    groups: dict[str, list[Entry]] = {}
    for inference, entry in _feedback_on(tx, inferences):
        held[entry.id] = entry
        groups.setdefault(inference, []).append(_latest(entry, said.get(entry.id)))
    for id_, (seq, event) in said.items():
        if id_ not in held:
            groups.setdefault(event.inference, []).append(_entry(seq, event))
    seen = _seen(tx, groups) if groups else {}
    fresh, moved = [], []
    for inference, group in groups.items():
        standings = settle(seen.get(inference), group)
        for entry in group:
            stands, before = standings[entry.id], held.get(entry.id)
            if before is None:
                fresh.append(_feedback_row(*said[entry.id], stands))
            elif _moving(entry, stands) != _moving(before, before):
                values = zip(MOVING, _moving(entry, stands), strict=True)
                moved.append({"of": entry.id, **{f"new_{name}": value for name, value in values}})
    bulk.insert_new(tx, schema.feedback, FEEDBACK_FIELDS, sorted(fresh))
    if moved:
        changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in MOVING}
        tx.execute(update(schema.feedback).where(schema.feedback.c.id == bindparam("of")).values(**changes), moved)


def _moving(entry: Entry, stands: Standing | Entry) -> tuple[object, ...]:
    return stands.author, entry.at_ms, entry.seq, stands.state, stands.reason


def _entry(seq: int, event: FeedbackEvent) -> Entry:
    corrects = event.correction is not None
    place = (event.tenant, event.channel, event.author, event.at_ms, seq, corrects)
    return Entry(event.id, *place, words.WAITING, words.INFERENCE_NOT_SEEN)


def _latest(held: Entry, said: _Said | None) -> Entry:
    if said is None or (said[1].at_ms, said[0]) <= (held.at_ms, held.seq):
        return held
    place = (held.tenant, held.channel, held.author, said[1].at_ms, said[0], held.corrects)
    return Entry(held.id, *place, held.state, held.reason)


def _feedback_on(tx: Connection, inferences: Collection[str]) -> list[tuple[str, Entry]]:
    c = schema.feedback.c
    columns = (c.id, c.tenant, c.channel, c.author, c.at_ms, c.seq, c.correction.is_not(None), c.state, c.reason)
    found = tx.execute(bulk.look_up(tx, c.inference, sorted(inferences), (c.inference, *columns)))
    return [(inference, Entry(*fields)) for inference, *fields in found]


def _seen(tx: Connection, inferences: Collection[str]) -> dict[str, Seen]:
    i = schema.inferences.c
    columns = (i.id, i.tenant, i.channel, i.unit, i.trainable, i.messages.is_not(None))
    return {id_: Seen(*fields) for id_, *fields in tx.execute(select(*columns).where(at(tx, sorted(inferences))))}


def at(tx: Connection, inferences: Sequence[str]) -> ColumnElement[bool]:
    """The rows of these inferences; their days are named too, so that PostgreSQL looks into no other partition."""
    c = schema.inferences.c
    return and_(bulk.among(tx, c.id, inferences), c.day.in_(sorted(set(map(day_of, inferences)))))


def _inference_row(event: InferenceEvent) -> tuple[object, ...]:
    return (
        event.id,
        _text(event.tenant),
        _text(event.channel),
        _text(event.unit),
        event.at_ms,
        event.assigned,
        event.role,
        event.served_by,
        event.rollout,
        event.status,
        event.streamed,
        None if event.messages is None else _json(event.messages),
        _text(event.answer),
        _text(event.finish_reason),
        event.prompt_tokens,
        event.completion_tokens,
        event.ttft_ms,
        event.e2e_ms,
        _json(event.flags),
        _text(event.error),
        event.trainable,
        day_of(event.id),
    )


def _feedback_row(seq: int, event: FeedbackEvent, stands: Standing) -> tuple[object, ...]:
    return (
        event.id,
        event.inference,
        _text(event.tenant),
        _text(event.channel),
        event.at_ms,
        seq,
        _text(stands.author),
        event.role,
        event.thumb,
        event.score,
        _text(event.comment),
        _text(event.correction),
        _json(event.tags),
        _json(event.metrics),
        stands.state,
        stands.reason,
    )


def _text(text: str | None) -> str | None:
    return text.replace("\0", NO_NUL) if text is not None and "\0" in text else text


def _json(value: object) -> str:
    return json.encode(value).decode()


def give_up_unseen(tx: Connection, received_ms: int) -> int:
    """Refuse the feedback, received at `received_ms` or before, whose inference has not arrived; how many it is."""
    hold_ledger(tx)
    c = schema.feedback.c
    waits = and_(c.state == words.WAITING, c.reason == words.INFERENCE_NOT_SEEN, c.at_ms <= received_ms)
    refused = {"state": words.REFUSED, "reason": words.INFERENCE_UNKNOWN}
    return tx.execute(update(schema.feedback).where(waits).values(**refused)).rowcount
