"""A scorer that costs too much ends the run with a reason, wherever it is at work, and nothing else is ended by it."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from retrain.engine_client import Answer
from retrain.evaluate import HeldOut, Sides
from retrain.evidence import scores
from retrain.general import form_marks
from retrain.rows import Row
from thumbwheel.errors import JobError
from thumbwheel.scorers import Scorer, parse_scorer
from thumbwheel.scoring import bounded

COSTLY = r"^(\w+ ?)+\.$"
ANSWER = "a" * 26 + "!"  # seconds of work; each letter more doubles it
SCORERS = [
    {"kind": "regex", "pattern": COSTLY},
    {"kind": "label", "pattern": COSTLY},
    {"kind": "json_schema", "schema": {"pattern": COSTLY}},
]


def second(raw: dict[str, object]) -> list[Scorer]:
    return [parse_scorer({"kind": "exact"}), replace(parse_scorer(raw), most_s=0.1)]


@pytest.mark.parametrize("raw", SCORERS)
def test_a_costly_scorer_of_test_answers_is_named(raw: dict[str, object]) -> None:
    answers = (Answer(f'"{ANSWER}"' if raw["kind"] == "json_schema" else ANSWER, "stop", 1, 1),)
    item = HeldOut(Row("ex-1", (), "Yes.", "g", "test"), True, Sides(0.0, 0.0), answers, answers)
    with pytest.raises(JobError, match=rf"^scorer 2 \({raw['kind']}\) took over 0\.1 s on one answer; simplify"):
        scores([item], second(raw), 0.9)


@pytest.mark.parametrize("raw", SCORERS)
def test_a_costly_mark_of_the_form_is_named(raw: dict[str, object]) -> None:
    (mark,) = form_marks(second(raw), [])
    with pytest.raises(JobError, match=rf"^scorer 2 \({raw['kind']}\) took over"):
        mark.matches(f'"{ANSWER}"' if raw["kind"] == "json_schema" else ANSWER)


def test_the_limit_ends_with_the_work_whatever_its_end() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    with bounded("a scorer", 9.0):
        assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0
    for error in (ValueError, JobError):
        with pytest.raises(error), bounded("a scorer", 9.0):
            raise error
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
    assert signal.getsignal(signal.SIGVTALRM) == before
