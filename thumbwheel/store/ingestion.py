"""Events become rows of inferences and feedback, and every feedback gets its place in the ledger.

It is idempotent: an inference counts once, and a feedback that comes again only moves its time of receipt. It is the
consumer's inner loop, so a batch costs the same few statements whatever its size, and rows are made by hand.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from msgspec import json
from sqlalchemy import Connection, Integer, Select, and_, any_, bindparam, case, func, or_, select, update
from sqlalchemy.dialects import postgresql

from thumbwheel import ledger as words
from thumbwheel.events import CurationEvent, FeedbackEvent, InferenceEvent, ProposalEvent
from thumbwheel.ids import day_of
from thumbwheel.ledger import Entry, Seen, Standing, settle, settle_only
from thumbwheel.store import bulk, curation_rows, dead_letter_rows, schema
from thumbwheel.store.connection import hold_ledger, ledger_lock

INFERENCE_FIELDS = tuple(column.name for column in schema.inferences.c)
FEEDBACK_FIELDS = tuple(column.name for column in schema.feedback.c if column.name != "dataset")
MOVING = ("author", "at_ms", "seq", "state", "reason")  # the fields of a feedback that later events change
NO_NUL = "\N{REPLACEMENT CHARACTER}"  # PostgreSQL's text has no NUL; in a name, since another name is another person

_Said = tuple[int, FeedbackEvent]
"""A feedback with its offset in the log."""
_Asked = tuple[bulk.Statement, Mapping[str, object]]
"""A statement with its parameters."""


def ingest(
    tx: Connection,
    inferences: Iterable[InferenceEvent],
    feedbacks: Iterable[_Said],
    curations: Iterable[tuple[int, CurationEvent]] = (),
    *,
    fresh: bool = False,
) -> None:
    """Write events, each feedback with its offset in the log, and settle every feedback that they touch.

    An inference that is there already stays as it is. A feedback that is there already takes the later of the two times
    of receipt, so that the author's latest word counts, however often it was said before. Right beside any other
    transaction (see connection.py): it holds the ledger once the inferences are written, which takes longest.

    Whoever says that all inferences are `fresh` has PostgreSQL take them faster, and IntegrityError where one is not.
    """
    first = {event.id: event for event in reversed(list(inferences))}
    insert = bulk.insert_new if fresh and tx.dialect.name == "postgresql" else bulk.insert_missing
    insert(tx, schema.inferences, INFERENCE_FIELDS, [first[id_] for id_ in sorted(first)], _inference_row)
    told = list(curations)
    curation_rows.keep(tx, told)
    said: dict[str, _Said] = {}
    for seq, event in feedbacks:
        if event.id not in said or (event.at_ms, seq) > (said[event.id][1].at_ms, said[event.id][0]):
            said[event.id] = seq, event
    if first or said:
        _settle(tx, first.keys(), said)
    _note_proposals(tx, {event.feedback for _, event in told if isinstance(event, ProposalEvent)})


def _settle(tx: Connection, arrived: Collection[str], said: Mapping[str, _Said]) -> None:
    """Hold the ledger; write what was `said` now, and where all feedback stands on its inferences and on those that
    have `arrived`, where that has changed.
    """
    spoken_of = sorted(dict.fromkeys(event.inference for _, event in said.values()))  # nearly in order: soon done
    every = sorted({*arrived, *spoken_of}) if arrived else spoken_of
    asked = [*((statement, {}) for statement in ledger_lock(tx)), _feedback_on(tx, every)]
    answers = bulk.in_one_trip(tx, [*asked, _seen(tx, spoken_of)] if said else asked)
    of_them = answers.pop() if said else []
    held: dict[str, Entry] = {}
    groups: dict[str, list[Entry]] = {}
    for row in answers.pop():
        entry = Entry(*row[1:])
        held[entry.id] = entry
        groups.setdefault(row[0], []).append(_latest(entry, said.get(entry.id)))
    if others := groups.keys() - spoken_of:
        of_them = [*of_them, *bulk.in_one_trip(tx, [_seen(tx, sorted(others))])[0]]
    seen = {row[0]: row[1:] for row in of_them}
    only: dict[
        str, str
    ] = {}  # the feedback on an inference that has no other: nearly all are, and settled when written
    for id_, (seq, event) in said.items():
        on = event.inference
        if id_ in held:
            continue
        if on not in groups and on not in only:
            only[on] = id_
            continue
        if on in only:
            groups[on] = [_entry(*said[only.pop(on)])]
        groups[on].append(_entry(seq, event))
    fresh, moved = {}, []
    for inference, group in groups.items():
        standings = settle(_as_seen(seen.get(inference)), group)
        for entry in group:
            stands, before = standings[entry.id], held.get(entry.id)
            if before is None:
                fresh[entry.id] = stands
            elif _moving(entry, stands) != _moving(before, before):
                values = zip(MOVING, _moving(entry, stands), strict=True)
                moved.append({"of": entry.id, **{f"new_{name}": value for name, value in values}})

    def row_of(id_: str) -> tuple[object, ...]:
        seq, event = said[id_]
        stands = fresh.get(id_) or settle_only(_as_seen(seen.get(event.inference)), _entry(seq, event))
        return _feedback_row(seq, event, stands)

    bulk.insert_new(tx, schema.feedback, FEEDBACK_FIELDS, sorted([*fresh, *only.values()]), row_of)
    if moved:
        changes: dict[str, Any] = {name: bindparam(f"new_{name}") for name in MOVING}
        tx.execute(update(schema.feedback).where(schema.feedback.c.id == bindparam("of")).values(**changes), moved)


def _note_proposals(tx: Connection, feedback: Collection[str]) -> None:
    """What waits without a correction, or did until its window was over, waits for a reviewer once a model has proposed
    one.

    Of a proposal that is read before its feedback, as a replay may, the next freeze takes note.
    """
    if not feedback:
        return
    hold_ledger(tx)
    c = schema.feedback.c
    waits = and_(c.state == words.WAITING, c.reason == words.NO_CORRECTION)
    waited = and_(c.state == words.REFUSED, c.reason == words.UNCORRECTED)
    moved = update(schema.feedback).where(bulk.among(tx, c.id, sorted(feedback)), or_(waits, waited))
    tx.execute(moved.values(state=words.WAITING, reason=words.PROPOSED))


def _moving(entry: Entry, stands: Standing | Entry) -> tuple[object, ...]:
    return stands.author, entry.at_ms, entry.seq, stands.state, stands.reason


def _as_seen(fields: Sequence[Any] | None) -> Seen | None:
    return None if fields is None else Seen(*fields)


def _entry(seq: int, event: FeedbackEvent) -> Entry:
    return Entry(
        event.id,
        event.tenant,
        event.channel,
        event.author,
        event.at_ms,
        seq,
        event.correction is not None,
        words.WAITING,
        words.INFERENCE_NOT_SEEN,
    )


def _latest(held: Entry, said: _Said | None) -> Entry:
    if said is None or (said[1].at_ms, said[0]) <= (held.at_ms, held.seq):
        return held
    place = (held.tenant, held.channel, held.author, said[1].at_ms, said[0], held.corrects)
    is_later = said[1].at_ms > held.at_ms  # and no record that comes again
    stands = words.taken_up(held.state, held.reason) if is_later else (held.state, held.reason)
    return Entry(held.id, *place, *stands)


def _feedback_on(tx: Connection, inferences: Sequence[str]) -> _Asked:
    """Rows of an inference, and an Entry's fields."""
    return _feedback_look_up(tx.dialect.name), {"listed": bulk.listed(inferences)}


