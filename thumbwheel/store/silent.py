"""Sessions that hold PostgreSQL's locks and say nothing: found by whoever is held up, and ended.

A process that hangs within a write (stopped, swapped out, or on a machine that is paused) keeps what it has locked, and
whoever takes its place could only wait. PostgreSQL ends a transaction that is idle for too long by itself, but does not
count while a COPY waits for its client's next row, nor after a pipeline. There, whoever has waited for a lock in vain
counts: a session that at two looks, so long apart, was waiting for its client and had heard nothing of it in between,
is ended. Its transaction is rolled back, and its process, should it go on, finds its connection broken.

Only sessions of the same user, database and `application_name` are looked at, and of these the ones within a write: a
user may see and end his own sessions, so no right is needed. It knows nothing of consumers and of who is whose heir.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

# Who has been given a transaction's number, or holds an advisory lock, is within a write. What was heard last shows in
# when its statement and its state began, and in how much of a COPY has come.
FOUND = """
    select a.pid, concat_ws(' ', a.backend_start, a.xact_start, a.query_start, a.state_change, c.bytes_processed) heard
    from pg_stat_activity a left join pg_stat_progress_copy c on c.pid = a.pid
    where a.pid <> pg_backend_pid() and a.datname = current_database() and a.usename = current_user
        and a.application_name = current_setting('application_name') and a.wait_event_type = 'Client'
        and (a.backend_xid is not null
            or exists (select from pg_locks l where l.pid = a.pid and l.locktype = 'advisory' and l.granted))
"""
END = f"select pg_terminate_backend(pid) from ({FOUND}) found where pid = %s and heard = %s"

log_lines = logging.getLogger("thumbwheel.store")


@dataclass(frozen=True)
class Session:
    """A backend's process id, and what tells whether anything was heard of its client since it was last looked at."""

    pid: int
    heard: str


def look(connection: psycopg.Connection) -> list[Session]:
    """The sessions of ours that wait for their clients within a write, at this moment. Raises psycopg.Error."""
    return [Session(pid, heard) for pid, heard in connection.execute(FOUND).fetchall()]


def since(now_s: float, before: Mapping[Session, float], found: Collection[Session]) -> dict[Session, float]:
    """Since when each of `found` has been silent, as far as anybody has looked."""
    return {one: before.get(one, now_s) for one in found}


def overdue(now_s: float, silent: Mapping[Session, float], most_s: float) -> list[Session]:
    """Those that have been silent for `most_s`."""
    return [one for one, from_s in silent.items() if now_s - from_s >= most_s]


def end(connection: psycopg.Connection, session: Session) -> bool:
    """End the session, unless something has been heard of its client by now. Raises psycopg.Error."""
    row = connection.execute(END.encode(), (session.pid, session.heard)).fetchone()
    return row is not None and bool(row[0])


def end_overdue(
    connection: psycopg.Connection, before: Mapping[Session, float], now_s: float, most_s: float
) -> dict[Session, float]:
    """Look, and end what has been silent for `most_s`, given what was found `before`; what is found now.

    The connection commits by itself. Raises psycopg.Error.
    """
    silent = since(now_s, before, look(connection))
    for one in overdue(now_s, silent, most_s):
        if end(connection, one):
            log_lines.warning(
                "ended session %d of PostgreSQL: within a write, it had said nothing for %g s or longer while others "
                "waited for its locks; its process hangs, or its machine is paused",
                *(one.pid, most_s),
            )
    return silent
