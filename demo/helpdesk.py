"""The fictional shop's help desk that the demo plays: its house form, its data, and the checks on both.

Run `python -m demo.helpdesk` to check the data and print its counts.

The desk answers every complaint on one line: a category that must be inferred from an indirect complaint, and the next
step that belongs to that category. Seven categories are taught in the first cycle and an eighth in the second. The
held-out complaints are new situations that nobody corrects; paraphrases are new wordings of taught ones, and are
reported apart from them.

It knows nothing about the service, the gateway or a model: it reads files and returns values.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

SYSTEM_PROMPT = "You answer the help desk of Larkfield Goods."

NEXT_STEPS: Mapping[str, str] = {
    "quality fault": "send it back free with the prepaid label",
    "transit damage": "keep the box, a new one leaves today",
    "wrong item": "the courier swaps it at your door",
    "missing part": "the spare goes out by first-class post",
    "late delivery": "we trace the parcel and call you tomorrow",
    "billing error": "the money is back within three days",
    "account access": "open the reset link in our text message",
    "poor fit": "choose another size on the exchange form",
}
SECOND_CYCLE = "poor fit"
CHANNEL = "support"  # the desk's own, on the service

# The one group is the category, so the same pattern serves as a `regex` scorer (form) and a `label` scorer (category).
FORM = re.compile(rf"^Category: ({'|'.join(NEXT_STEPS)}) \| Next step: [a-z][a-z ,-]{{9,59}}\.$")

COMPLAINT_WORDS = range(8, 31)
DATA = Path(__file__).parent / "helpdesk"

JunkKind = Literal[
    "empty", "whitespace", "self_identical", "too_long", "gibberish", "contradiction", "thumb_up", "thumb_down"
]

Problem = tuple[str, str, str]  # where, what it held, what would be right


class BadData(ValueError):
    """The help desk's data is not as it should be. `problems` holds every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{where}: {held}; {right}" for where, held, right in self.problems))


@dataclass(frozen=True, slots=True)
class Case:
    """A complaint with the answer that the house accepts. `of` is the taught case that a paraphrase rewords."""

    id: str
    complaint: str
    category: str
    answer: str
    of: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One line of traffic; `category` is None for small talk, which has no house form."""

    id: str
    text: str
    category: str | None


@dataclass(frozen=True, slots=True)
class Junk:
    """Feedback that teaches nothing, or must be refused, with the complaint it follows.

    A `self_identical` correction is None here: the player sends back whatever answer it was given.
    """

    id: str
    kind: JunkKind
    complaint: str
    thumb: Literal["up", "down"]
    correction: str | None
    comment: str | None


@dataclass(frozen=True, slots=True)
class HelpDesk:
    """All that the demo asks, corrects and measures. Orders are the files' own, with categories mixed."""

    corrections: tuple[Case, ...]
    heldout: tuple[Case, ...]
    paraphrases: tuple[Case, ...]
    corrections2: tuple[Case, ...]
    heldout2: tuple[Case, ...]
    traffic: tuple[Question, ...]
    junk: tuple[Junk, ...]


def answer_for(category: str) -> str:
    """The house's answer to a complaint of `category`. Raises KeyError for a category that the house lacks."""
    return f"Category: {category} | Next step: {NEXT_STEPS[category]}."


def category_of(answer: str) -> str | None:
    """The category that an answer in the house's form names; None where the form is not kept."""
    found = FORM.match(answer.strip())
    return found[1] if found else None


def load(folder: Path = DATA) -> HelpDesk:
    """Read and check the help desk's data. Raises BadData with every problem, by file and id."""
    desk = HelpDesk(
        corrections=_cases(folder, "corrections"),
        heldout=_cases(folder, "heldout"),
        paraphrases=_cases(folder, "paraphrases"),
        corrections2=_cases(folder, "corrections2"),
        heldout2=_cases(folder, "heldout2"),
        traffic=tuple(Question(**row) for row in _rows(folder, "traffic", Question)),
        junk=tuple(Junk(**row) for row in _rows(folder, "junk", Junk)),
    )
    if problems := tuple(check(desk)):
        raise BadData(problems)
    return desk


def check(desk: HelpDesk) -> Iterator[Problem]:
    """What is wrong with the data, as (id, what it held, what would be right)."""
    cases = (*desk.corrections, *desk.heldout, *desk.paraphrases, *desk.corrections2, *desk.heldout2)
    entries: tuple[Case | Question | Junk, ...] = (*cases, *desk.traffic, *desk.junk)
    ids = Counter(entry.id for entry in entries)
    yield from ((id_, f"{n} entries", "an id of its own") for id_, n in ids.items() if n > 1)

    for case in cases:
        if case.category not in NEXT_STEPS:
            yield case.id, repr(case.category), f"one of {', '.join(NEXT_STEPS)}"
        elif case.answer != answer_for(case.category):
            yield case.id, repr(case.answer), repr(answer_for(case.category))
        if len(case.complaint.split()) not in COMPLAINT_WORDS:
            yield case.id, f"{len(case.complaint.split())} words", "8 to 30 words"

    taught = {case.id: case.category for case in desk.corrections}
    for case in desk.paraphrases:
        if taught.get(case.of or "") != case.category:
            yield case.id, f"of {case.of!r}", "the id of a correction of the same category"

    for question in desk.traffic:
        if question.category is not None and question.category not in NEXT_STEPS:
            yield question.id, repr(question.category), f"null or one of {', '.join(NEXT_STEPS)}"

    measured = {case.complaint for case in (*desk.heldout, *desk.heldout2)}
    seen = {case.complaint for case in (*desk.corrections, *desk.paraphrases, *desk.corrections2)}
    seen |= {question.text for question in desk.traffic} | {junk.complaint for junk in desk.junk}
    yield from ((text, "held out and asked elsewhere", "one of the two") for text in sorted(measured & seen))


def _cases(folder: Path, name: str) -> tuple[Case, ...]:
    return tuple(Case(**row) for row in _rows(folder, name, Case))


def _rows(folder: Path, name: str, shape: type[Case] | type[Question] | type[Junk]) -> list[dict[str, Any]]:
    """The rows of one file, each an object with the fields of `shape` and no others."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        raise BadData([(f"{name}.jsonl", "no such file", "the help desk's data, as shipped with the demo")])
    known = {field.name for field in fields(shape)}
    required = known - {"of"}
    rows: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{name}.jsonl:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as broken:
            problems.append((where, broken.msg, "one JSON object a line"))
            continue
        if not isinstance(row, dict) or not required <= row.keys() <= known:
            held = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            problems.append((where, held, f"an object of {', '.join(sorted(required))}"))
            continue
        rows.append(row)
    if problems:
        raise BadData(problems)
    return rows


def main() -> None:
    """Check the shipped data and print how much there is of each."""
    desk = load()
    for field in fields(desk):
        entries = getattr(desk, field.name)
        groups = Counter(entry.kind if isinstance(entry, Junk) else entry.category or "small talk" for entry in entries)
        print(f"{field.name:12} {len(entries):4}  {', '.join(f'{name} {n}' for name, n in sorted(groups.items()))}")


if __name__ == "__main__":
    main()