def _seen(tx: Connection, inferences: Sequence[str]) -> _Asked:
    """Rows of an inference, and a Seen's fields."""
    dialect, wanted = tx.dialect.name, {"listed": bulk.listed(inferences)}
    days = {"days": sorted(set(map(day_of, inferences)))} if dialect == "postgresql" else {}
    return _inference_look_up(dialect), {**wanted, **days}


@cache
def _feedback_look_up(dialect: str) -> Select[Any]:
    c = schema.feedback.c
    columns = (c.id, c.tenant, c.channel, c.author, c.at_ms, c.seq, c.correction.is_not(None), c.state, c.reason)
    return bulk.looking_up(dialect, c.inference, (c.inference, *columns))


@cache
def _inference_look_up(dialect: str) -> Select[Any]:
    """Their days are named too, so that PostgreSQL looks into no other partition."""
    i = schema.inferences.c
    query = select(i.id, i.tenant, i.channel, i.unit, i.trainable, i.messages.is_not(None))
    if dialect != "postgresql":
        return query.where(i.id.in_(bulk.in_list(dialect)))
    days = bindparam("days", type_=postgresql.ARRAY(Integer))
    return query.where(i.id == any_(func.array(bulk.in_list(dialect).scalar_subquery())), i.day == any_(days))


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
        _written(event.answer),
        _text(event.finish_reason),
        event.prompt_tokens,
        event.completion_tokens,
        event.ttft_ms,
        event.e2e_ms,
        _json(event.flags) if event.flags else "[]",
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
        _written(event.comment),
        _written(event.correction),
        _json(event.tags) if event.tags else "[]",
        _json(event.metrics) if event.metrics else "{}",
        stands.state,
        stands.reason,
    )


def _text(text: str | None) -> str | None:
    return text.replace("\0", NO_NUL) if text is not None and "\0" in text else text


def _written(text: str | None) -> str | None:
    """What somebody wrote, without NULs, which are control characters that curation drops anyway."""
    return text.replace("\0", "") if text is not None and "\0" in text else text


def _json(value: object) -> str:
    return json.encode(value).decode()


def give_up(tx: Connection, received_ms: int) -> int:
    """Refuse what was received at `received_ms` or before and waits for anything but a reviewer; how many it is.

    Dead letters too, which are received when they are buried.
    """
    hold_ledger(tx)
    c = schema.feedback.c
    waits = and_(c.state == words.WAITING, c.reason.in_(sorted(words.GIVEN_UP)), c.at_ms <= received_ms)
    refused = update(schema.feedback).where(waits)
    refused = refused.values(state=words.REFUSED, reason=case(dict(words.GIVEN_UP), value=c.reason))
    return tx.execute(refused).rowcount + dead_letter_rows.give_up(tx, received_ms)
