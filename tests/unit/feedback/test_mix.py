from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.curate import Curation, curate
from feedback.join import Joined
from feedback.mix import part_of, rooms, shares_of
from feedback.snapshot import Limits, Snapshot
from tests.unit.feedback.joined import waiting
from thumbwheel.ids import DAY_MS
from thumbwheel.records import Mix

QUARTER = Mix({"reasoning": 0.25, "dialogue": 0.75})


def row(n: int, *tags: str, **fields: Any) -> Joined:
    said = {"correction": f"抱歉，第 {n} 号问题可以免费退换。", "reason": "no_run_yet"}
    return waiting(n, **{**said, "tags": tags, **fields})


def many(start: int, count: int, *tags: str, **fields: Any) -> list[Joined]:
    return [row(n, *tags, **fields) for n in range(start, start + count)]


def made(rows: list[Joined], mix: Mix, **fields: Any) -> Curation:
    return curate(Snapshot("support", rows, 1_000, {}, mix=mix, **fields))


def train_tags(curation: Curation) -> Counter[str]:
    """How many training rows have each tag."""
    return Counter(
        tag for one in curation.examples if one.split == "train" for tag in one.proposal.source.tags or ("none",)
    )


def card(curation: Curation) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(curation.card)
    return found


ROWS = [*many(0, 100, "reasoning"), *many(100, 100, "dialogue")]


def test_without_a_mix_nothing_is_left_out() -> None:
    curation = made(ROWS, Mix())
    assert len(curation.examples) == 200 and card(curation)["mix"] is None


def test_shares_hold_in_what_is_trained_on() -> None:
    before, after = made(ROWS, Mix()), made(ROWS, QUARTER)
    had, got = train_tags(before), train_tags(after)
    assert got["dialogue"] == had["dialogue"] and abs(got["reasoning"] * 3 - got["dialogue"]) <= 3
    left = had["reasoning"] - got["reasoning"]
    assert left > 10 and Counter(after.verdicts.values())["refused", "left_out"] == left
    told = card(after)["mix"]
    assert told["shares"]["reasoning"]["wanted"] == 0.25 and abs(told["shares"]["reasoning"]["got"] - 0.25) < 0.02
    assert (told["shares"]["reasoning"]["rows"], told["shares"]["reasoning"]["left_out"]) == (got["reasoning"], left)
    assert card(after)["refused"] == {"left_out": left}


def test_what_judges_and_chooses_is_never_left_out_by_a_share() -> None:
    before, after = made(ROWS, Mix()), made(ROWS, Mix({"reasoning": 0.0, "dialogue": 1.0}))
    assert train_tags(after)["reasoning"] == 0 < train_tags(before)["reasoning"]
    held_out = [[one for one in found.examples if one.split != "train"] for found in (before, after)]
    assert held_out[0] == held_out[1] and len(held_out[0]) == 70


def test_a_group_that_is_left_out_keeps_its_split() -> None:
    """Drawn anew at each freeze, what has no room would end among what judges."""
    first = made(ROWS, QUARTER)
    left = {feedback for feedback, (_, reason) in first.verdicts.items() if reason == "left_out"}
    assert set(first.new_splits) == set(made(ROWS, Mix()).new_splits)
    later = made(ROWS, Mix(), splits=first.new_splits)
    back = {one.split for one in later.examples if one.proposal.source.feedback in left}
    assert back == {"train"} and later.new_splits == {}


def test_rows_without_a_tag_stand_beside_the_shares_or_have_their_own() -> None:
    rows = [*ROWS, *many(200, 100), *many(300, 40, "billing")]
    beside, shared = made(rows, QUARTER), made(rows, Mix({"reasoning": 0.2, "dialogue": 0.6}, other=0.2))
    untagged = train_tags(made(rows, Mix()))
    assert [train_tags(beside)[tag] for tag in ("none", "billing")] == [untagged["none"], untagged["billing"]]
    got = train_tags(shared)
    others = got["none"] + got["billing"]
    assert abs(others - got.total() * 0.2) <= 1 and abs(got["reasoning"] - got.total() * 0.2) <= 1
    assert card(shared)["mix"]["other"]["rows"] == others and card(beside)["mix"]["other"] is None


def test_a_row_with_several_tags_counts_for_the_rarest() -> None:
    shares = shares_of(QUARTER)
    assert part_of(("dialogue", "reasoning", "x"), shares) == "reasoning" and part_of(("x",), shares) is None


def test_experts_rows_stay_before_others() -> None:
    rows = [replace(one, role="expert") if one.feedback.endswith("7") else one for one in ROWS]
    curation = made(rows, QUARTER)
    kept = [one for one in curation.examples if one.split == "train" and "reasoning" in one.proposal.source.tags]
    experts = {one.feedback for one in rows if one.role == "expert"}
    left = {feedback for feedback, (_, reason) in curation.verdicts.items() if reason == "left_out"}
    assert left and not left & experts
    assert any(one.proposal.source.feedback not in experts for one in kept)


def test_neither_time_nor_author_decides_what_is_left_out() -> None:
    left = [int(feedback[3:]) for feedback, (_, why) in made(ROWS, QUARTER).verdicts.items() if why == "left_out"]
    assert 35 < sum(left) / len(left) < 65, "the old and the new go alike"


