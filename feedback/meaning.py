"""Which rows say the same in other words, by vectors of meaning that were recorded before: pure functions.

A vector of a row's last question and one of its target come from a model outside (embedding.py) and are read from its
event alone, so the same events make the same dataset. Two rows are one where all of this holds:

    question and target are each near by their vectors: from 0, as near as two different texts of the channel usually
    are, to 1, equal, at least NEAR of the way. So it does not matter how near a model lays everything
    the conversation before the question is the same, and the question's script
    numbers, negations, names, codes (near.py), and what the numbers count (opposites.py) are the same, in order
    no word of a listed kind is exchanged for another one: 开通 and 关闭, before and after, red and blue
    the questions have the same content (function_words.py), in whatever order; or their vectors lie nearer than those
    of any two questions that are known to mean different things do (hard_negatives.py), by the same model
    the shorter target shares SHARED of its words with the other one

A vector alone merges nothing, then: models lay 要退货 and 不要退货 close, and a dog near a cat. Where a model lays
everything close (MOST_USUAL), or there is too little to tell by, nothing is merged, and the card says so. Vectors are
whole numbers, and their products exact, so no machine adds them up to something else.

It knows nothing of who computed the vectors, and of what the texts say beyond the above.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from feedback import dedupe
from feedback.clean import width
from feedback.dedupe import Proposal
from feedback.function_words import content
from feedback.names import By
from feedback.near import core, said
from feedback.opposites import Sense, exchanged, measures, senses
from thumbwheel.ids import digest32
from thumbwheel.ledger import SEMANTIC_DUPLICATE
from thumbwheel.roles import EXPERT
from thumbwheel.scripts import script_of

WHAT = "embedding"
NOT_CONFIGURED = "not_configured"
TOO_FEW, TOO_MANY, ALL_ALIKE = "too_few", "too_many", "all_alike"

MOST_WIDTH = 1_000  # columns: about what models of 512 tokens read whole; a longer text has no vector
MOST_DIMENSIONS = 8_192
FULL = 127  # what a vector's largest number becomes
LEAST, MOST = 20, 20_000  # different questions, rows
SAMPLE = 400  # texts, each beside each, that say how near different ones usually are
MOST_USUAL = 0.9  # of 1
SHARED = 1 / 3
MOST_COMPARED = 64  # earlier rows whose words one row is compared with
BLOCK = 1_024  # rows

Vector = NDArray[np.int8]


@dataclass(frozen=True)
class Near:
    """How near question and target have to be: 0 as two different ones usually are, 1 equal."""

    question: float
    target: float


@dataclass(frozen=True)
class Compared:
    """What came of it, as the card says it. `off` is why nothing was compared.

    `rows` have vectors, `without` have none; `usual` are the cosines of question and target between different rows,
    `apart` is that of the nearest two hard negatives.
    """

    off: str | None
    rows: int = 0
    without: int = 0
    usual: tuple[float, ...] = ()
    apart: float | None = None
    merged: int = 0

    @property
    def told(self) -> dict[str, object]:
        """As JSON."""
        return asdict(self)


def texts_of(proposal: Proposal) -> tuple[str, str] | None:
    """Question and target of which vectors are wanted, redacted; None where one is too long."""
    found = proposal.turns[-1][1], proposal.target
    return found if max(map(width, found)) <= MOST_WIDTH else None


def event_id(feedback: str, by: By, texts: tuple[str, str]) -> str:
    """The id of the event that holds the row's vectors: another one for other texts or models."""
    return f"computed-{digest32(msgspec.json.encode((WHAT, feedback, by.model, by.version, *texts)), 26)}"


class _Recorded(msgspec.Struct, frozen=True):
    """What an event holds: two vectors, a byte a number in base64, and how near their model lays hard negatives."""

    question: str
    target: str
    apart: float


class _Vectors(NamedTuple):
    question: Vector
    target: Vector
    apart: float


def packed(question: Sequence[float], target: Sequence[float], apart: float) -> dict[str, object] | None:
    """A row's two vectors as an event holds them; None where one is no direction."""
    whole = [_whole(question), _whole(target)]
    if whole[0] is None or whole[1] is None:
        return None
    lines = [base64.b64encode(one.tobytes()).decode() for one in whole if one is not None]
    return {"question": lines[0], "target": lines[1], "apart": apart}


def apart(vectors: Sequence[Sequence[float]]) -> float | None:
    """The cosine of the nearest pair, of vectors that are one pair after the other; None where one is no direction."""
    whole = [one for vector in vectors if (one := _whole(vector)) is not None]
    if len(whole) < len(vectors) or len({len(one) for one in whole}) != 1:
        return None
    pairs = zip(whole[::2], whole[1::2], strict=True)
    return round(max(float(cosines(one[None], other[None])[0, 0]) for one, other in pairs), 4)


