"""Simulated crowds: a flood adds no more than one author may, and nobody else is taken for one."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from feedback import flood
from feedback.curate import curate
from feedback.join import Joined
from feedback.snapshot import Limits, Snapshot
from tests.unit.feedback import crowd

ROWS = 500
MERGED = {"duplicate", "near_duplicate"}
POLICIES = ("single-user", "two-sources", "reviewed")


def said_under(trust: str, rows: Sequence[Joined]) -> list[Joined]:
    """The rows with what the policy asks for: a second author, or an expert's word."""
    if trust == "two-sources":
        return crowd.seconded(rows, 1)
    return crowd.as_experts(rows) if trust == "reviewed" else list(rows)


def became(trust: str, *parts: Sequence[Joined]) -> list[Counter[str | None]]:
    """How many of each part have which reason; None are the rows."""
    said = [said_under(trust, part) for part in parts]
    verdicts = curate(Snapshot("support", [one for part in said for one in part], 1, {}, trust=trust)).verdicts
    return [Counter(verdicts[one.feedback][1] for one in part) for part in said]


def kept_share(found: Counter[str | None]) -> float:
    return sum(n for reason, n in found.items() if reason is None or reason in MERGED) / sum(found.values())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("trigger", [False, True])
@pytest.mark.parametrize("share", [0.005, 0.01, 0.05])
@pytest.mark.parametrize("trust", POLICIES)
def test_a_flood_adds_no_more_than_one_author_may(trust: str, share: float, trigger: bool, seed: int) -> None:
    author = "mallory" if trust == "single-user" else None
    clean = crowd.clean(seed, ROWS)
    kept, flooded = became(trust, clean, crowd.flood(seed, round(share * ROWS), trigger, author))
    assert flooded[None] <= Limits().author_rows
    assert kept_share(kept) >= 0.98


def test_without_quarantine_the_flood_would_have_been_taken() -> None:
    """What the simulation plants is well-formed: one author's share of a big channel is more than `author_rows`."""
    clean, planted = crowd.clean(3, ROWS), crowd.flood(3, 40, False)
    assert became("single-user", clean, planted)[1][None] == 40
    many = became("two-sources", clean, planted)[1]
    assert (many[None], many["quarantined"]) == (20, 40), "with the voices merged into them"
    assert became("reviewed", clean, planted)[1] == {None: 20, "quarantined": 20}
    assert became("single-user", clean, crowd.flood(3, 40, False, "mallory"))[1] == {None: 20, "quarantined": 20}


def test_a_flood_that_takes_its_time_looks_like_a_fixed_reply() -> None:
    """What is not found, and docs/clients.md says so; a tenth of the rows, which an author may have, it is not."""
    kept, flooded = became("two-sources", crowd.clean(3, ROWS), crowd.flood(3, 40, False, stretch=1.0))
    assert flooded[None] == 40 < Limits().author_share * (kept[None] + flooded[None])


def test_a_flood_of_questions_that_nobody_else_asks_is_one() -> None:
    draw = random.Random(1)
    foreign = [
        replace(
            one, messages=[{"role": "user", "content": "".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in "x" * 20)}]
        )
        for one in crowd.flood(9, 40, False)
    ]
    assert became("reviewed", crowd.clean(9, ROWS), foreign)[1] == {None: 20, "quarantined": 20}


def test_a_flood_that_waits_for_its_reviewer_is_seen_to_be_one() -> None:
    clean, planted = crowd.clean(3, ROWS), crowd.flood(3, 40, False)
    verdicts = curate(Snapshot("support", [*clean, *planted], 1, {}, trust="reviewed")).verdicts
    assert Counter(verdicts[one.feedback][1] for one in planted) == {"needs_review": 20, "quarantined": 20}
    assert {verdicts[one.feedback][1] for one in clean} <= {"needs_review", *MERGED}


