"""Training data from elsewhere, brought in as what people might have said here: it passes the same curation.

Each row becomes two events: an inference that nobody was answered here (`imported` in place of releases, role and
status), and feedback on it with the answer to learn for a correction. So the ledger counts it, reviews and exclusions
reach it, `thumbwheel why` explains it; and as it bears no thumb and no release, no rollout and no metric counts it.

Ids are made of channel, tenant, author and content, so the same file twice adds nothing. They bear the day 0, of which
retention knows nothing: what was brought in stays. Where no author is named each conversation has its own, made of its
turns: not of its beginning, for many begin with the same greeting. That is for the caps, which count an author's rows;
to a channel that asks for two sources all of these together are one (trust.py).

All is read before anything is appended, and one bad line refuses it all. A killed import may have appended a part; the
next one adds the rest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from feedback.datafiles import data_files, records
from feedback.forms import Row, read_row
from thumbwheel import events
from thumbwheel.cli import COMMAND_LINE
from thumbwheel.clock import Clock
from thumbwheel.errors import Conflict, InvalidRequest
from thumbwheel.eventlog import EventLog
from thumbwheel.events import IMPORTED, NOBODY, FeedbackEvent, InferenceEvent
from thumbwheel.ids import digest32, feedback_id, mint_inference_id
from thumbwheel.store import data_rows, fleet_rows, release_rows
from thumbwheel.store.connection import Store

BATCH = 500  # events an append
FAULTS = 10  # that are told at once
AUTHOR_CHARS = 20

Pair = tuple[InferenceEvent, FeedbackEvent]


@dataclass(frozen=True)
class Destination:
    """Where imported rows go, and in whose name. `author` is None where each conversation has its own."""

    channel: str
    tenant: str
    author: str | None
    role: str
    secret: bytes  # under which inference ids are sealed
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Imported:
    """How many rows were read, how many of them were new, and how many say the same as another one of them."""

    rows: int
    new: int
    repeated: int


def read_files(path: Path, form: str | None) -> list[Row]:
    """All rows of a file or a folder. Raises InvalidRequest, which names the first `FAULTS` places that are wrong."""
    rows: list[Row] = []
    faults: list[str] = []
    for file in data_files(path):
        name = file.name if file == path else file.relative_to(path).as_posix()
        for found in records(file, name):
            row = found.fault if found.fault is not None else read_row(found.value, form)
            if isinstance(row, Row):
                rows.append(row)
            else:
                faults.append(f"{found.where}: {row}")
    if faults:
        more = f"\n  and {len(faults) - FAULTS} more" if len(faults) > FAULTS else ""
        told = "\n  ".join(faults[:FAULTS])
        raise InvalidRequest(f"Nothing was imported. Mend these, or take them out:\n  {told}{more}")
    if not rows:
        raise InvalidRequest(f"{path.name} holds no row; nothing was imported.")
    return rows


def as_events(row: Row, to: Destination, now_ms: int) -> Pair:
    """The inference and the feedback that stand for a row."""
    author = to.author or f"{NOBODY}{digest32(msgspec.json.encode(row.messages), AUTHOR_CHARS)}"
    content = msgspec.json.encode([to.channel, to.tenant, author, row.messages, row.target, row.rejected])
    entropy = hashlib.blake2b(content, digest_size=10, person=b"import", key=to.secret).digest()
    inference = InferenceEvent(
        id=mint_inference_id("chatcmpl", to.channel, to.tenant, 0, to.secret, entropy=entropy),
        tenant=to.tenant,
        channel=to.channel,
        unit=author,
        at_ms=now_ms,
        assigned=IMPORTED,
        role=IMPORTED,
        served_by=IMPORTED,
        status=IMPORTED,
        messages=[dict(message) for message in row.messages],
        answer=row.rejected,
    )
    said = FeedbackEvent(
        id=feedback_id(inference.id, None, msgspec.json.encode([to.role, row.target, sorted(to.tags)])),
        inference=inference.id,
        tenant=to.tenant,
        channel=to.channel,
        at_ms=now_ms,
        role=to.role,
        correction=row.target,
        tags=list(to.tags),
    )
    return inference, said


def bring_in(store: Store, log: EventLog, rows: Sequence[Row], to: Destination, clock: Clock) -> Imported:
    """Append what is not in the store yet.

    Raises NotFound for an unknown channel, Conflict where its policies let nothing be learnt, StoreUnavailable.
    """
    with store.read() as tx:
        policies = release_rows.get_channel(tx, to.channel).policies
    if policies.log != "full" or not policies.train:
        lacks = f"`log: {policies.log}`" if policies.log != "full" else "`train: false`"
        raise Conflict(
            f"Channel {to.channel} has {lacks}, so nothing of an import could be learnt, and nothing was imported. "
            f"`thumbwheel channel put {to.channel}` changes it."
        )
    now_ms = clock()
    pairs = {said.id: (inference, said) for inference, said in (as_events(row, to, now_ms) for row in rows)}
    with store.read() as tx:
        known = data_rows.known_feedback(tx, sorted(pairs))
    new = [pair for id_, pair in pairs.items() if id_ not in known]
    for at in range(0, len(new), BATCH):
        part = new[at : at + BATCH]
        # In this order: what is said of an answer is joined at once, as by the gateway.
        log.append(events.INFERENCE, [(one.id, events.encode(one)) for one, _ in part], durable=True)
        log.append(events.FEEDBACK, [(one.inference, events.encode(one)) for _, one in part], durable=True)
    with store.write() as tx:
        told = {"rows": len(rows), "new": len(new), "author": to.author, "role": to.role, "tags": list(to.tags)}
        fleet_rows.record(tx, now_ms, COMMAND_LINE, "import_dataset", to.channel, None, told)
    return Imported(len(rows), len(new), len(rows) - len(pairs))


def tenant_of(store: Store, asked: str | None) -> str:
    """The tenant that the rows become: the one asked for, if an application key has it, else the only one there is.

    Raises InvalidRequest: of a tenant without a key nobody could ever ask what became of the rows.
    """
    with store.read() as tx:
        known = sorted({key.tenant for key in fleet_rows.all_keys(tx) if key.kind == "app"})
    here = f"the tenants here are {', '.join(known)}" if known else "no tenant is here yet"
    if asked is None:
        if len(known) != 1:
            raise InvalidRequest(f"--tenant says whose the rows become: {here}. Nothing was imported.")
        return known[0]
    if asked not in known:
        raise InvalidRequest(
            f"No application key is of the tenant {asked}: {here}. `thumbwheel keys create --tenant {asked}` makes it "
            "one, if it is no slip. Nothing was imported."
        )
    return asked
