"""What a PostgreSQL server's files hold of rows that were removed or overwritten, until when, and how they lose it.

A row that is gone is shown to nobody. Its bytes lie in its table's file until others take their room, its former values
in the statistics that the planner keeps of each column, and all of it in the write-ahead log. It knows nothing of disks
whose blocks outlive a file, and of what administrators copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import psycopg
from sqlalchemy import Connection, text

STATISTICS = "pg_statistic"  # of whose rows the same is true; a user who does not own the database is told so, no more
SETTINGS = text(
    "select name, setting from pg_settings "
    "where name in ('max_wal_size', 'wal_keep_size', 'archive_mode', 'checkpoint_timeout')"
)
SLOTS = text("select count(*) from pg_replication_slots")
FREED = (
    "what was removed is shown to nobody, and lies in the server's files until later rows take its room, which may be "
    "never; `--rewrite-tables` writes them anew"
)


def vacuum(connection: psycopg.Connection, tables: Collection[str], *, rewrite: bool) -> None:
    """Let what is gone be overwritten, and take the statistics anew; `rewrite` writes each table's files anew.

    The connection commits by itself. Raises psycopg.Error: a table that is to be rewritten is shut to everybody else,
    so whoever reads it for long is in the way.
    """
    full = "full, " if rewrite else ""
    for named in (", ".join(tables), STATISTICS):
        connection.execute(f"vacuum ({full}analyze) {named}".encode())


def remains(tx: Connection, *, rewritten: bool) -> dict[str, str] | None:
    """Where the server may still hold what is gone -> until when; None on SQLite, whose files are always written anew.

    `rewritten`: the tables were just now.
    """
    if tx.dialect.name != "postgresql":
        return None
    held = {row.name: row.setting for row in tx.execute(SETTINGS)}
    minutes = int(held["checkpoint_timeout"]) / 60
    anew = f"were written anew; the old files go with the server's next checkpoint, within {minutes:g} minutes"
    return {"tables": anew if rewritten else FREED, "write-ahead log": _log(held, tx.execute(SLOTS).scalar_one())}


def _log(held: Mapping[str, str], slots: int) -> str:
    megabytes = int(held["max_wal_size"]) + int(held["wal_keep_size"])
    words = f"holds it until about {megabytes:,} MB more were written to the server (max_wal_size and wal_keep_size)"
    if held["archive_mode"] != "off":
        words += "; it is archived (archive_mode), and the archive keeps it for as long as its administrators say"
    if slots:
        words += f"; {slots} replication slots keep it until their readers have it, and these hold copies"
    return words
