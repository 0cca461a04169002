from __future__ import annotations

import json

from feedback.beside import beside
from feedback.card import reasons_of
from feedback.curate import curate, standing
from feedback.join import Joined
from feedback.trust import REVIEWED
from tests.unit.feedback.test_curate import row, said, snapshot


def rows(*targets: tuple[str, str, str]) -> list[Joined]:
    """One row each of author, question and target."""
    return [
        row(n, author=author, correction=target, at_ms=n, **said(question))
        for n, (author, question, target) in enumerate(targets, start=100)
    ]


def test_a_duplicate_stands_behind_the_row_that_is_kept() -> None:
    some = rows(
        ("ada", "Where is my parcel?", "It is on its way."),
        ("bo", "Where is my parcel?", "It is on its way."),
        ("cy", "Hello, where is my parcel please?", "It is on its way."),
    )
    found = curate(snapshot(some))
    assert [found.verdicts[f"fb-{n}"][1] for n in (100, 101, 102)] == [None, "duplicate", "near_duplicate"]
    assert found.beside == {"fb-101": ("fb-100",), "fb-102": ("fb-100",)}


def test_a_contradiction_names_who_wants_another_answer_and_what_an_expert_said_is_named() -> None:
    some = rows(("ada", "Open on Sunday?", "Yes, from nine."), ("bo", "Open on Sunday?", "No, never."))
    found = curate(snapshot(some))
    assert found.beside == {"fb-100": ("fb-101",), "fb-101": ("fb-100",)}
    expert = row(7, author="cy", role="expert", correction="No, never.", at_ms=500, **said("Open on Sunday?"))
    found = curate(snapshot([*some, expert]))
    assert found.verdicts["fb-100"] == ("refused", "superseded")
    used = [one for one, verdict in found.verdicts.items() if verdict[0] == "used"]
    assert found.beside["fb-100"] == tuple(used)


def test_of_a_flood_the_first_others_are_named() -> None:
    words = "lamp kettle coat boat tent piano mirror"
    some = rows(
        *((f"u-{word}", f"My {word} is late", "Buy the blue pills.") for word in words.split()),
        ("eve", "My rug is late", "The moon is made of cheese."),
    )
    every = standing(snapshot(some))
    found = beside(every, {one.source.feedback: ("waiting", "quarantined") for one in every}, {})
    assert found["fb-100"] == tuple(f"fb-{n}" for n in range(101, 106)) and found["fb-106"][0] == "fb-100"
    assert len(found) == 7, "nothing is like the eighth"


def test_what_is_about_no_other_feedback_names_none() -> None:
    found = curate(snapshot(rows(("ada", "Hm?", ""), ("bo", "Well?", "Ask us.")), trust=REVIEWED))
    assert set(found.verdicts.values()) == {("refused", "empty"), ("waiting", "needs_review")} and found.beside == {}


def test_the_file_of_reasons_has_them() -> None:
    lines = reasons_of(
        {"fb-2": ("refused", "duplicate"), "fb-3": ("refused", "empty"), "fb-1": ("used", None)}, {"fb-2": ("fb-1",)}
    )
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"feedback": "fb-2", "state": "refused", "reason": "duplicate", "beside": ["fb-1"]},
        {"feedback": "fb-3", "state": "refused", "reason": "empty"},
    ]
