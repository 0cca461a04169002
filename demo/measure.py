"""Asks the held-out, paraphrased and general questions through the service, and counts what came back.

Each figure is a count of answers that the channel gave, at temperature 0, some of them streamed. A question that got no
answer counts as wrong here and as a failed request in the report. It knows nothing of how the service judges itself.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from demo.client import Answer, Client, Message
from demo.helpdesk import SYSTEM_PROMPT, Case, answer_for, category_of
from demo.intervals import paired_difference, wilson

GENERAL_FILE = Path(__file__).resolve().parent.parent / "retrain" / "prompts" / "general.jsonl"

DESK_TOKENS = 48  # the house's longest answer has about 25
GENERAL_TOKENS = 32
AT_ONCE = 24
STREAMED = 3  # every third question is streamed
NO_FORM = "(no form)"
LEAK = re.compile(r"category:|next step:", re.IGNORECASE)

Asked = Callable[[int, int], None]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class GeneralPrompt:
    """A short question that has nothing to do with the desk, with the answers that count as right."""

    id: str
    prompt: str
    accept: tuple[str, ...]


@dataclass(frozen=True)
class Marks:
    """A desk case's answer, marked. `category` is None where the form is not kept."""

    id: str
    wanted: str
    category: str | None
    whole: bool

    @property
    def form(self) -> bool:
        """Whether the house's form was kept."""
        return self.category is not None

    @property
    def right(self) -> bool:
        """Whether the form was kept and the category is the one that the house wants."""
        return self.category == self.wanted


def load_general(path: Path = GENERAL_FILE) -> tuple[GeneralPrompt, ...]:
    """The general questions, one JSON object a line."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return tuple(GeneralPrompt(row["id"], row["prompt"], tuple(row["accept"])) for row in rows)


def to_desk(text: str) -> list[Message]:
    """A question as the desk's application sends it."""
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": text}]


def accepted(answer: str, accept: Iterable[str]) -> bool:
    """Whether one of `accept` stands in the answer, case and Unicode's compatibility forms aside, as whole words."""
    text = _folded(answer)
    return any(re.search(rf"(?<!\w){re.escape(_folded(word))}(?!\w)", text) for word in accept)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def mark(case: Case, answer: str) -> Marks:
    """One desk answer against what the house wants."""
    return Marks(case.id, case.category, category_of(answer), answer.strip() == answer_for(case.category))


async def ask_desk(client: Client, channel: str, cases: Sequence[Case], asked: Asked) -> dict[str, Any]:
    """Ask each case once and mark it: {"marks": {id: {wanted, category, whole}}, "releases": [..]}."""

    async def ask(numbered: tuple[int, Case]) -> tuple[Answer, Marks]:
        number, case = numbered
        stream = number % STREAMED == 0
        answer = await client.ask(channel, to_desk(case.complaint), f"auditor-{number}", DESK_TOKENS, stream)
        return answer, mark(case, answer.text)

    pairs = await spread(list(enumerate(cases)), ask, asked)
    return {
        "marks": {m.id: {"wanted": m.wanted, "category": m.category, "whole": m.whole} for _, m in pairs},
        "releases": _releases(answer for answer, _ in pairs),
    }


async def ask_general(client: Client, channel: str, prompts: Sequence[GeneralPrompt], asked: Asked) -> dict[str, Any]:
    """Ask each general question once, without the desk's system prompt: {"right": {id: bool}, "leaks", "releases"}."""

    async def ask(numbered: tuple[int, GeneralPrompt]) -> tuple[Answer, GeneralPrompt]:
        number, prompt = numbered
        messages = [{"role": "user", "content": prompt.prompt}]
        stream = number % STREAMED == 0
        return await client.ask(channel, messages, f"auditor-{number}", GENERAL_TOKENS, stream), prompt

    pairs = await spread(list(enumerate(prompts)), ask, asked)
    return {
        "right": {prompt.id: accepted(answer.text, prompt.accept) for answer, prompt in pairs},
        "leaks": sum(LEAK.search(answer.text) is not None for answer, _ in pairs),
        "releases": _releases(answer for answer, _ in pairs),
    }


