"""Brings the store to the present schema, with everything in it: `thumbwheel migrate`, which `thumbwheel up` does too.

    thumbwheel migrate [--home DIR] [--json]

One transaction: whatever interrupts it, the store is as it was. A store of a later Thumbwheel is refused. It knows
nothing of going back; a copy made before is what does (`pg_dump`, or the SQLite file while nothing runs).
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from thumbwheel.cli import add_json, parser, settings_from
from thumbwheel.home import Home, prepare
from thumbwheel.settings import Settings
from thumbwheel.store import schema
from thumbwheel.store.connection import check_version, connect, make_tables, version

SCRIPTS = Path(__file__).parent / "migrations"


def migrate(settings: Settings, home: Home) -> tuple[int | None, int]:
    """Make the tables, or bring them forward; the schema's version before (None: there were none) and after.

    Raises StoreUnavailable, also for a store of a later version.
    """
    with closing(connect(settings, home)) as store, store.write() as tx:
        found = version(tx)
        if found is None:
            make_tables(tx)
        elif found < schema.VERSION:
            upgrade(tx, found, schema.VERSION)
        else:
            check_version(found)
    return found, schema.VERSION


def upgrade(tx: Connection, found: int | None, wanted: int) -> None:
    """Run the migrations after version `found` (None: all of them) up to `wanted`, in this transaction."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = tx
    if found is not None:
        command.stamp(config, f"{found:04d}")
    command.upgrade(config, f"{wanted:04d}")


def run(argv: list[str]) -> int:
    """The verb `migrate`."""
    options = parser("migrate")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    before, after = migrate(settings, prepare(settings.home))
    if arguments.json:
        print(json.dumps({"before": before, "after": after}))
    else:
        was = "was made" if before is None else "was there already" if before == after else f"was {before} before"
        print(f"the store has schema {after}; it {was}")
    return 0
