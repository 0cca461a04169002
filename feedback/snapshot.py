"""All that curation may depend on, as values; what it asks of rows; and what a row became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from feedback import trust
from feedback.dedupe import Proposal
from feedback.join import Joined
from feedback.meaning import NOT_CONFIGURED
from feedback.names import By
from thumbwheel.events import ComputedEvent, ExclusionEvent, ProposalEvent, ReviewEvent
from thumbwheel.records import Augment, Clean, Mix

SFT, KTO = "sft", "kto"
AUGMENTED = "augmented"  # of a line that is another wording of an example

Verdict = tuple[str, str | None]
"""State and reason."""


@dataclass(frozen=True)
class Limits:
    """What curation asks of rows. Widths are in columns (`clean.width`)."""

    min_width: int = 2
    max_width: int = 8_000
    max_prompt_width: int = 32_000
    author_rows: int = 20
    author_share: float = 0.1
    min_train: int = 20  # rows
    min_test: int = 20  # groups of test rows
    min_new_test: int = 10  # groups of test rows that the incumbent's dataset does not hold
    # How near question and target of two rows are by their vectors where they may be one: 0 as different ones usually
    # are, 1 equal (meaning.py).
    near_question: float = 0.8
    near_target: float = 0.8


@dataclass(frozen=True)
class Snapshot:
    """All that curation may depend on.

    It is of the moment `as_of_ms`, where the event log had been read to `positions`; feedback that had been there for
    `window_ms` by then waits for nobody but a reviewer. `before` are the channel's datasets until then, the oldest
    first, and `splits` their groups. `since` is, for each example of the incumbent's dataset, the first dataset of its
    line that held it. `names` are what `names_by` found to be names, by feedback: what is not in it was not looked at,
    and waits. `embeddings` are vectors by the id of their event, `embeddings_by` who computed them; where nobody did,
    `embeddings_off` says why. `policies` are the channel's, as the card keeps them; what curation asks of them is here
    by itself. `uncorrected` is what becomes of thumbs without a correction. `wants_new` is false where a draft is
    judged that was not trained here: then nothing new is needed.
    """

    channel: str
    rows: Sequence[Joined]
    as_of_ms: int
    positions: Mapping[str, Mapping[int, int]]
    splits: Mapping[str, str] = field(default_factory=dict)
    incumbent: str | None = None
    since: Mapping[str, str] = field(default_factory=dict)
    wants_new: bool = True
    limits: Limits = Limits()
    clean: Clean = field(default_factory=Clean)
    trust: str = trust.SINGLE_USER
    uncorrected: str = "wait"
    mix: Mix = field(default_factory=Mix)
    augment: Augment = field(default_factory=Augment)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names_by: By | None = None
    embeddings: Mapping[str, object] = field(default_factory=dict)
    embeddings_by: By | None = None
    embeddings_off: str | None = NOT_CONFIGURED
    reviews: Sequence[ReviewEvent] = ()
    reviewers: int = 1  # so many have to say the same of a row
    proposals: Sequence[ProposalEvent] = ()
    exclusions: Sequence[ExclusionEvent] = ()
    reworded: Sequence[ComputedEvent] = ()
    window_ms: int = 30 * 86_400_000
    before: Sequence[str] = ()
    policies: Mapping[str, object] = field(default_factory=dict)

    @property
    def closed_ms(self) -> int:
        """The window of what was received then, or before, is over."""
        return self.as_of_ms - self.window_ms


@dataclass(frozen=True)
class Example:
    """One training row. `weight` is what it counts beside others of its kind."""

    id: str
    proposal: Proposal
    group: str
    split: str
    since: str | None
    weight: float = 1.0

    @property
    def kind(self) -> str:
        """`kto` of a thumb without a correction, else `sft`."""
        return SFT if self.proposal.label is None else KTO
