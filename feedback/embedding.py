"""Has vectors of meaning computed of what a run is about to curate, and recorded in the event log before that.

It asks the server that the setting `embeddings` names, any one with OpenAI's route /v1/embeddings, for one vector of
each row's last question and one of its target. **Both leave the house**, with personal data and secrets masked as in
the row, and nothing else does. A first question, of texts that are no house's (hard_negatives.py), tells which version
answers and how near it lays what means different things; what that version has answered before is not asked again, so
a job that was killed goes on where it was.

Curation reads what is recorded out of the store again (capture.py), so a dataset depends on the log alone. A server
that does not answer holds up nobody: it is asked a few times, then the run goes on without, and log and card say why.
Rows whose vectors are missing are compared with none. It knows nothing of what vectors are compared for (meaning.py).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import httpx
from sqlalchemy import Connection

from feedback import meaning, teacher
from feedback.clean import clean
from feedback.curate import standing
from feedback.dedupe import Proposal
from feedback.hard_negatives import TEXTS
from feedback.names import By
from feedback.naming import Await, Note
from feedback.snapshot import Snapshot
from feedback.teacher import MALFORMED, Failed, Patience, Question, Route, Server
from thumbwheel.clock import Clock
from thumbwheel.eventlog import EventLog
from thumbwheel.events import CURATION, ComputedEvent, encode, place_of
from thumbwheel.settings import Settings
from thumbwheel.store.connection import Store

AT_ONCE = 16  # rows a request, of two texts each: under 3 MB of answer at 4,096 numbers a vector
VERSION_CHARS = 200
ANOTHER_VERSION = "another_version"
TOO_MUCH = frozenset({"http_400", "http_413", "http_422"})  # what one text of a request may bring about for all

log_lines = logging.getLogger("thumbwheel.curator")

Wanted = tuple[Proposal, tuple[str, str]]


@dataclass(frozen=True)
class Embedder:
    """What computes vectors, and where they are recorded."""

    server: Server
    log: EventLog
    patience: Patience
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Embedded:
    """An answer: as many vectors as texts were asked about, in their order."""

    vectors: tuple[tuple[float, ...], ...]
    version: str


def embedder(settings: Settings, log: EventLog) -> Embedder | None:
    """As the settings say; None where they name no server."""
    if settings.embeddings is None or settings.embeddings_model is None:
        return None
    patience = Patience(timeout_s=settings.embeddings_timeout_s)
    return Embedder(Server(settings.embeddings, settings.embeddings_model), log, patience, settings.embeddings_key)


def question(texts: Sequence[str]) -> Question:
    """What is posted to ask for the texts' vectors."""
    return {"input": list(texts), "encoding_format": "float"}


def _read(_: Mapping[str, str], body: bytes) -> Embedded | Failed:
    try:
        said = json.loads(body)
        by_index = {int(one["index"]): tuple(map(float, one["embedding"])) for one in said["data"]}
        vectors = tuple(by_index[at] for at in range(len(by_index)))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError):
        return Failed(MALFORMED)
    return Embedded(vectors, clean(teacher.version_in(said))[:VERSION_CHARS])


EMBEDDINGS: Route[Embedded] = Route("embeddings", _read)


def record_embeddings(
    store: Store,
    take: Callable[[Connection, By | None], Snapshot],
    embedder: Embedder,
    clock: Clock,
    note: Note,
    until: Await,
) -> tuple[By | None, str | None]:
    """Ask for the vectors that are not recorded, until the store knows; who computes them, or why nobody does.

    `take` reads the snapshot with what is recorded by somebody. Raises StoreUnavailable, and what `until` raises.
    """
    probed = asyncio.run(_probe(embedder))
    if isinstance(probed, Failed):
        log_lines.warning("no embeddings (%s): rows that say the same in other words stay", probed.reason)
        return None, probed.reason
    by = By(embedder.server.model, probed.version)
    with store.read() as tx:
        snapshot = take(tx, by)
    known = {id_ for id_, value in snapshot.embeddings.items() if value is not None}
    lacking = meaning.wanted(standing(snapshot), known, by)
    if lacking:
        asking = _Asking(embedder, by, probed.apart, snapshot.channel, clock, lambda done: note(done, len(lacking)))
        asyncio.run(asking.all_of(lacking))
        until({CURATION: embedder.log.ends()[CURATION]})
        if asking.failed:
            told = ", ".join(f"{count} {reason}" for reason, count in sorted(asking.failed.items()))
            log_lines.warning("embeddings: %d of %d rows go without: %s", asking.failed.total(), len(lacking), told)
    return by, None


