"""Keys: made at random, shown once, kept as SHA-256 hashes (they hold 256 bits, so a slow hash would add nothing).

thumbwheel keys create --tenant NAME [--right author|expert|teacher] [--admin]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os

from thumbwheel.cli import add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.home import prepare
from thumbwheel.ids import digest32, new_id
from thumbwheel.records import Key
from thumbwheel.store import fleet_rows
from thumbwheel.store.connection import open_store

KEY_PREFIX = {"app": "tw-app-", "admin": "tw-admin-"}
MAX_TENANT = 128
RIGHTS = ("author", "expert", "teacher", "pin", "extensions")


def mint(kind: str) -> str:
    """A new key's text; `kind` is app or admin."""
    return KEY_PREFIX[kind] + digest32(os.urandom(40), 52)


def hash_key(text: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def as_record(text: str, kind: str, tenant: str, rights: frozenset[str], now_ms: int) -> Key:
    """The row for a new key."""
    return Key(new_id("key", now_ms), hash_key(text), kind, tenant, rights)


def _tenant(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > MAX_TENANT:
        raise argparse.ArgumentTypeError(f"a name of at most {MAX_TENANT} characters is right")
    return text


def run(argv: list[str]) -> int:
    """The verb `keys`."""
    options = parser("keys")
    options.add_argument("action", choices=("create",))
    options.add_argument(
        "--tenant", required=True, type=_tenant, help="whose key it is; inferences and feedback belong to the tenant"
    )
    options.add_argument("--right", action="append", default=[], choices=RIGHTS, help="may be given several times")
    options.add_argument("--admin", action="store_true", help="a key of the admin API instead of an application's")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = prepare(settings.home)
    kind = "admin" if arguments.admin else "app"
    text = mint(kind)
    key = as_record(text, kind, arguments.tenant, frozenset(arguments.right), system_clock())
    store = open_store(settings, home)
    with store.write() as tx:
        fleet_rows.insert_key(tx, key, system_clock())
        fleet_rows.record(tx, system_clock(), "command line", "create_key", key.id, None, {"tenant": key.tenant})
    store.close()
    if arguments.json:
        print(json.dumps({"id": key.id, "key": text, "tenant": key.tenant, "rights": sorted(key.rights)}))
    else:
        print(text)
    return 0
