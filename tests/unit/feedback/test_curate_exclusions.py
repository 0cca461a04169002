from __future__ import annotations

import random

import pytest

from feedback.curate import curate
from tests.unit.feedback.test_curate import parsed, row, said, snapshot
from thumbwheel.events import ExclusionEvent

EXCLUDED = ("refused", "excluded")


def exclusion(what: str, value: str, n: int = 1, **fields: bool) -> ExclusionEvent:
    return ExclusionEvent(f"exclusion-{n}", n, "ann", what, value, "support", "because", **fields)


@pytest.mark.parametrize(("what", "value"), [("feedback", "fb-1"), ("inference", "inf-1"), ("author", "u1")])
def test_it_is_refused_whatever_it_says_and_others_are_not(what: str, value: str) -> None:
    for fields in ({}, {"correction": None}, {"messages": None}, {"state": "used", "reason": None}, {"correction": ""}):
        found = curate(snapshot([row(1, **fields), row(2)], exclusions=[exclusion(what, value)]))
        assert found.verdicts == {"fb-1": EXCLUDED, "fb-2": ("used", None)}
        assert [one["feedback"] for one in parsed(found)] == ["fb-2"]


def test_a_withdrawn_one_teaches_again() -> None:
    withdrawn = [exclusion("author", "u1"), exclusion("author", "u1", 2, withdrawn=True)]
    assert curate(snapshot([row(1)], exclusions=withdrawn)).verdicts["fb-1"] == ("used", None)


def test_the_next_of_a_merged_row_takes_the_firsts_place() -> None:
    same = {**said("It faded."), "correction": "Send it back free of charge."}
    rows = [row(n, **same) for n in (1, 2, 3)]
    (merged,) = parsed(curate(snapshot(rows)))
    assert (merged["feedback"], merged["merged"], merged["sources"]) == ("fb-1", ["fb-2", "fb-3"], 3)
    found = curate(snapshot(rows, exclusions=[exclusion("feedback", "fb-1")]))
    (left,) = parsed(found)
    assert (left["feedback"], left["merged"], left["sources"]) == ("fb-2", ["fb-3"], 2)
    assert (left["id"], left["completion"]) == (merged["id"], merged["completion"])
    assert found.verdicts["fb-1"] == EXCLUDED


def test_two_sources_need_two_that_are_not_excluded() -> None:
    same = {**said("It faded."), "correction": "Send it back free of charge."}
    rows = [row(n, **same) for n in (1, 2)]
    assert len(parsed(curate(snapshot(rows, trust="two-sources")))) == 1
    found = curate(snapshot(rows, trust="two-sources", exclusions=[exclusion("author", "u1")]))
    assert found.verdicts == {"fb-1": EXCLUDED, "fb-2": ("waiting", "second_source")}


def test_an_excluded_word_contradicts_nobody_and_brings_back_nothing_that_its_author_took_back() -> None:
    rival = row(2, **said("complaint 1"), correction="Keep it.")
    assert curate(snapshot([row(1), rival], exclusions=[exclusion("feedback", "fb-2")])).verdicts["fb-1"][0] == "used"
    later = row(3, inference="inf-1", author="u1", correction="Pay for it.")
    found = curate(snapshot([row(1), later], exclusions=[exclusion("feedback", "fb-3")]))
    assert found.verdicts == {"fb-1": ("refused", "superseded"), "fb-3": EXCLUDED}
    found = curate(snapshot([row(1), later], exclusions=[exclusion("author", "u1")]))
    assert found.verdicts == {"fb-1": ("refused", "superseded"), "fb-3": EXCLUDED}


def test_the_order_of_exclusions_changes_no_byte() -> None:
    rows = [row(n) for n in range(1, 30)]
    exclusions = [exclusion("author", f"u{n}", n) for n in range(1, 9)]
    one = curate(snapshot(rows, exclusions=exclusions))
    random.Random(1).shuffle(exclusions)
    assert curate(snapshot(rows, exclusions=exclusions)).rows == one.rows
    assert len(parsed(one)) == 21