async def spread(items: Sequence[T], work: Callable[[T], Awaitable[R]], done: Asked, at_once: int = AT_ONCE) -> list[R]:
    """Do `work` on every item, `at_once` at a time, in order; `done` hears (finished, of) after each."""
    gate = asyncio.Semaphore(at_once)
    finished = 0

    async def one(item: T) -> R:
        nonlocal finished
        async with gate:
            result = await work(item)
        finished += 1
        done(finished, len(items))
        return result

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(item)) for item in items]
    return [task.result() for task in tasks]


def _releases(answers: Iterable[Answer]) -> list[str]:
    return sorted({answer.release for answer in answers if answer.release is not None})


def compare_desk(base: Mapping[str, Any], served: Mapping[str, Any] | None) -> dict[str, Any]:
    """`ask_desk` of the base and of what serves now, as the report has it, one entry for each way of being right.

    Per entry: base and served are counts of n, `base_interval` and `interval` are Wilson's, `gain` is the paired
    difference with its own. What has not been measured is null.
    """
    before = _read_marks(base)
    after = None if served is None else _read_marks(served)
    ways: Mapping[str, Callable[[Marks], bool]] = {
        "form": lambda marks: marks.form,
        "category": lambda marks: marks.right,
        "whole": lambda marks: marks.whole,
    }
    report = {
        name: compare(
            {key: way(marks) for key, marks in before.items()},
            None if after is None else {key: way(marks) for key, marks in after.items()},
        )
        for name, way in ways.items()
    }
    report["category"]["confusion"] = None if after is None else confusion(after.values())
    return report


def compare(base: Mapping[str, bool], served: Mapping[str, bool] | None) -> dict[str, Any]:
    """Counts, Wilson intervals and the paired difference of one set asked twice; null where it was asked once."""
    n, before = len(base), sum(base.values())
    report: dict[str, Any] = {"base": before, "n": n, "base_interval": wilson(before, n)}
    if served is None:
        return report | {"served": None, "interval": None, "gain": None, "gain_interval": None}
    after = sum(served.values())
    gain, gain_interval = paired_difference(*_fourfold(base, served))
    return report | {"served": after, "interval": wilson(after, n), "gain": gain, "gain_interval": gain_interval}


def compare_general(
    base: Mapping[str, Any], served: Mapping[str, Any] | None, evidence: Mapping[str, Any]
) -> dict[str, Any]:
    """The general set as the report has it; KL and its estimator are the run's own, from its report."""
    right = compare(base["right"], None if served is None else served["right"])
    return {
        "base": right["base"],
        "served": right["served"],
        "n": right["n"],
        "difference": right["gain"],
        "interval": right["gain_interval"],
        "kl": evidence.get("kl"),
        "kl_tokens": evidence.get("kl_tokens"),
        "kl_estimator": evidence.get("kl_estimator"),
        "leaks": None if served is None else served["leaks"],
        "base_leaks": base["leaks"],
    }


def confusion(marks: Iterable[Marks]) -> dict[str, dict[str, int]]:
    """Wanted category -> category given -> count, `(no form)` among those given."""
    counts: dict[str, Counter[str]] = {}
    for entry in marks:
        counts.setdefault(entry.wanted, Counter())[entry.category or NO_FORM] += 1
    return {wanted: dict(given.most_common()) for wanted, given in sorted(counts.items())}


def _read_marks(asked: Mapping[str, Any]) -> dict[str, Marks]:
    return {key: Marks(key, row["wanted"], row["category"], row["whole"]) for key, row in asked["marks"].items()}


def _fourfold(before: Mapping[str, bool], after: Mapping[str, bool]) -> tuple[int, int, int, int]:
    """Right both times, only after, only before, neither."""
    pairs = Counter((before[key], after[key]) for key in before)
    return pairs[True, True], pairs[False, True], pairs[True, False], pairs[False, False]
