"""Reads the snapshot of a channel out of the store: everything that curation may depend on, of one moment.

All of it follows from the event log up to the snapshot's positions, the channel's policies of that moment, its datasets
before, and the time; the dataset's card names the last three, so that a replay (replay.py) can read the same snapshot
out of another store. What else the store says (where feedback stands, say) is left out, or changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import Connection

from feedback.join import Joined
from feedback.meaning import NOT_CONFIGURED, WHAT
from feedback.names import By, event_id, names_in, wanted
from feedback.snapshot import Snapshot
from feedback.vary import recorded
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.dataset_files import ROWS
from thumbwheel.errors import ArtifactError, JobError
from thumbwheel.events import ComputedEvent, ExclusionEvent, ProposalEvent, ReviewEvent
from thumbwheel.records import Channel
from thumbwheel.store import curation_rows, data_rows, dataset_rows


def take_snapshot(
    tx: Connection,
    artifacts: ArtifactStore,
    channel: Channel,
    incumbent: str | None,
    *,
    as_of_ms: int,
    window_ms: int,
    wants_new: bool = True,
    names_by: By | None = None,
    embeddings_by: By | None = None,
    embeddings_off: str | None = NOT_CONFIGURED,
) -> Snapshot:
    """All that curation may depend on. `incumbent` is the dataset that the stable release learnt from.

    Of names, those that `names_by` found are taken, and of embeddings those that `embeddings_by` computed; where that
    is nobody, `embeddings_off` says why. Raises JobError where the incumbent's dataset cannot be read.
    """
    rows = joined(tx, channel.name)
    return Snapshot(
        channel=channel.name,
        rows=rows,
        as_of_ms=as_of_ms,
        window_ms=window_ms,
        positions=data_rows.positions(tx),
        before=tuple(row["id"] for row in dataset_rows.datasets_of(tx, channel.name)),
        splits=dataset_rows.splits_of(tx, channel.name),
        incumbent=incumbent,
        since={} if incumbent is None else since_when(artifacts, incumbent),
        wants_new=wants_new,
        policies=asdict(channel.policies),
        clean=channel.policies.clean,
        trust=channel.policies.trust,
        uncorrected=channel.policies.uncorrected,
        mix=channel.policies.mix,
        augment=channel.policies.augment,
        reviews=curation_rows.of_channel(tx, channel.name, ReviewEvent),
        reviewers=channel.policies.reviews,
        proposals=curation_rows.of_channel(tx, channel.name, ProposalEvent),
        exclusions=curation_rows.of_channel(tx, channel.name, ExclusionEvent),
        reworded=reworded(tx, channel),
        names={} if names_by is None else found_names(tx, channel.name, rows, names_by),
        names_by=names_by,
        embeddings={} if embeddings_by is None else embeddings(tx, channel.name, embeddings_by),
        embeddings_by=embeddings_by,
        embeddings_off=None if embeddings_by else embeddings_off,
    )


def embeddings(tx: Connection, channel: str, by: By) -> dict[str, object]:
    """The vectors that `by` computed of the channel's rows, as they are recorded, by the id of their event."""
    found = curation_rows.of_channel(tx, channel, ComputedEvent)
    return {
        one.id: one.value for one in found if one.what == WHAT and (one.model, one.version) == (by.model, by.version)
    }


def reworded(tx: Connection, channel: Channel) -> list[ComputedEvent]:
    """What models said in other words, of the kinds that the channel wants."""
    kinds = set(recorded.KINDS) & set(channel.policies.augment.kinds)
    found = curation_rows.of_channel(tx, channel.name, ComputedEvent) if kinds else []
    return [event for event in found if event.what in kinds]


def joined(tx: Connection, channel: str) -> tuple[Joined, ...]:
    """The channel's feedback, each beside its inference."""
    return tuple(
        Joined(
            feedback=row.id,
            inference=row.inference,
            author=row.author,
            role=row.role,
            at_ms=row.at_ms,
            seq=row.seq,
            correction=row.correction,
            state=row.state,
            reason=row.reason,
            messages=row.messages,
            answer=row.answer,
            thumb=row.thumb,
            tags=tuple(row.tags),
            barred=barred,
        )
        for row, barred in dataset_rows.feedback_with_inferences(tx, channel)
    )


def other_texts(tx: Connection, channel: str) -> dict[str, tuple[str, ...]]:
    """By feedback, what reviewers and models would have the answer be."""
    found: dict[str, set[str]] = {}
    reviews = curation_rows.of_channel(tx, channel, ReviewEvent)
    said = [(review.feedback, review.target) for review in reviews if review.target is not None]
    said += [(made.feedback, made.target) for made in curation_rows.of_channel(tx, channel, ProposalEvent)]
    for feedback, target in said:
        found.setdefault(feedback, set()).add(target)
    return {feedback: tuple(sorted(targets)) for feedback, targets in found.items()}


def found_names(tx: Connection, channel: str, rows: Sequence[Joined], by: By) -> dict[str, tuple[str, ...]]:
    """The names that are recorded of the rows' texts, by feedback; of what was not looked at yet, nothing."""
    others = other_texts(tx, channel)
    wants = {event_id(row, by, others.get(row.feedback, ())): row for row in rows if wanted(row)}
    return {
        row.feedback: names_in(row, event, others.get(row.feedback, ()))
        for event in curation_rows.with_ids(tx, sorted(wants), ComputedEvent)
        for row in (wants[event.id],)
    }


def since_when(artifacts: ArtifactStore, incumbent: str) -> Mapping[str, str]:
    """For each example of the incumbent's dataset, the first dataset of its line that held it. Raises JobError."""
    try:
        artifacts.verify(incumbent)
    except ArtifactError as error:
        raise JobError(f"The dataset that the stable release learnt from cannot be read: {error}") from error
    lines = (artifacts.path(incumbent) / ROWS).read_bytes().splitlines()
    return {row["id"]: row["since"] or incumbent for row in map(json.loads, lines)}
