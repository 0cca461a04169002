"""Records that the consumer could not handle: kept byte for byte under the place where they lay, until redriven.

A feedback among them was acknowledged, so it counts in its channel's ledger as waiting, where the channel can be known.
It knows nothing of what is wrong with a record.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, exists, func, select, update

from thumbwheel.eventlog import Record
from thumbwheel.events import FEEDBACK
from thumbwheel.store import schema
from thumbwheel.store.connection import insert_or

NO_NUL = "\N{REPLACEMENT CHARACTER}"  # PostgreSQL's text has no NUL


@dataclass(frozen=True)
class DeadLetter:
    """One of them. `channel` and `event` (its id) are None where they cannot be read.

    `given_up` once it has waited for a feedback window: it can be redriven all the same.
    """

    record: Record
    reason: str
    at_ms: int
    channel: str | None
    event: str | None
    given_up: bool = False

    @property
    def name(self) -> str:
        """What a person calls it by: topic/partition/offset."""
        return f"{self.record.topic}/{self.record.partition}/{self.record.offset}"


def bury(tx: Connection, letter: DeadLetter) -> None:
    """Keep it; once, where its record is read again."""
    record = letter.record
    place = {"topic": record.topic, "partition": record.partition, "position": record.offset}
    told = {
        "key": _text(record.key),
        "value": record.value,
        "reason": _text(letter.reason),
        "at_ms": letter.at_ms,
        "channel": _text(letter.channel),
        "event": _text(letter.event),
        "given_up": letter.given_up,
    }
    statement = insert_or(tx, schema.dead_letters).values(**place, **told)
    tx.execute(statement.on_conflict_do_update(index_elements=list(place), set_=told))


def _text(text: str | None) -> str | None:
    """What both databases take: no NUL, and no half of a surrogate pair."""
    return None if text is None else text.replace("\0", NO_NUL).encode(errors="replace").decode()


def count(tx: Connection) -> int:
    """How many there are."""
    return tx.execute(select(func.count()).select_from(schema.dead_letters)).scalar_one()


def standing(tx: Connection, channel: str) -> tuple[int, int]:
    """How many acknowledged feedbacks of the channel are here and nowhere else, each once: that wait, and given up."""
    c = schema.dead_letters.c
    ingested = exists().where(schema.feedback.c.id == c.event)
    here = and_(c.topic == FEEDBACK, c.channel == channel, ~ingested)
    every, waiting = _count(tx, here), _count(tx, and_(here, ~c.given_up))
    return waiting, every - waiting


def _count(tx: Connection, here: ColumnElement[bool]) -> int:
    c = schema.dead_letters.c
    known = select(func.count(c.event.distinct())).where(here)
    unknown = select(func.count()).where(here, c.event.is_(None))
    return tx.execute(known).scalar_one() + tx.execute(unknown).scalar_one()


def give_up(tx: Connection, buried_ms: int) -> int:
    """No longer wait for those that were buried at `buried_ms` or before; how many it is."""
    c = schema.dead_letters.c
    waits = and_(~c.given_up, c.at_ms <= buried_ms)
    return tx.execute(update(schema.dead_letters).where(waits).values(given_up=True)).rowcount


def of_feedback(tx: Connection, feedback: str) -> DeadLetter | None:
    """The latest whose record holds this feedback, where it was not ingested another time."""
    c = schema.dead_letters.c
    ingested = exists().where(schema.feedback.c.id == c.event)
    found = _where(tx, and_(c.event == feedback, c.topic == FEEDBACK, ~ingested))
    return found[-1] if found else None


def listed(tx: Connection, limit: int, topic: str | None = None, channel: str | None = None) -> list[DeadLetter]:
    """The oldest of them, up to `limit`."""
    c = schema.dead_letters.c
    wanted = [column == value for column, value in ((c.topic, topic), (c.channel, channel)) if value is not None]
    return _where(tx, and_(True, *wanted), limit)


def find(tx: Connection, topic: str, partition: int, offset: int) -> DeadLetter | None:
    """The one that lay at this place."""
    return next(iter(_where(tx, _at(topic, partition, offset))), None)


def remove(tx: Connection, record: Record) -> bool:
    """Take it out, once it is in the log again; whether it was there."""
    here = _at(record.topic, record.partition, record.offset)
    return tx.execute(delete(schema.dead_letters).where(here)).rowcount == 1


def _at(topic: str, partition: int, offset: int) -> ColumnElement[bool]:
    c = schema.dead_letters.c
    return and_(c.topic == topic, c.partition == partition, c.position == offset)


def _where(tx: Connection, wanted: ColumnElement[bool], limit: int | None = None) -> list[DeadLetter]:
    c = schema.dead_letters.c
    query = select(schema.dead_letters).where(wanted).order_by(c.at_ms, c.topic, c.partition, c.position).limit(limit)
    return [_letter(row) for row in tx.execute(query)]


def _letter(row: Row[tuple[object, ...]]) -> DeadLetter:
    record = Record(row.topic, row.partition, row.position, row.key, bytes(row.value))
    return DeadLetter(record, row.reason, row.at_ms, row.channel, row.event, row.given_up)
