"""Records as the admin API shows them. Reads within a transaction; writes nothing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from thumbwheel import events, rollouts
from thumbwheel.eventlog import EventLog
from thumbwheel.events import FeedbackEvent
from thumbwheel.ledger import INFERENCE_NOT_SEEN
from thumbwheel.records import Channel, Release, Rollout, Run
from thumbwheel.store import data_rows, dead_letter_rows, release_rows

READ = 1_000


def channel_view(tx: Connection, channel: Channel) -> dict[str, Any]:
    """The body of GET /admin/v1/channels/{name}; `runs` are ids, oldest first."""
    rollout = release_rows.rollout_of(tx, channel)
    return {
        **table_view(channel),
        "rollout": None if rollout is None else rollout_view(rollout),
        "waiting": rollouts.waiting(tx, channel),
        "runs": [run.id for run in release_rows.runs_of(tx, channel.name)],
    }


def table_view(channel: Channel) -> dict[str, Any]:
    """What is known of a channel without the store."""
    policies = asdict(channel.policies)
    policies["stages"] = list(policies["stages"])
    policies["scorers"] = list(policies["scorers"])
    return {"name": channel.name, "policies": policies, "stable": channel.stable, "table": channel.table}


def rollout_view(rollout: Rollout) -> dict[str, Any]:
    """A rollout; `stage` counts from 0, `weight` is percent."""
    return {
        "id": rollout.id,
        "release": rollout.release,
        "state": rollout.state,
        "stage": rollout.stage,
        "weight": rollout.weight,
        "analysis": {"result": None, "reasons": [], **rollout.analysis},
        "stages": [asdict(stage) for stage in rollout.stages],
        "started_ms": rollout.started_ms,
        "stage_started_ms": rollout.stage_started_ms,
        "ended_ms": rollout.ended_ms,
    }


def run_view(run: Run) -> dict[str, Any]:
    """The body of GET /admin/v1/runs/{id}."""
    return {
        "id": run.id,
        "channel": run.channel,
        "state": run.state,
        "dataset": run.dataset,
        "release": run.release,
        "report": run.report,
        "reasons": list(run.reasons),
        "progress": dict(run.progress),
        "attempts": run.attempts,
        "created_ms": run.created_ms,
        "updated_ms": run.updated_ms,
    }


def release_view(release: Release) -> dict[str, Any]:
    """The body of GET /admin/v1/releases/{id}."""
    return {name: value for name, value in asdict(release).items() if name != "version"}


def ledger_view(tx: Connection, log: EventLog, channel: str) -> dict[str, Any]:
    """The ledger with what is acknowledged, and in the log, but not yet in the store. Raises StoreUnavailable."""
    ledger = data_rows.ledger(tx, channel)
    pending = _pending(tx, log, channel)
    if pending:
        waiting = ledger["waiting"]
        waiting[INFERENCE_NOT_SEEN] = waiting.get(INFERENCE_NOT_SEEN, 0) + pending
        ledger["acknowledged"] += pending
    return ledger


def _pending(tx: Connection, log: EventLog, channel: str) -> int:
    held = data_rows.positions(tx).get(events.FEEDBACK, {})
    found: set[str] = set()
    for partition, end in log.ends().get(events.FEEDBACK, {}).items():
        at = held.get(partition, 0)
        while at < end and (records := log.read(events.FEEDBACK, partition, at, READ)):
            at = records[-1].offset
            found.update(_ids(records, channel))
    # One that is being redriven is in the log again, and counted as a dead letter for a moment yet.
    return sum(
        data_rows.feedback_row(tx, id_) is None and dead_letter_rows.of_feedback(tx, id_) is None for id_ in found
    )


def _ids(records: list[Any], channel: str) -> list[str]:
    ids = []
    for record in records:
        try:
            event = events.decode(record.value)
        except ValueError:  # the consumer's to bury
            continue
        if isinstance(event, FeedbackEvent) and event.channel == channel:
            ids.append(event.id)
    return ids