def _whole(vector: Sequence[float]) -> Vector | None:
    """In whole numbers of a byte; None where it is no direction, or too long."""
    most = max(map(abs, vector), default=0.0)
    if not all(map(math.isfinite, vector)) or most == 0 or len(vector) > MOST_DIMENSIONS:
        return None
    return np.rint(np.asarray(vector, np.float64) / most * FULL).astype(np.int8)


def _unpacked(value: object) -> _Vectors | None:
    """What `packed` made; None of anything else, such as what an erasure left."""
    try:
        kept = msgspec.convert(value, _Recorded)
        question, target = (
            np.frombuffer(base64.b64decode(text, validate=True), np.int8) for text in (kept.question, kept.target)
        )
    except (msgspec.ValidationError, ValueError, binascii.Error):
        return None
    return _Vectors(question, target, kept.apart) if _is_pair(question, target) else None


def _is_pair(question: Vector, target: Vector) -> bool:
    return len(question) == len(target) and bool(question.any()) and bool(target.any())


@dataclass(frozen=True)
class _Least:
    """Cosines that are near enough: of questions, of targets, and of questions whose words are others."""

    question: float
    target: float
    doubt: float


@dataclass(frozen=True)
class _Row:
    """A proposal as it is compared. Rows of one `kind` can be the same."""

    proposal: Proposal
    kind: tuple[object, ...]
    asked: frozenset[Sense]
    answered: frozenset[Sense]
    about: frozenset[str]
    words: frozenset[str]


def merged(
    proposals: Sequence[Proposal],
    recorded: Mapping[str, object],
    by: By | None,
    off: str | None,
    near: Near,
    judges: Collection[str] = (),
) -> tuple[list[Proposal], dict[str, str], Compared]:
    """One of all that say the same in other words, by time of receipt; the reason of each other one; what came of it.

    `recorded` are events' values by id, `by` who computed those to take; without, `off` says why there is nobody.
    A reviewed one stays before all others, then an expert's, then one of a question in `judges`, groups that are held
    out already (there must not be fewer of them from one day to the next), then the first received.
    """
    if by is None:
        return list(proposals), {}, Compared(off)
    if len(proposals) > MOST:
        return list(proposals), {}, Compared(TOO_MANY, without=len(proposals))
    ordered = sorted(proposals, key=lambda one: _rank(one, judges))
    vectors = _same_size({at: found for at, one in enumerate(ordered) if (found := _vectors(one, recorded, by))})
    places = sorted(vectors)
    without = len(ordered) - len(places)
    questions = _matrix([vectors[at].question for at in places])
    targets = _matrix([vectors[at].target for at in places])
    apart = max((vectors[at].apart for at in places), default=None)
    usual = (
        _usual(questions, [dedupe.group_key(ordered[at].turns[-1][1]) for at in places]),
        _usual(targets, [dedupe.target_key(ordered[at].target) for at in places]),
    )
    if usual[0] is None or usual[1] is None or apart is None:
        return list(proposals), {}, Compared(TOO_FEW, len(places), without, (), apart)
    told = (usual[0], usual[1])
    if max(told) > MOST_USUAL:
        return list(proposals), {}, Compared(ALL_ALIKE, len(places), without, told, apart)
    least = (_least(told[0], near.question), _least(told[1], near.target))
    first = _first_alike([_row(ordered[at]) for at in places], (questions, targets), _Least(*least, apart))
    stands = {places[at]: places[earlier] for at, earlier in first.items()}
    kept = dedupe.standing_for(ordered, stands)
    refused = {ordered[at].source.feedback: SEMANTIC_DUPLICATE for at in stands}
    return kept, refused, Compared(None, len(places), without, told, apart, len(stands))


def _rank(one: Proposal, judges: Collection[str]) -> tuple[bool, bool, bool, tuple[int, str]]:
    is_held_out = dedupe.group_key(one.turns[-1][1]) in judges
    return one.decided is None, one.source.role != EXPERT, not is_held_out, one.source.receipt


def _vectors(one: Proposal, recorded: Mapping[str, object], by: By) -> _Vectors | None:
    texts = texts_of(one)
    return None if texts is None else _unpacked(recorded.get(event_id(one.source.feedback, by, texts)))


def _same_size(vectors: dict[int, _Vectors]) -> dict[int, _Vectors]:
    """Those of the size that most have: others cannot be compared with them."""
    sizes = Counter(len(one.question) for one in vectors.values())
    size = max(sizes, key=lambda size: (sizes[size], size), default=0)
    return {at: one for at, one in vectors.items() if len(one.question) == size}


def _matrix(vectors: Sequence[Vector]) -> NDArray[np.int8]:
    return np.stack(vectors) if vectors else np.zeros((0, 1), np.int8)


def _exact(matrix: NDArray[np.int8]) -> NDArray[np.floating]:
    """In a type in which all products of its rows are exact."""
    return matrix.astype(np.float32 if matrix.shape[1] * FULL**2 < 2**24 else np.float64)


