"""Administrators' changes: a pause while the store is away, and a way back to a release that is whole."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel import rollouts
from thumbwheel.emergency import read_emergency
from thumbwheel.store import release_rows


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "home") as made:
        yield made


async def rolling(gateway: Worker) -> str:
    """The id of a rollout with traffic, which the worker knows of."""
    parts = gateway.gateway.parts
    with parts.store.write() as tx:
        release = rollouts.make_draft(tx, release_rows.get_channel(tx, CHANNEL), "a" * 64, None, parts.clock())
        rollout = rollouts.start_rollout(tx, release, None, parts.clock(), "test")
        rollout = rollouts.enter_stage(tx, rollout, 0, {}, parts.clock())
    await parts.watch.refresh()
    return rollout.id


@pytest.mark.parametrize(
    ("path", "action", "then"),
    [
        ("rollouts/{rollout}/pause", "pause", "is paused, and its candidate answers its share again"),
        ("rollouts/{rollout}/abort", "abort", "is aborted"),
        ("channels/support/rollback", "rollback", "is ended"),
    ],
)
async def test_what_was_asked_while_the_store_is_away_is_kept_and_said(
    gateway: Worker, path: str, action: str, then: str
) -> None:
    rollout = await rolling(gateway)
    home = gateway.gateway.parts.home
    held = sqlite3.connect(home.store, isolation_level=None)
    held.execute("begin immediate")
    try:
        told = await gateway.admin.post("/admin/v1/" + path.format(rollout=rollout))
    finally:
        held.execute("rollback")
        held.close()
    assert told.status_code == 200 and told.json()["emergency"] is True and then in told.json()["message"]
    entry = read_emergency(home)[CHANNEL]
    assert (entry["action"], entry["rollout"]) == (action, rollout)
    assert gateway.gateway.parts.watch.now.is_stopped(CHANNEL)


async def test_a_rollback_passes_over_a_release_whose_adapter_is_not_stored(gateway: Worker) -> None:
    store = gateway.gateway.parts.store
    with store.write() as tx:
        channel = release_rows.get_channel(tx, CHANNEL)
        now_ms = gateway.gateway.parts.clock()
        lost, bad = (rollouts.make_draft(tx, channel, letter * 64, None, now_ms) for letter in "ab")
        release_rows.save_release(tx, replace(lost, state="retired"))
        release_rows.save_release(tx, replace(bad, state="stable"))
        release_rows.save_channel(tx, replace(channel, stable=bad.id, history=(channel.stable, lost.id)))
    told = await gateway.admin.post(f"/admin/v1/channels/{CHANNEL}/rollback")
    assert (told.status_code, told.json()["stable"]) == (200, channel.stable)
