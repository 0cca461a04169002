"""Asks an engine what the gate wants to know: draft and incumbent side by side, as they will be served.

`plan` chooses what is asked, by ids alone; `measure` asks it. Nothing is judged here (see retrain/evidence.py and
retrain/gate.py), and nothing is known of runs or the store.

An answer's log-probability is teacher-forced: the row's messages with the accepted answer as the assistant's, its
tokens alone counted, the end of the turn not. Generated answers are asked for as users ask: the same messages, greedy
and then several times at the temperature that users are served with.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Coroutine, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

from retrain import contrast
from retrain.engine_client import Answer, EngineClient, Notebook, Position
from retrain.gate_config import Measure
from retrain.general import Prompt, divergence
from retrain.rows import Row
from thumbwheel.errors import ClientRejected, JobError, ReleaseFailed

TOP = 20  # most likely tokens on both sides for the divergence: the most that engines give by default
SEED = 20  # of sampled answers: the same request, the same answer, as far as the engine's batching lets it
T = TypeVar("T")
Progress = Callable[[int, int], None]  # requests done, requests planned


@dataclass(frozen=True)
class Plan:
    """What is asked. `left_out` counts rows beyond the caps of gate.yaml."""

    fresh: tuple[Row, ...]  # test rows new since the incumbent's data
    older: tuple[Row, ...]  # test rows that were there
    taught: tuple[Row, ...]  # train and validation rows that the incumbent learnt from
    items: tuple[contrast.Item, ...]  # one a group of test rows
    pairs: tuple[tuple[int, int], ...]  # of indices into `items`
    prompts: tuple[Prompt, ...]
    left_out: int


@dataclass(frozen=True)
class Sides:
    """A figure under both releases."""

    draft: float
    incumbent: float

    @property
    def gain(self) -> float:
        """Draft less incumbent."""
        return self.draft - self.incumbent


@dataclass(frozen=True)
class HeldOut:
    """One test row: log-probability of its accepted answer (nats per token), and generated answers, greedy first."""

    row: Row
    fresh: bool
    own: Sides
    draft: tuple[Answer, ...]
    incumbent: tuple[Answer, ...]


@dataclass(frozen=True)
class TaughtItem:
    """A case corrected before, with its accepted answer's log-probability."""

    row: Row
    own: Sides


@dataclass(frozen=True)
class GeneralItem:
    """One general prompt: greedy answers, and KL(base || draft) at each token of the base's."""

    prompt: Prompt
    base: Answer
    draft: Answer
    divergences: tuple[float, ...]


@dataclass
class Measurements:
    """What was measured. `cross` holds log-probabilities by (question, answer), indices into the plan's items."""

    tests: list[HeldOut] = field(default_factory=list)
    taught: list[TaughtItem] = field(default_factory=list)
    cross: dict[tuple[int, int], Sides] = field(default_factory=dict)
    general: list[GeneralItem] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  # rows and prompts that the engine does not take: too long
    not_finite: int = 0
    draft_failure: str | None = None


def plan(rows: Sequence[tuple[Row, str | None]], known: Set[str], prompts: Sequence[Prompt], measure: Measure) -> Plan:
    """What to ask. `rows` come with the dataset in which each first appeared (None: this one).

    `known` are the datasets that the incumbent learnt from; a row that first appeared in none of them is new to it.
    """
    fresh = [row for row, since in rows if row.split == "test" and since not in known]
    older = [row for row, since in rows if row.split == "test" and since in known]
    taught = [row for row, since in rows if row.split != "test" and since in known and not row.augmented]
    kept_fresh, kept_older = _some(fresh, measure.max_test_rows), _some(older, measure.max_test_rows)
    kept_taught = _some(taught, measure.max_taught_rows)
    items = contrast.representatives(
        [contrast.Item(row.id, row.group, row.completion, True) for row in kept_fresh]
        + [contrast.Item(row.id, row.group, row.completion, False) for row in kept_older]
    )
    kept = len(kept_fresh) + len(kept_older) + len(kept_taught)
    return Plan(
        fresh=kept_fresh,
        older=kept_older,
        taught=kept_taught,
        items=items,
        pairs=contrast.pairs(items, measure.contrast_partners),
        prompts=tuple(prompts),
        left_out=len(fresh) + len(older) + len(taught) - kept,
    )