def test_tags_of_all_that_a_row_stands_for_count() -> None:
    twice = row(500, "reasoning", messages=row(100).messages, correction=row(100).correction)
    curation = made([*ROWS, twice], Mix({"reasoning": 1.0}))
    assert card(curation)["coverage"]["tags"]["reasoning"]["rows"] == 101
    merged = next(one for one in curation.examples if one.proposal.source.feedback == "fb-100")
    assert merged.proposal.merged == ("fb-500",)
    assert card(curation)["coverage"]["tags"]["dialogue"]["rows"] == 100


def test_a_mix_that_leaves_too_little_says_so() -> None:
    rows = [*many(0, 5, "reasoning"), *many(100, 195, "dialogue")]
    told = made(rows, QUARTER).shortfall
    assert len(told) == 3 and "rows to train on (20 are needed)" in told[0]
    assert "the shares of the channel's mix leave" in told[1] and "as of reasoning there are" in told[1]
    assert "more corrections with the tags reasoning are needed" in told[2]
    assert made(rows, Mix()).shortfall == ()


def test_of_no_row_of_a_tag_nothing_is_trained_on_and_it_says_so() -> None:
    told = made(many(100, 200, "dialogue"), QUARTER).shortfall
    assert told[0].startswith("70 accepted corrections make 0 rows to train on")
    assert "as of reasoning there are 0" in told[1]


def test_what_is_too_old_is_left_out_of_every_split() -> None:
    now = 400 * DAY_MS
    rows = [row(n, at_ms=now - n * 5 * DAY_MS) for n in range(100)]  # the last one 495 days ago
    curation = curate(Snapshot("support", rows, now, {}, mix=Mix(max_age_days=365)))
    old = {f"fb-{n}" for n in range(74, 100)}
    assert {feedback for feedback, found in curation.verdicts.items() if found == ("refused", "left_out")} == old
    assert card(curation)["mix"] == {"shares": {}, "other": None, "max_age_days": 365, "too_old": 26}


def test_what_is_too_old_contradicts_nothing_and_the_shortfall_names_it() -> None:
    now = 400 * DAY_MS
    old = row(1, at_ms=0, correction="运费由买家承担。")
    new = row(2, at_ms=now, messages=old.messages, correction="运费由我们承担。")
    both = curate(Snapshot("support", [old, new], now, {}))
    assert {reason for _, reason in both.verdicts.values()} == {"contradiction"}
    current = curate(Snapshot("support", [old, new], now, {}, mix=Mix(max_age_days=365)))
    assert current.verdicts == {"fb-1": ("refused", "left_out"), "fb-2": ("used", None)}
    assert "1 are older than the channel's mix looks back (365 days)" in current.shortfall


TAGGED = st.lists(st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True), min_size=1, max_size=80)
SHARES = st.tuples(st.integers(0, 10), st.integers(0, 10)).filter(lambda two: 0 < sum(two) <= 10)


@settings(max_examples=40, deadline=None)
@given(TAGGED, SHARES, st.booleans(), st.randoms(use_true_random=False))
def test_shares_hold_within_one_row_and_the_order_of_rows_changes_nothing(
    tags: list[list[str]], tenths: tuple[int, int], shares_all: bool, order: random.Random
) -> None:
    rows = [row(n, *some) for n, some in enumerate(tags)]
    a, b = (share / 10 for share in tenths)
    mix = Mix({"a": a, "b": b}, round(1 - a - b, 1)) if shares_all else Mix({"a": a / (a + b), "b": b / (a + b)})
    curation = made(rows, mix, limits=Limits(min_train=0, min_test=0))
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert made(shuffled, mix, limits=Limits(min_train=0, min_test=0)) == curation
    shares = shares_of(mix)
    parts = Counter(part_of(one.proposal.source.tags, shares) for one in curation.examples if one.split == "train")
    total = sum(parts[part] for part in shares)
    assert all(abs(parts[part] - share * total) < 1 for part, share in shares.items())
    every = made(rows, Mix(), limits=Limits(min_train=0, min_test=0))
    assert [one for one in every.examples if one.split != "train"] == [
        one for one in curation.examples if one.split != "train"
    ]
    assert set(curation.verdicts.values()) <= {("used", None), ("refused", "left_out")}


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 50), min_size=2), st.data())
def test_as_many_stay_as_can(had: dict[str, int], data: st.DataObject) -> None:
    weights = {part: data.draw(st.integers(1, 9)) for part in had}
    shares = {part: Fraction(weight, sum(weights.values())) for part, weight in weights.items()}
    room = rooms(had, shares)
    assert all(room[part] <= had[part] for part in had)
    total = sum(room.values())
    assert any(share * (total + 1) > had[part] for part, share in shares.items()), "one more row would break a share"


@pytest.mark.parametrize("channel", ["support", "sales"])
def test_each_channel_draws_for_itself(channel: str) -> None:
    other = curate(Snapshot("other", ROWS, 1_000, {}, mix=QUARTER)).verdicts
    assert curate(Snapshot(channel, ROWS, 1_000, {}, mix=QUARTER)).verdicts != other
