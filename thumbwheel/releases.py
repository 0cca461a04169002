"""Releases by command: show one, or bring in an adapter from elsewhere as a draft.

    thumbwheel release show ID
    thumbwheel release import DIR --channel NAME

An import goes by command only, since a path is never taken from a request. The adapter's tensors are checked against
the base before anything is stored; a draft serves nobody until the gate, or an administrator, lets it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from thumbwheel import admin_client, base
from thumbwheel.adapter import base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import COMMAND_LINE, add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.errors import AdapterRefused
from thumbwheel.home import Home, prepare
from thumbwheel.records import Release
from thumbwheel.rollouts import make_draft
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, release_rows
from thumbwheel.store.connection import open_store


def import_adapter(settings: Settings, home: Home, directory: Path, channel_name: str) -> Release:
    """Check and publish the adapter in `directory` as a draft of the channel. Raises AdapterRefused, NotFound."""
    if not directory.is_dir():
        raise AdapterRefused("no_directory", "there is no such directory")
    store = open_store(settings, home)
    try:
        known = base.settled(store)
        if known is not None and known.fingerprint == base.UPSTREAM:
            raise AdapterRefused("upstream", "this data directory serves an upstream, which takes no adapters of ours")
        checkpoint = Path(settings.model if known is None or known.directory is None else known.directory)
        check_adapter(directory, base_modules(checkpoint), settings.max_lora_rank)
        with store.read() as tx:
            release_rows.get_channel(tx, channel_name)
        sha = ArtifactStore(home.artifacts).publish(directory, "adapter", {"source": "imported"})
        now_ms = system_clock()
        with store.write() as tx:
            release = make_draft(tx, release_rows.get_channel(tx, channel_name), sha, None, now_ms)
            fleet_rows.record(tx, now_ms, COMMAND_LINE, "import_release", release.id, None, {"adapter": sha})
    finally:
        store.close()
    return release


def run(argv: list[str]) -> int:
    """The verb `release`."""
    options = parser("release")
    options.add_argument("action", choices=("show", "import"))
    options.add_argument("what", help="a release's id, or the adapter's directory")
    options.add_argument("--channel", help="whose draft the imported adapter becomes")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = prepare(settings.home)
    if arguments.action == "show":
        shown = admin_client.call(home, "GET", f"/admin/v1/releases/{arguments.what}")
        print(json.dumps(shown, ensure_ascii=False, indent=None if arguments.json else 2))
        return 0
    if arguments.channel is None:
        options.error("import needs --channel")
    try:
        release = import_adapter(settings, home, Path(arguments.what), arguments.channel)
    except AdapterRefused as error:
        if arguments.json:
            print(json.dumps({"refused": error.reason, "message": str(error)}))
        print(f"thumbwheel: the adapter is refused ({error.reason}): {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({"id": release.id, "state": release.state, "channel": release.channel}))
    else:
        print(
            f"{release.id} is a draft of {release.channel}. `thumbwheel run start {release.channel} --release "
            f"{release.id}` lets the gate judge it."
        )
    return 0
