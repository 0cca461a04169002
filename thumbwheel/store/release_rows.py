"""Rows of channels, releases, rollouts and runs. Every change of a state is a compare-and-set on `version`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update

from thumbwheel.errors import LostRace, NotFound
from thumbwheel.records import RUN_BUSY, Channel, Policies, Release, Rollout, Run, Stage, Variant
from thumbwheel.store import schema
from thumbwheel.store.connection import bump


def _policies(raw: dict[str, Any]) -> Policies:
    stages = tuple(Stage(**stage) for stage in raw["stages"])
    return Policies(**{**raw, "stages": stages, "scorers": tuple(raw["scorers"])})


def _channel(row: Row[Any]) -> Channel:
    fields = dict(row._mapping)
    fields["policies"] = _policies(fields["policies"])
    fields["variants"] = tuple(
        Variant(v["release"], v["role"], tuple((low, high) for low, high in v["band"])) for v in fields["variants"]
    )
    fields["history"] = tuple(fields["history"])
    return Channel(**fields)


def _release(row: Row[Any]) -> Release:
    return Release(**row._mapping)


def _rollout(row: Row[Any]) -> Rollout:
    fields = dict(row._mapping)
    fields["stages"] = tuple(Stage(**stage) for stage in fields["stages"])
    return Rollout(**fields)


def _run(row: Row[Any]) -> Run:
    fields = dict(row._mapping)
    fields["reasons"] = tuple(fields["reasons"])
    return Run(**fields)


def _replace(tx: Connection, table: Table, key: str, value: str, version: int, fields: dict[str, Any]) -> None:
    """Write `fields` if the row still has `version`; raises LostRace."""
    changed = tx.execute(
        update(table).where(table.c[key] == value, table.c.version == version).values(**fields, version=version + 1)
    )
    if changed.rowcount != 1:
        raise LostRace(f"{table.name} {value} changed meanwhile")


# channels


def insert_channel(tx: Connection, channel: Channel) -> None:
    """A new channel."""
    tx.execute(insert(schema.channels).values(**asdict(channel)))
    bump(tx)


def save_channel(tx: Connection, channel: Channel) -> Channel:
    """Compare-and-set on `channel.version`. Returns it with its new version."""
    fields = asdict(channel)
    del fields["version"], fields["name"]
    _replace(tx, schema.channels, "name", channel.name, channel.version, fields)
    bump(tx)
    return replace(channel, version=channel.version + 1)


def find_channel(tx: Connection, name: str) -> Channel | None:
    """The channel, or None."""
    row = tx.execute(select(schema.channels).where(schema.channels.c.name == name)).first()
    return None if row is None else _channel(row)


def get_channel(tx: Connection, name: str) -> Channel:
    """The channel. Raises NotFound."""
    channel = find_channel(tx, name)
    if channel is None:
        raise NotFound(
            f"There is no channel {name!r}. `GET /v1/models` lists the channels; an administrator makes one with "
            "PUT /admin/v1/channels/NAME.",
            param="model",
            code="model_not_found",
        )
    return channel


def all_channels(tx: Connection) -> list[Channel]:
    """Every channel, by name."""
    return [_channel(row) for row in tx.execute(select(schema.channels).order_by(schema.channels.c.name))]


# releases


def insert_release(tx: Connection, release: Release) -> None:
    """A new release."""
    tx.execute(insert(schema.releases).values(**asdict(release)))
    bump(tx)


def save_release(tx: Connection, release: Release) -> Release:
    """Compare-and-set on `release.version`. Returns it with its new version."""
    fields = asdict(release)
    del fields["version"], fields["id"]
    _replace(tx, schema.releases, "id", release.id, release.version, fields)
    bump(tx)
    return replace(release, version=release.version + 1)


def get_release(tx: Connection, release: str) -> Release:
    """The release. Raises NotFound."""
    row = tx.execute(select(schema.releases).where(schema.releases.c.id == release)).first()
    if row is None:
        raise NotFound(f"There is no release {release!r}. `thumbwheel status` lists them.", code="release_not_found")
    return _release(row)


def releases_of(tx: Connection, channel: str) -> list[Release]:
    """A channel's releases, oldest first."""
    query = select(schema.releases).where(schema.releases.c.channel == channel).order_by(schema.releases.c.id)
    return [_release(row) for row in tx.execute(query)]


def all_releases(tx: Connection) -> list[Release]:
    """Every release, oldest first."""
    return [_release(row) for row in tx.execute(select(schema.releases).order_by(schema.releases.c.id))]


# rollouts


def insert_rollout(tx: Connection, rollout: Rollout) -> None:
    """A new rollout."""
    tx.execute(insert(schema.rollouts).values(**asdict(rollout)))
    bump(tx)


def save_rollout(tx: Connection, rollout: Rollout) -> Rollout:
    """Compare-and-set on `rollout.version`. Returns it with its new version."""
    fields = asdict(rollout)
    del fields["version"], fields["id"]
    _replace(tx, schema.rollouts, "id", rollout.id, rollout.version, fields)
    bump(tx)
    return replace(rollout, version=rollout.version + 1)


def get_rollout(tx: Connection, rollout: str) -> Rollout:
    """The rollout. Raises NotFound."""
    row = tx.execute(select(schema.rollouts).where(schema.rollouts.c.id == rollout)).first()
    if row is None:
        raise NotFound(f"There is no rollout {rollout!r}.", code="rollout_not_found")
    return _rollout(row)


def rollouts_in(tx: Connection, states: Sequence[str]) -> list[Rollout]:
    """The rollouts in any of `states`, oldest first."""
    query = select(schema.rollouts).where(schema.rollouts.c.state.in_(states)).order_by(schema.rollouts.c.id)
    return [_rollout(row) for row in tx.execute(query)]


# runs


def insert_run(tx: Connection, run: Run) -> None:
    """A new run."""
    tx.execute(insert(schema.runs).values(**asdict(run)))


def save_run(tx: Connection, run: Run) -> Run:
    """Compare-and-set on `run.version`. Returns it with its new version."""
    fields = asdict(run)
    del fields["version"], fields["id"]
    _replace(tx, schema.runs, "id", run.id, run.version, fields)
    return replace(run, version=run.version + 1)


def get_run(tx: Connection, run: str) -> Run:
    """The run. Raises NotFound."""
    row = tx.execute(select(schema.runs).where(schema.runs.c.id == run)).first()
    if row is None:
        raise NotFound(f"There is no run {run!r}. `thumbwheel status` lists them.", code="run_not_found")
    return _run(row)


def runs_of(tx: Connection, channel: str) -> list[Run]:
    """A channel's runs, oldest first."""
    query = select(schema.runs).where(schema.runs.c.channel == channel).order_by(schema.runs.c.id)
    return [_run(row) for row in tx.execute(query)]


def busy_runs(tx: Connection) -> list[Run]:
    """Every run in progress, oldest first."""
    query = select(schema.runs).where(schema.runs.c.state.in_(RUN_BUSY)).order_by(schema.runs.c.id)
    return [_run(row) for row in tx.execute(query)]
