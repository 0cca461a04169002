"""The nouns that the store keeps, as values. The store reads and writes them; decisions take and return them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thumbwheel.ids import engine_name

RELEASE_STATES = ("draft", "candidate", "stable", "retired", "rejected")
ROLLOUT_ACTIVE = ("running", "paused", "held")
ROLLOUT_STATES = (*ROLLOUT_ACTIVE, "promoted", "rolled_back", "aborted")
RUN_BUSY = ("queued", "curating", "training", "evaluating")
RUN_STATES = (*RUN_BUSY, "candidate", "rejected", "insufficient_evidence", "failed")

Interval = tuple[float, float]
"""A half-open part [low, high) of the unit interval onto which units hash."""


@dataclass(frozen=True)
class Stage:
    """One step of a rollout. `weight` is percent; the minima count the candidate's units and requests."""

    weight: float
    min_units: int = 8
    min_requests: int = 20
    deadline_s: float = 3600.0


DEFAULT_STAGES = tuple(Stage(weight) for weight in (5.0, 25.0, 50.0, 100.0))


@dataclass(frozen=True)
class Clean:
    """What a channel adds to the cleaning of corrections. `min_chars` and `max_chars` are of a correction."""

    blocked_terms: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()  # strings of the house that are never redacted
    min_chars: int | None = None
    max_chars: int | None = None


@dataclass(frozen=True)
class Mix:
    """Which rows a channel's datasets have room for: shares of training rows by tag, and how old feedback may be."""

    shares: Mapping[str, float] = field(default_factory=dict)  # tag -> share
    other: float | None = None  # of the rows that have none of these tags; None: as many as there are
    max_age_days: int | None = None


@dataclass(frozen=True)
class Augment:
    """How training questions are varied. A group of words holds what may stand for each other."""

    kinds: tuple[str, ...] = ()
    per_row: int = 1  # at most so many more rows for each
    synonyms: tuple[tuple[str, ...], ...] = ()  # beside the built-in ones
    terms: tuple[tuple[str, ...], ...] = ()  # names that the house has for one thing


@dataclass(frozen=True)
class Policies:
    """What a channel wants, as PUT /admin/v1/channels/{name} takes it."""

    log: str = "full"
    train: bool = True
    trust: str = "single-user"
    reviews: int = 1
    scorers: tuple[Mapping[str, object], ...] = ()
    train_after: int | None = None
    auto_rollout: bool = True
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    compression: str = "none"
    clean: Clean = Clean()
    mix: Mix = Mix()
    augment: Augment = Augment()
    uncorrected: str = "wait"  # what becomes of a thumb without a correction: wait, kto, propose


@dataclass(frozen=True)
class Variant:
    """A release with the part of the units that it owns beside the stable release, which owns the rest."""

    release: str
    role: str
    band: tuple[Interval, ...] = ()

    @property
    def weight(self) -> float:
        """Percent of units."""
        return 100.0 * sum(high - low for low, high in self.band)


@dataclass(frozen=True)
class Channel:
    """A channel with its routing. `history` holds the earlier stable releases, latest last."""

    name: str
    policies: Policies
    stable: str
    variants: tuple[Variant, ...]  # all but the stable one
    salt: str
    rollout: str | None
    history: tuple[str, ...]
    version: int
    created_ms: int

    @property
    def stable_weight(self) -> float:
        """Percent of units."""
        return 100.0 - sum(variant.weight for variant in self.variants)

    @property
    def table(self) -> list[dict[str, Any]]:
        """The routing table as it is shown: `release`, `role` and `weight` in percent, the stable release first."""
        stable = {"release": self.stable, "role": "stable", "weight": self.stable_weight}
        return [stable, *({"release": v.release, "role": v.role, "weight": v.weight} for v in self.variants)]


@dataclass(frozen=True)
class Release:
    """One servable, immutable version. `adapter` is an artifact's sha256; None serves the pool's own model."""

    id: str
    channel: str
    state: str
    pool: str
    base: str
    adapter: str | None
    run: str | None
    parent: str | None  # the incumbent that it was judged beside
    report: str | None  # the evaluation report's artifact
    reason: str | None
    created_ms: int
    version: int

    @property
    def served_name(self) -> str | None:
        """The name that an engine knows it by; None is the engine's own base."""
        return None if self.adapter is None else engine_name(self.adapter)


@dataclass(frozen=True)
class Rollout:
    """The staged move of a channel to a candidate. `weight` is 0 until the smoke test has passed."""

    id: str
    channel: str
    release: str
    state: str
    stage: int
    stages: tuple[Stage, ...]
    weight: float
    analysis: Mapping[str, object]
    started_ms: int
    stage_started_ms: int | None
    ended_ms: int | None
    version: int


@dataclass(frozen=True)
class Run:
    """One attempt to make a candidate. `positions` is where the event log stood when it was asked for."""

    id: str
    channel: str
    state: str
    positions: Mapping[str, Mapping[str, int]]
    dataset: str | None
    release: str | None
    report: str | None
    reasons: tuple[str, ...]
    progress: Mapping[str, object]
    requested_by: str
    attempts: int
    created_ms: int
    updated_ms: int
    version: int


@dataclass(frozen=True)
class Engine:
    """A process, or an upstream server, that answers for a pool. `incarnation` changes at each start."""

    id: str
    pool: str
    kind: str  # vllm or upstream
    address: str  # a Unix socket's path, or of an upstream `unix:PATH` or a URL, with or without /v1 at its end
    base_name: str  # what the engine calls its own model
    incarnation: str
    state: str  # starting, ready, stopped

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket that it is reached by; None where it is reached by TCP."""
        if self.kind == "vllm":
            return self.address
        return self.address.removeprefix("unix:") if self.address.startswith("unix:") else None

    @property
    def url(self) -> str:
        """What paths such as /v1/models are appended to."""
        return "http://localhost" if self.socket is not None else self.address.rstrip("/").removesuffix("/v1")

    def name_of(self, release: Release) -> str:
        """What it knows the release by."""
        return release.served_name or self.base_name


@dataclass(frozen=True)
class Key:
    """An application's or an administrator's key. Only its hash is kept."""

    id: str
    hash: str
    kind: str  # app or admin
    tenant: str
    rights: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Outcome:
    """What became of one inference, for the analysis of a rollout. `thumb` is the latest that anyone gave it."""

    id: str
    unit: str
    assigned: str  # release id
    role: str  # of the assigned variant: stable or candidate
    served_by: str  # release id
    status: str  # ok, release_error, client_error, cancelled, unavailable
    flags: tuple[str, ...]  # empty, truncated, degenerate
    ttft_ms: float | None
    e2e_ms: float | None
    completion_tokens: int | None
    at_ms: int
    thumb: str | None  # up or down


@dataclass(frozen=True)
class Feedback:
    """What a user said of one inference, with its place in the ledger."""

    id: str
    inference: str
    tenant: str
    channel: str
    at_ms: int  # when it was last received
    seq: int  # its offset in the log then
    author: str | None  # None until its inference is in the store, unless a key with that right named one
    role: str
    thumb: str | None
    score: float | None
    comment: str | None
    correction: str | None
    tags: tuple[str, ...]
    metrics: Mapping[str, bool | float]
    state: str  # waiting, used or refused
    reason: str | None
    dataset: str | None  # the latest frozen dataset that holds it