def _lengths(matrix: NDArray[np.int8]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.square(matrix.astype(np.float64)).sum(axis=1)
    return found


def cosines(some: NDArray[np.int8], others: NDArray[np.int8]) -> NDArray[np.float64]:
    """Of each row of `some` with each of `others`; the same on every machine."""
    products: NDArray[np.float64] = (_exact(some) @ _exact(others).T).astype(np.float64)
    found: NDArray[np.float64] = products / np.sqrt(np.outer(_lengths(some), _lengths(others)))
    return found


def _usual(matrix: NDArray[np.int8], keys: Sequence[str]) -> float | None:
    """The median cosine of different texts; None where there are too few. Which are taken hangs on the texts alone."""
    places = sorted({key: at for at, key in reversed(list(enumerate(keys)))}.items())[:SAMPLE]
    if len(places) < LEAST:
        return None
    some = matrix[[at for _, at in places]]
    return round(max(0.0, float(np.median(cosines(some, some)[np.triu_indices(len(some), 1)]))), 4)


def _least(usual: float, near: float) -> float:
    """The cosine that is `near` of the way from `usual` to 1."""
    return usual + (1 - usual) * near


def _row(proposal: Proposal) -> _Row:
    turns, target = proposal.turns, proposal.target
    question = turns[-1][1]
    compared = said(turns, target)
    kind = (compared.roles, compared.turns[:-1], compared.marks, script_of(question), measures(question))
    return _Row(
        proposal,
        (*kind, measures(target)),
        asked=senses(question),
        answered=senses(target),
        about=content(question),
        words=frozenset(core(target)),
    )


def _same(one: _Row, other: _Row, *, beyond_doubt: bool) -> bool:
    """Whether nothing in the words of two rows of one kind says that they are two.

    `beyond_doubt` says that their questions' vectors lie nearer than any hard negatives'.
    """
    if one.about != other.about and not beyond_doubt:
        return False
    if exchanged(one.asked, other.asked) or exchanged(one.answered, other.answered):
        return False
    return len(one.words & other.words) >= SHARED * min(len(one.words), len(other.words))


def _first_alike(
    rows: Sequence[_Row], matrices: tuple[NDArray[np.int8], NDArray[np.int8]], least: _Least
) -> dict[int, int]:
    """For each row that is the same as an earlier one, the first such row that is the same as none, by place."""
    kinds: dict[tuple[object, ...], list[int]] = {}
    for at, row in enumerate(rows):
        kinds.setdefault(row.kind, []).append(at)
    first: dict[int, int] = {}
    for places in kinds.values():
        if len(places) > 1:
            first |= _first_of_kind(rows, places, matrices, least)
    return first


def _first_of_kind(
    rows: Sequence[_Row],
    places: Sequence[int],
    matrices: tuple[NDArray[np.int8], NDArray[np.int8]],
    least: _Least,
) -> dict[int, int]:
    def alike(one: int, other: int) -> bool:
        cosine = cosines(matrices[0][[one]], matrices[0][[other]])[0, 0]
        return _same(rows[one], rows[other], beyond_doubt=bool(cosine > least.doubt))

    leaders: list[int] = []
    first: dict[int, int] = {}
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        near: dict[int, list[int]] = {at: [] for at in block}
        for begin in range(0, len(leaders), BLOCK):
            _gather(near, block, leaders[begin : begin + BLOCK], MOST_COMPARED, matrices, least)
        _gather(near, block, block, BLOCK, matrices, least)
        for at in block:
            standing = (one for one in near[at] if one < at and one not in first)
            same = next((one for one in _some(standing) if alike(one, at)), None)
            if same is not None:
                first[at] = same
            else:
                leaders.append(at)
    return first


def _some(places: Iterable[int]) -> list[int]:
    return [at for _, at in zip(range(MOST_COMPARED), places, strict=False)]


def _gather(
    near: Mapping[int, list[int]],
    block: Sequence[int],
    others: Sequence[int],
    most: int,
    matrices: tuple[NDArray[np.int8], NDArray[np.int8]],
    least: _Least,
) -> None:
    """Add to `near` which of `others` are near each of `block` by both vectors, at `most` so many."""
    are = np.ones((len(block), len(others)), bool)
    for matrix, cosine in zip(matrices, (least.question, least.target), strict=True):
        are &= cosines(matrix[block], matrix[others]) >= cosine
    for place, at in enumerate(block):
        near[at] += [others[one] for one in np.flatnonzero(are[place])[:most]]


def wanted(proposals: Iterable[Proposal], known: Collection[str], by: By) -> list[tuple[Proposal, tuple[str, str]]]:
    """The rows whose vectors are not recorded yet, with their texts, the first received first."""
    ordered = sorted(proposals, key=lambda one: one.source.receipt)
    found = [(one, texts) for one in ordered if (texts := texts_of(one)) is not None]
    return [(one, texts) for one, texts in found if event_id(one.source.feedback, by, texts) not in known]
