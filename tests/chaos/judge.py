"""What became of everything that was said: the load's own list against what the store holds. Pure.

`judge` looks at one moment: each acknowledged feedback is there exactly once and stands somewhere; what was sent and
not acknowledged is there at most once; nothing else is there; the ledger adds up. `judge_after_window` looks at a later
one, when only what a reviewer may settle still waits. It knows nothing of how either list was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel.ledger import INFERENCE_UNKNOWN, NO_RUN_YET, REFUSED, REVIEWABLE, USED, WAITING

MOMENT_S = 0.5
"""How long before a gateway was killed it may have given an answer that nobody has a record of: five times what
docs/log.md says, for a machine where each thread waits for its turn."""


@dataclass(frozen=True)
class Word:
    """One feedback as its sender knows it, however often it was sent. `ids` are those of its 202s."""

    mark: str
    ids: frozenset[str]


@dataclass(frozen=True)
class Held:
    """One feedback as the store holds it, a dead letter too; `mark` is None where it bears none."""

    id: str
    mark: str | None
    state: str
    reason: str | None
    inference: str = ""


def judge(said: Sequence[Word], held: Sequence[Held], ledger: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong, a line each; `ledger` is the channel's, of the same moment."""
    return [*_once(said, held), *_standing(held), *_adds_up(held, ledger)]


def judge_after_run(held: Iterable[Held]) -> list[str]:
    """What waits for a run though one has seen everything."""
    return [f"{one.id} waits for the run that it has had" for one in held if one.reason == NO_RUN_YET]


def judge_after_window(held: Iterable[Held]) -> list[str]:
    """What still waits with the clock past the window, though no reviewer is asked."""
    return [
        f"{one.id} still waits ({one.reason}) with its window over"
        for one in held
        if one.state == WAITING and one.reason not in REVIEWABLE
    ]


def judge_answers(answered: Mapping[str, float], stored: Iterable[str], killed: Sequence[float]) -> list[str]:
    """Answers that the store should have and has not.

    `answered` says when the load had each of them, `killed` when gateways were killed, in seconds of one clock. What
    was answered within MOMENT_S of such a blow may have died in memory: no more is promised.
    """
    lost = sorted(answered.keys() - set(stored))
    return [f"inference {one} was answered and is lost" for one in lost if not _dying(answered[one], killed)]


def judge_unknown(held: Iterable[Held], answered: Mapping[str, float], killed: Sequence[float]) -> list[str]:
    """What ended as `inference_unknown` though its answer's record should have come; see `judge_answers`."""
    return [
        f"{one.id} is of {one.inference}, which was answered, and ended as {INFERENCE_UNKNOWN}"
        for one in unknown(held)
        if one.inference not in answered or not _dying(answered[one.inference], killed)
    ]


def _dying(at_s: float, killed: Sequence[float]) -> bool:
    return any(abs(blow_s - at_s) <= MOMENT_S for blow_s in killed)


def unknown(held: Iterable[Held]) -> list[Held]:
    """Whose answer's record never came."""
    return [one for one in held if one.reason == INFERENCE_UNKNOWN]


def judge_inferences(logged: Iterable[str], stored: Iterable[str]) -> list[str]:
    """The ids in the log, where one may lie twice, against those in the store."""
    wanted, found = set(logged), Counter(stored)
    return [
        *(f"inference {one} is in the log and not in the store" for one in sorted(wanted - set(found))),
        *(f"inference {one} is in the store and not in the log" for one in sorted(set(found) - wanted)),
        *(f"inference {one} is in the store {n} times" for one, n in sorted(found.items()) if n > 1),
    ]


def _once(said: Sequence[Word], held: Sequence[Held]) -> Iterable[str]:
    ids = Counter(one.id for one in held)
    by_mark: dict[str | None, list[str]] = {}
    for one in held:
        by_mark.setdefault(one.mark, []).append(one.id)
    for word in said:
        found = by_mark.pop(word.mark, [])
        if len(word.ids) > 1:
            yield f"{word.mark} was acknowledged under {len(word.ids)} ids"
        for lost in sorted(word.ids - set(found)):
            yield f"{lost} ({word.mark}) was acknowledged and is lost"
        if len(found) > 1:
            yield f"{word.mark} is there {len(found)} times"
    for mark, strangers in by_mark.items():
        yield f"{', '.join(strangers)} ({mark}) was never said"
    for id_, times in ids.items():
        if times > 1:
            yield f"{id_} is there {times} times"


def _standing(held: Iterable[Held]) -> Iterable[str]:
    for one in held:
        if one.state not in (USED, REFUSED, WAITING):
            yield f"{one.id} is {one.state}, which is no state"
        elif (one.reason is None) != (one.state == USED):
            yield f"{one.id} is {one.state} with the reason {one.reason}"


def _adds_up(held: Sequence[Held], ledger: Mapping[str, Any]) -> Iterable[str]:
    counted = {state: Counter(one.reason for one in held if one.state == state) for state in (USED, REFUSED, WAITING)}
    total = ledger["used"] + sum(ledger["refused"].values()) + sum(ledger["waiting"].values())
    if ledger["acknowledged"] != total:
        yield f"the ledger says {ledger['acknowledged']} and adds up to {total}"
    if ledger["acknowledged"] != len(held):
        yield f"the ledger says {ledger['acknowledged']} and {len(held)} are there"
    if ledger["used"] != counted[USED].total():
        yield f"the ledger says {ledger['used']} used and {counted[USED].total()} are"
    for state in (REFUSED, WAITING):
        if ledger[state] != dict(counted[state]):
            yield f"the ledger says {ledger[state]} {state} and {dict(counted[state])} are"