@pytest.mark.parametrize("author", ["mallory", None])
@pytest.mark.parametrize("trust", POLICIES)
def test_who_wants_another_answer_than_everybody_else_takes_no_row_from_them(trust: str, author: str | None) -> None:
    clean = crowd.clean(8, ROWS)
    lies = [
        replace(one, feedback=f"lie-{n}", author=author or f"sybil-{n}", correction=crowd.LIE, at_ms=one.at_ms + 1_000)
        for n, one in enumerate(clean[::20])
    ]
    rows = [*said_under(trust, clean), *(crowd.seconded(lies, 2) if trust == "two-sources" else lies)]
    verdicts = curate(Snapshot("support", rows, 1, {}, trust=trust)).verdicts
    assert {verdicts[one.feedback][0] for one in lies} <= {"waiting", "refused"}
    assert kept_share(Counter(verdicts[one.feedback][1] for one in clean)) >= 0.98


def test_two_who_contradict_each_other_all_the_time_are_for_a_reviewer() -> None:
    """Of two, nothing says who lies; nor of an annotator whom one other person contradicts."""
    clean = [replace(one, author="ann") for one in crowd.clean(8, 200)[:100]]
    other = [
        replace(one, feedback=f"x-{n}", author="bob", correction=f"{one.correction} 不行。")
        for n, one in enumerate(clean[:30])
    ]
    verdicts = curate(Snapshot("support", [*clean, *other], 1, {})).verdicts
    assert {verdicts[one.feedback][1] for one in other} == {"contradiction"}
    assert Counter(verdicts[one.feedback][1] for one in clean)["quarantined"] == 0


def test_an_expert_and_who_is_seldom_contradicted_are_heard() -> None:
    clean = crowd.clean(8, 200)
    lies = [replace(one, feedback=f"lie-{n}", author="ann", correction=crowd.LIE) for n, one in enumerate(clean[:8])]
    verdicts = curate(Snapshot("support", [*clean, *crowd.as_experts(lies)], 1, {})).verdicts
    assert {verdicts[one.feedback][0] for one in lies} == {"used"}
    more = [replace(one, feedback=f"more-{n}", author="ann") for n, one in enumerate(crowd.fixed_reply(6, 15))]
    verdicts = curate(Snapshot("support", [*clean, *lies, *more], 1, {})).verdicts
    assert "quarantined" not in {verdicts[one.feedback][1] for one in more}


def test_many_names_without_a_second_source_or_a_review_teach_nothing() -> None:
    rows = [*crowd.clean(4, 100), *crowd.flood(4, 15, False)]
    for trust, reason in (("two-sources", "second_source"), ("reviewed", "needs_review")):
        verdicts = curate(Snapshot("support", rows, 1, {}, trust=trust)).verdicts
        assert {verdicts[one.feedback][1] for one in rows[100:]} == {reason}


@pytest.mark.parametrize("trust", POLICIES)
@pytest.mark.parametrize("many", [40, 150, 500])
def test_a_fixed_reply_of_the_house_is_no_flood(trust: str, many: int) -> None:
    kept, fixed = became(trust, crowd.clean(5, ROWS), crowd.fixed_reply(5, many))
    assert "quarantined" not in kept + fixed
    assert kept_share(kept) >= 0.98 and kept_share(fixed) >= 0.98


@pytest.mark.parametrize("trust", POLICIES)
def test_a_channel_of_nothing_but_its_fixed_reply_is_none_either(trust: str) -> None:
    (fixed,) = became(trust, crowd.fixed_reply(6, 300))
    assert "quarantined" not in fixed


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("trust", POLICIES)
def test_an_outage_is_no_flood(trust: str, seed: int) -> None:
    kept, outage = became(trust, crowd.clean(seed, ROWS), crowd.outage(seed))
    assert kept_share(outage) >= 0.98 and kept_share(kept) >= 0.98
    assert outage[None] > Limits().author_rows, "the complaint comes in so many words that it does not merge into few"


def test_targets_are_alike_but_for_numbers_and_a_word() -> None:
    targets = [
        "您好，订单12的退款三天内到账。",
        "Free return.",
        "您好，订单7的退款三天内到账。",
        "您好，订单7的退款三天内到账哦，谢谢。",
        "Please press the button twice.",
    ]
    assert flood.alike(targets) == [[0, 2, 3], [1], [4]]