def _some(rows: Sequence[Row], most: int) -> tuple[Row, ...]:
    """At most so many, by a hash of their ids: no order of the file and no person chooses them."""
    if len(rows) <= most:
        return tuple(rows)
    chosen = sorted(rows, key=lambda row: hashlib.blake2b(row.id.encode(), digest_size=8).digest())[:most]
    return tuple(sorted(chosen, key=lambda row: row.id))


@dataclass(frozen=True)
class Releases:
    """The names at the engine; None is its own base."""

    draft: str
    incumbent: str | None


async def measure(
    client: EngineClient,
    asked: Plan,
    releases: Releases,
    how: Measure,
    notebook: Notebook,
    base_notebook: Notebook,
    report: Progress,
) -> Measurements:
    """Ask everything that `asked` names. `base_notebook` keeps the base's answers to general prompts between runs.

    Raises EngineUnreachable, and JobError where the incumbent or the base cannot be served. A draft that the engine
    cannot serve is a measurement: `draft_failure`.
    """
    session = _Session(client, asked, releases, how, notebook, base_notebook, report)
    try:
        await session.run()
    except ReleaseFailed as error:
        session.found.draft_failure = f"the engine cannot answer with the draft (status {error.status}): {error}"
    return session.found


class _Session:
    """One pass over a plan: what is known so far, and how many requests are done."""

    def __init__(
        self,
        client: EngineClient,
        asked: Plan,
        releases: Releases,
        how: Measure,
        notebook: Notebook,
        base_notebook: Notebook,
        report: Progress,
    ) -> None:
        self.client, self.asked, self.releases, self.how = client, asked, releases, how
        self.notebook, self.base_notebook, self.report = notebook, base_notebook, report
        self.found = Measurements()
        self.prompt_tokens: dict[str, int] = {}
        tests = len(asked.fresh) + len(asked.older)
        scored = tests + len(asked.taught) + 2 * len(asked.pairs)
        self.done, self.planned = 0, tests + len(asked.taught) + 2 * scored + 4 * tests + 4 * len(asked.prompts)

    async def run(self) -> None:
        """Scoring first: it counts the longest accepted answer, and generated ones may be twice as long."""
        rows = [*self.asked.fresh, *self.asked.older, *self.asked.taught]
        if not rows and not self.asked.prompts:
            return
        await _together(self._count_prompt(row) for row in rows)
        tests = [row for row in rows[: len(rows) - len(self.asked.taught)] if row.id in self.prompt_tokens]
        owns = await _together(self._own(row) for row in rows if row.id in self.prompt_tokens)
        own = {row_id: (sides, tokens) for row_id, sides, tokens in owns if sides is not None}
        longest = max((tokens for _, tokens in own.values()), default=0)
        limit = min(self.how.answer_max_tokens, 2 * longest + 16)
        await _together(self._cross(question, answer) for pair in self.asked.pairs for question, answer in _ways(pair))
        fresh = {row.id for row in self.asked.fresh}
        for index, item in enumerate(self.asked.items):
            if item.id in own:
                self.found.cross[index, index] = own[item.id][0]
        answered = await _together(self._answers(row, limit) for row in tests if row.id in own)
        self.found.tests = [
            HeldOut(row, row.id in fresh, own[row.id][0], draft, incumbent) for row, draft, incumbent in answered
        ]
        self.found.taught = [TaughtItem(row, own[row.id][0]) for row in self.asked.taught if row.id in own]
        general = await _together(self._general(prompt) for prompt in self.asked.prompts)
        self.found.general = [item for item in general if item is not None]

    async def _step(self, work: Coroutine[Any, Any, T], *, of_draft: bool) -> T:
        """One request, counted. Only the draft's failures are the draft's."""
        try:
            return await work
        except ReleaseFailed as error:
            if of_draft:
                raise
            raise JobError(f"The engine cannot serve the release that the draft is judged beside: {error}") from error
        finally:
            self.done += 1
            self.report(self.done, self.planned)

    async def _count_prompt(self, row: Row) -> None:
        ask = self.client.answers(self.notebook, self.releases.incumbent, row.messages, max_tokens=1)
        try:
            self.prompt_tokens[row.id] = (await self._step(ask, of_draft=False))[0].prompt_tokens
        except ClientRejected:
            self.found.refused.append(row.id)

    async def _score(self, row_id: str, messages: Sequence[Any], answer: str) -> tuple[Sides | None, int]:
        """The answer's log-probability per token under both releases, and its tokens."""
        values, tokens = [], 0
        for model, of_draft in ((self.releases.draft, True), (self.releases.incumbent, False)):
            ask = self.client.positions(
                self.notebook, model, messages, answer, prompt_tokens=self.prompt_tokens[row_id]
            )
            positions = await self._step(ask, of_draft=of_draft)
            tokens = len(positions)
            numbers = [position.logprob for position in positions]
            self.found.not_finite += sum(not math.isfinite(number) for number in numbers)
            values.append(math.fsum(numbers) / tokens if tokens else math.nan)
        if not all(map(math.isfinite, values)):
            return None, tokens
        return Sides(values[0], values[1]), tokens

    async def _own(self, row: Row) -> tuple[str, Sides | None, int]:
        try:
            return row.id, *await self._score(row.id, row.messages, row.completion)
        except ClientRejected:
            self.found.refused.append(row.id)
            return row.id, None, 0

    async def _cross(self, question: int, answer: int) -> None:
        row = next(row for row in (*self.asked.fresh, *self.asked.older) if row.id == self.asked.items[question].id)
        if row.id not in self.prompt_tokens:
            return
        try:
            sides, _ = await self._score(row.id, row.messages, self.asked.items[answer].answer)
        except ClientRejected:
            return
        if sides is not None:
            self.found.cross[question, answer] = sides

    async def _answers(self, row: Row, limit: int) -> tuple[Row, tuple[Answer, ...], tuple[Answer, ...]]:
        sides = []
        for model, of_draft in ((self.releases.draft, True), (self.releases.incumbent, False)):
            greedy = self.client.answers(self.notebook, model, row.messages, max_tokens=limit)
            sampled = self.client.answers(
                self.notebook,
                model,
                row.messages,
                max_tokens=limit,
                temperature=self.how.temperature,
                n=self.how.samples,
                seed=SEED,
            )
            first = await self._step(greedy, of_draft=of_draft)
            sides.append((*first, *await self._step(sampled, of_draft=of_draft)))
        return row, sides[0], sides[1]

    async def _general(self, prompt: Prompt) -> GeneralItem | None:
        messages = _turn(prompt)
        limit, draft = self.how.general_max_tokens, self.releases.draft
        try:
            said = await self._step(base_says(self.client, self.base_notebook, prompt, self.how), of_draft=False)
            answers = self.client.answers(self.notebook, draft, messages, max_tokens=limit)
            (answer,) = await self._step(answers, of_draft=True)
            if not said.text.strip():
                return GeneralItem(prompt, said, answer, ())
            reference = await self._step(base_positions(self.client, self.base_notebook, prompt, said), of_draft=False)
            positions = self.client.positions(
                self.notebook, draft, messages, said.text, prompt_tokens=said.prompt_tokens, top=TOP
            )
            held = await self._step(positions, of_draft=True)
        except ClientRejected:
            self.found.refused.append(prompt.id)
            return None
        self.found.not_finite += sum(not math.isfinite(value) for one in held for value in one.top.values())
        divergences = tuple(
            divergence(one.top, other.top)
            for one, other in zip(reference, held, strict=True)
            if all(map(math.isfinite, (*one.top.values(), *other.top.values())))
        )
        return GeneralItem(prompt, said, answer, divergences)


async def base_says(client: EngineClient, notebook: Notebook, prompt: Prompt, how: Measure) -> Answer:
    """The base's greedy answer to a general prompt. Raises what the client's methods raise."""
    (said,) = await client.answers(notebook, None, _turn(prompt), max_tokens=how.general_max_tokens)
    return said


async def base_positions(client: EngineClient, notebook: Notebook, prompt: Prompt, said: Answer) -> list[Position]:
    """The base's likeliest tokens at each token of what it said itself. Raises what the client's methods raise."""
    return await client.positions(notebook, None, _turn(prompt), said.text, prompt_tokens=said.prompt_tokens, top=TOP)


def _turn(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt.prompt}]


def _ways(pair: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return pair, (pair[1], pair[0])


async def _together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All of them, in order; the first that fails takes the others with it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
