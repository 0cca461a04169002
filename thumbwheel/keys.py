"""Keys: made at random, shown once, kept as SHA-256 hashes (they hold 256 bits, so a slow hash would add nothing).

thumbwheel keys create --tenant NAME [--right author|expert|teacher]
thumbwheel keys create --tenant NAME --admin [--right raw|arbiter]
"""

from __future__ import annotations

import hashlib
import json
import os

from thumbwheel.cli import COMMAND_LINE, a_text, add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.home import prepare
from thumbwheel.ids import digest32, new_id
from thumbwheel.records import Key
from thumbwheel.store import fleet_rows
from thumbwheel.store.connection import open_store

KEY_PREFIX = {"app": "tw-app-", "admin": "tw-admin-"}
MAX_TENANT = 128
RIGHTS = ("author", "expert", "teacher", "pin", "extensions")
RAW, ARBITER = "raw", "arbiter"
ADMIN_RIGHTS = (RAW, ARBITER)
"""Of administrators' keys: to see texts with the personal data in them, and to end what reviewers disagree on."""
OWN_RIGHTS = {"app": frozenset[str](), "admin": frozenset(ADMIN_RIGHTS)}
"""What the service's own two keys have."""


def mint(kind: str) -> str:
    """A new key's text; `kind` is app or admin."""
    return KEY_PREFIX[kind] + digest32(os.urandom(40), 52)


def hash_key(text: str) -> str:
    """What the store keeps of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def as_record(text: str, kind: str, tenant: str, rights: frozenset[str], now_ms: int) -> Key:
    """The row for a new key."""
    return Key(new_id("key", now_ms), hash_key(text), kind, tenant, rights)


def run(argv: list[str]) -> int:
    """The verb `keys`."""
    options = parser("keys")
    options.add_argument("action", choices=("create",))
    options.add_argument(
        "--tenant",
        required=True,
        type=a_text(MAX_TENANT),
        help="whose key it is; inferences and feedback belong to the tenant",
    )
    options.add_argument(
        "--right",
        action="append",
        default=[],
        choices=(*RIGHTS, *ADMIN_RIGHTS),
        help=f"may be given several times; with --admin {' or '.join(ADMIN_RIGHTS)}",
    )
    options.add_argument("--admin", action="store_true", help="a key of the admin API instead of an application's")
    add_json(options)
    arguments = options.parse_args(argv)
    kind = "admin" if arguments.admin else "app"
    rights = ADMIN_RIGHTS if arguments.admin else RIGHTS
    if wrong := sorted(set(arguments.right) - set(rights)):
        options.error(f"{', '.join(wrong)}: keys of the {kind} API have the rights {', '.join(rights)}")
    settings = settings_from(arguments)
    home = prepare(settings.home)
    text = mint(kind)
    key = as_record(text, kind, arguments.tenant, frozenset(arguments.right), system_clock())
    store = open_store(settings, home)
    with store.write() as tx:
        fleet_rows.insert_key(tx, key, system_clock())
        fleet_rows.record(tx, system_clock(), COMMAND_LINE, "create_key", key.id, None, {"tenant": key.tenant})
    store.close()
    if arguments.json:
        print(json.dumps({"id": key.id, "key": text, "tenant": key.tenant, "rights": sorted(key.rights)}))
    else:
        print(text)
    return 0
