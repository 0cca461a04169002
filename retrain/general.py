"""General prompts: does a release still answer what it was never taught? Reads the prompts and marks the answers.

One JSON object a line: {"id", "prompt", "accept": [..], "kind"}; an answer is right if it holds one of `accept` as
whole words, in any case. Pure but for reading the file; it asks no model.

The divergence here is KL(base || release) per token of the base's own greedy answers, from the most likely tokens of
both: those in both lists count one by one, those in the base's alone as one group, all others as one remainder.
Pooling can only lower a divergence, so this is a lower bound on KL over the whole vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.errors import JobError
from thumbwheel.scorers import Scorer, score
from thumbwheel.scoring import bounded

SHIPPED = Path(__file__).parent / "prompts" / "general.jsonl"
LEAST_PREFIX = 12  # characters that a form's opening must have to be told from chance
FLOOR = 1e-6  # the least mass of the remainder: below it, rounding decides

TopLogProbs = Mapping[str, float]
"""Token id -> log-probability (nats) of the most likely tokens at one position."""


@dataclass(frozen=True)
class Prompt:
    """A question with a short answer; `accept` are the texts of which a right answer holds one."""

    id: str
    prompt: str
    accept: tuple[str, ...]
    kind: str


def read_prompts(path: Path) -> tuple[tuple[Prompt, ...], str]:
    """The prompts and the sha256 of their file. Raises JobError naming the line that is wrong."""
    if not path.is_file():
        raise JobError(f"The general prompts are not where the setting `general_prompts` says: {path.name}.")
    raw = path.read_bytes()
    prompts = []
    for number, line in enumerate(raw.decode("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            accept = entry["accept"]
            if not isinstance(accept, list) or not accept or not all(isinstance(text, str) and text for text in accept):
                raise ValueError("`accept` is a list of texts")
            prompts.append(Prompt(str(entry["id"]), str(entry["prompt"]), tuple(accept), str(entry.get("kind", ""))))
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(f"{path.name} line {number} is no general prompt: {error}.") from error
    if len({prompt.id for prompt in prompts}) < len(prompts):
        raise JobError(f"{path.name} holds an id twice.")
    return tuple(prompts), hashlib.sha256(raw).hexdigest()


def is_right(answer: str, accept: Sequence[str]) -> bool:
    """Whether `answer` holds one of `accept` as whole words, after NFKC, in any case."""
    text = unicodedata.normalize("NFKC", answer).casefold()
    return any(
        re.search(rf"(?<!\w){re.escape(unicodedata.normalize('NFKC', wanted).casefold())}(?!\w)", text)
        for wanted in accept
    )


def divergence(base: TopLogProbs, release: TopLogProbs) -> float:
    """KL(base || release) at one position, nats, from both lists: a lower bound (see the module's docstring)."""
    shared = base.keys() & release.keys()
    known = math.fsum(math.exp(base[token]) * (base[token] - release[token]) for token in shared)
    missed = math.fsum(math.exp(base[token]) for token in base.keys() - shared)
    rest = max(0.0, 1 - math.fsum(math.exp(value) for value in base.values()))
    left = max(FLOOR, 1 - math.fsum(math.exp(release[token]) for token in shared))
    # The release gives a token that it does not list at most its last listed one's probability. Within that limit, the
    # mass that it has left is split as suits it best, which keeps the sum a lower bound.
    at_most = (len(base) - len(shared)) * math.exp(min(release.values(), default=0.0))
    given = min(left * missed / (missed + rest), at_most) if missed > FLOOR else 0.0
    for mass, held in ((missed, given), (rest, left - given)):
        if mass > FLOOR:
            known += mass * math.log(mass / max(FLOOR, held))
    return max(0.0, known)


@dataclass(frozen=True)
class FormMark:
    """How the taught form is recognised in an answer: by a scorer of the channel, or by the opening of the answers."""

    label: str
    scorer: Scorer | None = None
    opening: str = ""

    def matches(self, answer: str) -> bool:
        """Whether `answer` has the form. Raises JobError where its scorer takes too long."""
        if self.scorer is None:
            return answer.lstrip().casefold().startswith(self.opening)
        with bounded(self.label, self.scorer.most_s):
            if self.scorer.kind == "label" and self.scorer.pattern is not None:
                return self.scorer.pattern.search(answer) is not None
            return score(self.scorer, answer, None) == 1.0


def form_marks(scorers: Sequence[Scorer], completions: Sequence[str]) -> tuple[FormMark, ...]:
    """The marks of the taught form: the channel's regex, label and schema scorers.

    Where the channel has none of them, the longest opening that half of the accepted answers share, if there is one.
    """
    marks = [
        FormMark(f"scorer {number} ({scorer.kind})", scorer)
        for number, scorer in enumerate(scorers, start=1)
        if scorer.kind in ("regex", "label", "json_schema")
    ]
    if marks:
        return tuple(marks)
    opening = _shared_opening(completions)
    return (FormMark(f"opening {opening!r}", opening=opening),) if opening else ()


def _shared_opening(completions: Sequence[str]) -> str:
    """Sorted, the texts that share an opening stand together: some window of half of them shares the longest one."""
    texts = sorted(text.lstrip().casefold() for text in completions)
    half = (len(texts) + 1) // 2
    if half < 2:
        return ""
    windows = (_common(texts[at], texts[at + half - 1]) for at in range(len(texts) - half + 1))
    longest = max(windows, key=len)
    return longest if len(longest) >= LEAST_PREFIX else ""


def _common(one: str, other: str) -> str:
    length = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]
