"""Rows of keys, engines, leases and gateway workers, and the audit trail."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, insert, select

from thumbwheel.errors import LostRace
from thumbwheel.ids import new_id
from thumbwheel.records import Engine, Key
from thumbwheel.store import schema
from thumbwheel.store.connection import bump, insert_or

WORKER_SILENT_MS = 3_000  # a gateway worker that has not polled for so long is taken for dead


def insert_key(tx: Connection, key: Key, now_ms: int) -> None:
    """A new key, by its hash."""
    fields = {"id": key.id, "hash": key.hash, "kind": key.kind, "tenant": key.tenant, "rights": sorted(key.rights)}
    tx.execute(insert(schema.keys).values(**fields, created_ms=now_ms))
    bump(tx)


def all_keys(tx: Connection) -> list[Key]:
    """Every key."""
    return [
        Key(row.id, row.hash, row.kind, row.tenant, frozenset(row.rights)) for row in tx.execute(select(schema.keys))
    ]


def put_engine(tx: Connection, engine: Engine) -> None:
    """Write an engine's row, whether or not it is there."""
    fields = {
        "pool": engine.pool,
        "kind": engine.kind,
        "address": engine.address,
        "base_name": engine.base_name,
        "incarnation": engine.incarnation,
        "state": engine.state,
    }
    statement = insert_or(tx, schema.engines).values(id=engine.id, **fields)
    tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=fields))
    bump(tx)


def remove_engine(tx: Connection, engine: str) -> None:
    """Forget an engine."""
    tx.execute(delete(schema.engines).where(schema.engines.c.id == engine))
    bump(tx)


def all_engines(tx: Connection) -> list[Engine]:
    """Every engine, by id."""
    return [Engine(**row._mapping) for row in tx.execute(select(schema.engines).order_by(schema.engines.c.id))]


def take_lease(tx: Connection, name: str, holder: str, now_ms: int, ttl_ms: int) -> None:
    """Take or renew the lease `name` for `ttl_ms`. Raises LostRace while another holds it.

    One that expires more than twice `ttl_ms` from now was taken before the clock was set back, and is over. Twice,
    since whoever waited for the store has an older `now_ms` than who took the lease meanwhile.
    """
    c = schema.leases.c
    over = (c.expires_ms < now_ms) | (c.expires_ms > now_ms + 2 * ttl_ms)
    held = {"holder": holder, "expires_ms": now_ms + ttl_ms}
    statement = insert_or(tx, schema.leases).values(id=new_id("lease", now_ms), name=name, **held)
    free = (c.holder == holder) | over
    taking = statement.on_conflict_do_update(index_elements=["name"], set_=held, where=free)
    if tx.execute(taking.returning(c.name)).first() is None:
        raise LostRace(f"{name} is held by another")


def drop_lease(tx: Connection, name: str, holder: str) -> None:
    """Give a lease back; nothing happens if it is no longer the holder's."""
    tx.execute(delete(schema.leases).where(schema.leases.c.name == name, schema.leases.c.holder == holder))


def beat(tx: Connection, worker: str, generation: int, now_ms: int) -> None:
    """A gateway worker says that it lives, and up to which generation it has read."""
    fields = {"generation": generation, "heartbeat_ms": now_ms}
    statement = insert_or(tx, schema.workers).values(id=worker, **fields)
    tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=fields))


def laggards(tx: Connection, generation: int, now_ms: int) -> list[str]:
    """The live workers that have not yet read `generation`.

    One whose heartbeat lies as far ahead as would be silence behind died before the clock was set back.
    """
    c = schema.workers.c
    live = c.heartbeat_ms.between(now_ms - WORKER_SILENT_MS + 1, now_ms + WORKER_SILENT_MS - 1)
    query = select(c.id).where(c.generation < generation, live)
    return list(tx.execute(query).scalars())


def record(
    tx: Connection, now_ms: int, who: str, action: str, subject: str, before: Any = None, after: Any = None
) -> None:
    """One row of the audit trail: who did what to which thing, before and after."""
    tx.execute(
        insert(schema.audit).values(
            id=new_id("audit", now_ms),
            at_ms=now_ms,
            who=who,
            action=action,
            subject=subject,
            before=before,
            after=after,
        )
    )


def audit_of(tx: Connection, subject: str) -> list[dict[str, Any]]:
    """The audit rows of one thing, oldest first."""
    query = select(schema.audit).where(schema.audit.c.subject == subject).order_by(schema.audit.c.id)
    return [dict(row._mapping) for row in tx.execute(query)]
