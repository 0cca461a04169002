"""Rows of channels, releases, rollouts and runs. Every change of a state is a compare-and-set on `version`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Table, insert, select, update

from thumbwheel.errors import LostRace, NotFound
from thumbwheel.records import RUN_BUSY, Augment, Channel, Clean, Mix, Policies, Release, Rollout, Run, Stage, Variant
from thumbwheel.store import schema
from thumbwheel.store.connection import bump

R = TypeVar("R", Channel, Release, Rollout, Run)


@dataclass(frozen=True)
class _Kind(Generic[R]):
    """A kind of record with a version: its table, the column that names it, and how a row becomes a record."""

    table: Table
    key: str
    read: Callable[[Row[Any]], R]
    gateways_know: bool = True  # its changes raise the store's generation

    def named(self, name: str) -> ColumnElement[bool]:
        """The row of this name."""
        return self.table.c[self.key] == name


def _insert(tx: Connection, kind: _Kind[R], record: R) -> None:
    tx.execute(insert(kind.table).values(**asdict(record)))
    if kind.gateways_know:
        bump(tx)


def _save(tx: Connection, kind: _Kind[R], record: R) -> R:
    """Write the record if its row still has its version, and return it with the next one. Raises LostRace."""
    fields = asdict(record)
    name, version = fields.pop(kind.key), fields.pop("version")
    here = kind.named(name), kind.table.c.version == version
    if tx.execute(update(kind.table).where(*here).values(**fields, version=version + 1)).rowcount != 1:
        raise LostRace(f"{kind.table.name} {name} changed meanwhile")
    if kind.gateways_know:
        bump(tx)
    return replace(record, version=version + 1)


def _find(tx: Connection, kind: _Kind[R], name: str) -> R | None:
    row = tx.execute(select(kind.table).where(kind.named(name))).first()
    return None if row is None else kind.read(row)


def _list(tx: Connection, kind: _Kind[R], *where: ColumnElement[bool]) -> list[R]:
    query = select(kind.table).where(*where).order_by(kind.table.c[kind.key])
    return [kind.read(row) for row in tx.execute(query)]


def policies_from(raw: Mapping[str, Any]) -> Policies:
    """A channel's policies as JSON has them."""
    stages = tuple(Stage(**stage) for stage in raw["stages"])
    parts = {
        name: kind(**{key: _tuples(value) for key, value in raw.get(name, {}).items()})
        for name, kind in (("clean", Clean), ("mix", Mix), ("augment", Augment))
    }
    return Policies(**{**raw, "stages": stages, "scorers": tuple(raw["scorers"]), **parts})


def _tuples(value: object) -> Any:
    """The value with its lists as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _channel(row: Row[Any]) -> Channel:
    fields = dict(row._mapping)
    fields["policies"] = policies_from(fields["policies"])
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


_CHANNELS = _Kind(schema.channels, "name", _channel)
_RELEASES = _Kind(schema.releases, "id", _release)
_ROLLOUTS = _Kind(schema.rollouts, "id", _rollout)
_RUNS = _Kind(schema.runs, "id", _run, gateways_know=False)


# channels


def insert_channel(tx: Connection, channel: Channel) -> None:
    """A new channel."""
    _insert(tx, _CHANNELS, channel)


def save_channel(tx: Connection, channel: Channel) -> Channel:
    """Compare-and-set on `channel.version`. Returns it with its new version. Raises LostRace."""
    return _save(tx, _CHANNELS, channel)


def find_channel(tx: Connection, name: str) -> Channel | None:
    """The channel, or None."""
    return _find(tx, _CHANNELS, name)


def get_channel(tx: Connection, name: str) -> Channel:
    """The channel. Raises NotFound."""
    channel = _find(tx, _CHANNELS, name)
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
    return _list(tx, _CHANNELS)


# releases


def insert_release(tx: Connection, release: Release) -> None:
    """A new release."""
    _insert(tx, _RELEASES, release)


def save_release(tx: Connection, release: Release) -> Release:
    """Compare-and-set on `release.version`. Returns it with its new version. Raises LostRace."""
    return _save(tx, _RELEASES, release)


def get_release(tx: Connection, release: str) -> Release:
    """The release. Raises NotFound."""
    found = _find(tx, _RELEASES, release)
    if found is None:
        raise NotFound(
            f"There is no release {release!r}. `thumbwheel lineage CHANNEL` lists a channel's.",
            param="release",
            code="release_not_found",
        )
    return found


def releases_of(tx: Connection, channel: str) -> list[Release]:
    """A channel's releases, oldest first."""
    return _list(tx, _RELEASES, schema.releases.c.channel == channel)


def all_releases(tx: Connection) -> list[Release]:
    """Every release, oldest first."""
    return _list(tx, _RELEASES)


# rollouts


def insert_rollout(tx: Connection, rollout: Rollout) -> None:
    """A new rollout."""
    _insert(tx, _ROLLOUTS, rollout)


def save_rollout(tx: Connection, rollout: Rollout) -> Rollout:
    """Compare-and-set on `rollout.version`. Returns it with its new version. Raises LostRace."""
    return _save(tx, _ROLLOUTS, rollout)


def get_rollout(tx: Connection, rollout: str) -> Rollout:
    """The rollout. Raises NotFound."""
    found = _find(tx, _ROLLOUTS, rollout)
    if found is None:
        raise NotFound(
            f"There is no rollout {rollout!r}. `thumbwheel lineage CHANNEL` lists a channel's.",
            param="rollout",
            code="rollout_not_found",
        )
    return found


def rollout_of(tx: Connection, channel: Channel) -> Rollout | None:
    """The channel's latest rollout; None where it never had one."""
    return None if channel.rollout is None else get_rollout(tx, channel.rollout)


def rollouts_in(tx: Connection, states: Sequence[str]) -> list[Rollout]:
    """The rollouts in any of `states`, oldest first."""
    return _list(tx, _ROLLOUTS, schema.rollouts.c.state.in_(states))


def rollouts_of(tx: Connection, release: str) -> list[Rollout]:
    """A release's rollouts, oldest first."""
    return _list(tx, _ROLLOUTS, schema.rollouts.c.release == release)


# runs


def insert_run(tx: Connection, run: Run) -> None:
    """A new run."""
    _insert(tx, _RUNS, run)


def save_run(tx: Connection, run: Run) -> Run:
    """Compare-and-set on `run.version`. Returns it with its new version. Raises LostRace."""
    return _save(tx, _RUNS, run)


def get_run(tx: Connection, run: str) -> Run:
    """The run. Raises NotFound."""
    found = _find(tx, _RUNS, run)
    if found is None:
        raise NotFound(
            f"There is no run {run!r}. `thumbwheel lineage CHANNEL` lists a channel's.",
            param="run",
            code="run_not_found",
        )
    return found


def runs_of(tx: Connection, channel: str) -> list[Run]:
    """A channel's runs, oldest first."""
    return _list(tx, _RUNS, schema.runs.c.channel == channel)


def busy_runs(tx: Connection) -> list[Run]:
    """Every run in progress, oldest first."""
    return _list(tx, _RUNS, schema.runs.c.state.in_(RUN_BUSY))
