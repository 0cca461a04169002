"""One screen: what serves, what rolls out, what trains and what waits. Reads the store, so it answers in every state.

thumbwheel status [--json]
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from thumbwheel import admin_client, rollouts
from thumbwheel.cli import add_json, parser, settings_from
from thumbwheel.clock import system_clock
from thumbwheel.emergency import EVERY_CHANNEL, read_emergency
from thumbwheel.errors import NotRunning
from thumbwheel.home import Home
from thumbwheel.printable import printable_lines
from thumbwheel.records import ROLLOUT_ACTIVE, RUN_BUSY, Channel
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import existing_store

SHOWN_RUNS = 3


def collect(tx: Connection, home: Home, now_ms: int) -> dict[str, Any]:
    """Everything that the screen shows, as plain values."""
    endpoints: dict[str, str] | None = None
    with suppress(NotRunning):
        endpoints = admin_client.endpoints(home)
    return {
        "home": str(home.root),
        "endpoints": endpoints,
        "engines": [asdict(engine) for engine in fleet_rows.all_engines(tx)],
        "emergency": sorted(read_emergency(home)),
        "channels": [_channel(tx, channel, now_ms) for channel in release_rows.all_channels(tx)],
    }


def _channel(tx: Connection, channel: Channel, now_ms: int) -> dict[str, Any]:
    rollout = release_rows.rollout_of(tx, channel)
    runs = release_rows.runs_of(tx, channel.name)[-SHOWN_RUNS:]
    return {
        "name": channel.name,
        "stable": channel.stable,
        "table": channel.table,
        "rollout": None
        if rollout is None
        else {
            "id": rollout.id,
            "release": rollout.release,
            "state": rollout.state,
            "stage": rollout.stage,
            "stages": len(rollout.stages),
            "weight": rollout.weight,
            "analysis": rollout.analysis,
            "active": rollout.state in ROLLOUT_ACTIVE,
        },
        "waiting": rollouts.waiting(tx, channel),
        "runs": [
            {
                "id": run.id,
                "state": run.state,
                "busy": run.state in RUN_BUSY,
                "progress": run.progress,
                "reasons": list(run.reasons),
                "age_s": (now_ms - run.created_ms) // 1000,
            }
            for run in runs
        ],
        "ledger": data_rows.ledger(tx, channel.name),
    }


def render(found: dict[str, Any]) -> str:
    """The screen as text."""
    where = found["endpoints"]
    lines = [f"home     {found['home']}"]
    lines.append(f"service  api {where['api']}  admin {where['admin']}" if where else "service  not running")
    for engine in found["engines"]:
        lines.append(f"engine   {engine['id']}  {engine['kind']}  {engine['state']}")
    for name in found["emergency"]:
        who = "every channel" if name == EVERY_CHANNEL else name
        lines.append(f"STOPPED  {who} answers by its stable release alone (emergency stop)")
    for channel in found["channels"]:
        lines += ["", *_render_channel(channel)]
    if not found["channels"]:
        lines += ["", "no channel yet: PUT /admin/v1/channels/NAME, or `thumbwheel channel put NAME`"]
    return "\n".join(lines)


def _render_channel(channel: dict[str, Any]) -> list[str]:
    lines = [f"channel  {channel['name']}"]
    for row in channel["table"]:
        lines.append(f"  serves   {row['weight']:5.1f}%  {row['role']:<9}  {row['release']}")
    rollout = channel["rollout"]
    if rollout is not None:
        at = f"stage {rollout['stage'] + 1} of {rollout['stages']}, " if rollout["active"] else ""
        lines.append(f"  rollout  {rollout['state']}, {at}{rollout['id']}")
        lines += [
            f"           {rollout['analysis'].get('result', '')}: {reason}"
            for reason in rollout["analysis"].get("reasons", ())
        ]
    if channel["waiting"] is not None:
        lines.append(f"  waits    candidate {channel['waiting']['release']}: {channel['waiting']['reason']}")
    for run in channel["runs"]:
        progress = run["progress"] if run["busy"] else {}
        done = (
            f", {progress['step']} {progress.get('done', 0)} of {progress.get('of', '?')}" if "step" in progress else ""
        )
        lines.append(f"  run      {run['state']}{done}, {run['age_s']} s ago, {run['id']}")
        lines += [f"           {reason}" for reason in run["reasons"]]
    ledger = channel["ledger"]
    waiting = ", ".join(f"{count} {reason}" for reason, count in sorted(ledger["waiting"].items())) or "none"
    refused = ", ".join(f"{count} {reason}" for reason, count in sorted(ledger["refused"].items())) or "none"
    lines.append(f"  thumbs   {ledger['acknowledged']} acknowledged, {ledger['used']} used")
    lines.append(f"           waiting: {waiting}")
    lines.append(f"           refused: {refused}")
    return lines


def run(argv: list[str]) -> int:
    """The verb `status`."""
    options = parser("status")
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    try:
        store = existing_store(settings, home)
    except NotRunning as nothing:
        print(nothing)
        return 1
    with store.read() as tx:
        found = collect(tx, home, system_clock())
    store.close()
    print(printable_lines(json.dumps(found, ensure_ascii=False) if arguments.json else render(found)))
    return 0
