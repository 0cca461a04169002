"""Further wordings of what is trained on, where a channel wants them: pure functions.

Only the last user turn of a training row is said otherwise; what the model is to answer is never touched. An augmented
row says from which row it came and how, and is otherwise that row: the same split and group, the same feedback and
author, so whatever excludes or erases the one takes the other along. It is no correction: no ledger, no cap, no share
and no minimum counts it.

    synonyms    a word for another of the same meaning, built in or the channel's (vary/words.py)
    terms       a name that the house has for a thing for another one
    noise       slips of the pen (vary/noise.py)
    paraphrase, back_translation
                what a model said before, if it did (vary/recorded.py; rewording.py asks for it)

A wording that is known already goes, whoever it is known from: a question that judges would be trained on, another one
that is trained on would get two answers. So does one whose row says nearly what a held-out row says (near.py), and one
in which another number, name, code or negation stands. What kind a row gets, and what is drawn in it, is by a hash of
the row. It knows no grammar and asks no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from feedback import dedupe, splits
from feedback.clean import compared
from feedback.join import Turn
from feedback.near import first_near, marks, said
from feedback.snapshot import SFT, Example
from feedback.vary import noise, recorded, words
from feedback.vary.fixed import Fixed, draw, fixed, standing
from thumbwheel.events import ComputedEvent
from thumbwheel.ids import digest32
from thumbwheel.records import Augment
from thumbwheel.scripts import JAPANESE, script_of

ID = "ax-"  # what the ids of augmented rows begin with
SYNONYMS, NOISE, TERMS = "synonyms", "noise", "terms"


@dataclass(frozen=True)
class Worded:
    """A question in other words, and the model that said so, if it was one."""

    text: str
    model: str | None = None
    version: str | None = None


Way = Callable[[Example, Fixed, str], Worded | None]
"""From an example, what stands fixed in its question and a seed to another wording, or to none."""
Recorded = Mapping[tuple[str, str], tuple[ComputedEvent, ...]]
"""What models said in other words, by kind and feedback."""


@dataclass(frozen=True)
class Varied:
    """An augmented row: `source` with `question` as its last user turn."""

    id: str
    source: Example
    question: str
    kind: str
    model: str | None = None
    version: str | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The conversation that is asked."""
        return (*self.source.proposal.turns[:-1], (self.source.proposal.turns[-1][0], self.question))


def augmented(
    examples: Sequence[Example],
    wants: Augment,
    house: Collection[str],
    known: Collection[str],
    computed: Iterable[ComputedEvent] = (),
) -> tuple[Varied, ...]:
    """The augmented rows of the examples, by id.

    `house` is never touched; `known` are groups of questions; `computed` is what models said in other words.
    """
    if not wants.kinds:
        return ()
    taken = {
        *known,
        *(dedupe.group_key(text) for one in examples for role, text in one.proposal.turns if role == "user"),
    }
    ways, stays = _ways(wants, recorded.by_feedback(computed)), standing(house)
    made: list[Varied] = []
    for example in sorted(examples, key=lambda example: example.id):
        if example.split != splits.TRAIN or example.kind != SFT:
            continue
        for varied in _wordings(example, ways, wants.per_row, stays):
            group = dedupe.group_key(varied.question)
            if group not in taken:
                taken.add(group)
                made.append(varied)
    judges = [example for example in examples if example.split != splits.TRAIN]
    return tuple(sorted(_told_apart(made, judges), key=lambda varied: varied.id))


def _ways(wants: Augment, said_by_models: Recorded) -> list[tuple[str, Way]]:
    """How a question is varied, by kind, in the policy's order."""
    own, all_ = words.lexicon(wants.synonyms), words.lexicon((*wants.synonyms, *words.BUILT_IN))
    by_kind: dict[str, Way] = {
        SYNONYMS: partial(_by_synonym, own, all_),
        NOISE: _by_slips,
        TERMS: partial(_by_term, words.lexicon(wants.terms)),
        **{kind: partial(_by_model, said_by_models, kind) for kind in recorded.KINDS},
    }
    return [(kind, by_kind[kind]) for kind in wants.kinds]


def _by_synonym(own: words.Lexicon, all_: words.Lexicon, example: Example, mask: Fixed, seed: str) -> Worded | None:
    question = example.proposal.turns[-1][1]
    known = own if script_of(question) == JAPANESE else all_
    return _of_same_marks(question, words.in_other_words(question, example.proposal.target, known, mask, seed))


def _by_slips(example: Example, mask: Fixed, seed: str) -> Worded | None:
    question = example.proposal.turns[-1][1]
    return _of_same_marks(question, noise.with_slips(question, mask, seed))


def _by_term(terms: words.Lexicon, example: Example, mask: Fixed, seed: str) -> Worded | None:
    # Not held to the same names and codes: that one of them stands for another is what the channel says.
    text = words.in_other_words(example.proposal.turns[-1][1], example.proposal.target, terms, mask, seed)
    return None if text is None else Worded(text)


def _by_model(said_by_models: Recorded, kind: str, example: Example, mask: Fixed, seed: str) -> Worded | None:
    question, feedback = example.proposal.turns[-1][1], example.proposal.source.feedback
    event = recorded.recorded(said_by_models, kind, feedback, question, seed)
    return None if event is None else Worded(str(event.value), event.model, event.version)


def _of_same_marks(question: str, text: str | None) -> Worded | None:
    return Worded(text) if text is not None and marks(text) == marks(question) else None


def _wordings(
    example: Example, ways: Sequence[tuple[str, Way]], most: int, stays: re.Pattern[str] | None
) -> Iterator[Varied]:
    question = example.proposal.turns[-1][1]
    mask = fixed(question, stays)
    for nth in range(most):
        first = draw("kind", example.id, nth)
        for turn in range(len(ways)):
            kind, way = ways[(first + turn) % len(ways)]
            made = way(example, mask, f"{example.id} {nth}")
            if made is not None and compared(made.text) != compared(question):
                key = f"{example.id}\0{kind}\0{made.text}".encode()
                yield Varied(ID + digest32(key, 26), example, made.text, kind, made.model, made.version)
                break


def _told_apart(made: Sequence[Varied], judges: Sequence[Example]) -> list[Varied]:
    """Those that say nearly what no held-out row says."""
    rows = [said(one.proposal.turns, one.proposal.target) for one in judges]
    rows += [said(varied.turns, varied.source.proposal.target) for varied in made]
    near = first_near(rows)
    return [varied for at, varied in enumerate(made, start=len(judges)) if near.get(at, at) >= len(judges)]