@dataclass(frozen=True)
class _Probed:
    """Who answers, and how near they lay the nearest two texts that mean different things (a cosine)."""

    version: str
    apart: float


async def _probe(embedder: Embedder) -> _Probed | Failed:
    async with teacher.client(embedder.key, 1) as http:
        stream = teacher.post_all(http, embedder.server, EMBEDDINGS, [question(TEXTS)], embedder.patience)
        async with aclosing(stream):
            _, said = await anext(stream)
    if isinstance(said, Failed):
        return said
    apart = meaning.apart(said.vectors) if len(said.vectors) == len(TEXTS) else None
    return Failed(MALFORMED) if apart is None else _Probed(said.version, apart)


@dataclass
class _Asking:
    embedder: Embedder
    by: By
    apart: float
    channel: str
    clock: Clock
    note: Callable[[int], None]
    done: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    async def all_of(self, lacking: Sequence[Wanted]) -> None:
        """Ask for all; where a request is refused, for each of its rows alone, unless all are refused."""
        batches = [lacking[first : first + AT_ONCE] for first in range(0, len(lacking), AT_ONCE)]
        async with teacher.client(self.embedder.key, self.embedder.patience.in_flight) as http:
            refused = await self._each(http, batches)
            some = [row for at, reason in refused.items() if reason in TOO_MUCH for row in batches[at]]
            alone = [[row] for row in some] if len(refused) < len(batches) or len(some) <= AT_ONCE else []
            if alone:
                again = await self._each(http, alone)
                self.failed.update(again.values())
                refused = {at: reason for at, reason in refused.items() if reason not in TOO_MUCH}
            for at, reason in refused.items():
                self.failed[reason] += len(batches[at])

    async def _each(self, http: httpx.AsyncClient, batches: Sequence[Sequence[Wanted]]) -> dict[int, str]:
        """Ask for each batch and record what comes; of each other one, why."""
        questions = [question([text for _, texts in batch for text in texts]) for batch in batches]
        lost: dict[int, str] = {}
        stream = teacher.post_all(http, self.embedder.server, EMBEDDINGS, questions, self.embedder.patience)
        async with aclosing(stream):
            async for at, said in stream:
                reason = said.reason if isinstance(said, Failed) else self._record(batches[at], said)
                if reason is not None:
                    lost[at] = reason
                else:
                    self.done += len(batches[at])
                    self.note(self.done)
        return lost

    def _record(self, batch: Sequence[Wanted], said: Embedded) -> str | None:
        """Write a batch's events; why not, where the answer is of no use."""
        if said.version != self.by.version:
            return ANOTHER_VERSION
        if len(said.vectors) != 2 * len(batch):
            return MALFORMED
        pairs = zip(said.vectors[::2], said.vectors[1::2], strict=True)
        values = [meaning.packed(asked, answered, self.apart) for asked, answered in pairs]
        if not all(values):
            return MALFORMED
        made = [self._event(one, value) for one, value in zip(batch, values, strict=True)]
        self.embedder.log.append(CURATION, [(place_of(event)[1], encode(event)) for event in made], durable=True)
        return None

    def _event(self, wanted: Wanted, value: Any) -> ComputedEvent:
        proposal, texts = wanted
        feedback = proposal.source.feedback
        return ComputedEvent(
            id=meaning.event_id(feedback, self.by, texts),
            feedback=feedback,
            channel=self.channel,
            at_ms=self.clock(),
            what=meaning.WHAT,
            model=self.by.model,
            version=self.by.version,
            value=value,
        )
