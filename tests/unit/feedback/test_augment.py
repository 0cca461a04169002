from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.augment import augmented
from feedback.curate import Curation, curate
from feedback.dedupe import group_key
from feedback.join import Joined
from feedback.near import is_near, marks, said
from feedback.snapshot import Snapshot
from retrain.rows import read_rows
from tests.unit.feedback import planted
from tests.unit.feedback.test_mix import row
from thumbwheel.policies import AUGMENT_KINDS
from thumbwheel.records import Augment, Clean, Mix

THINGS = ("充电器", "耳机", "台灯", "键盘", "雨伞")
WORDS = Augment(("terms",), terms=(("套餐", "资费方案"), ("plan", "tariff")))
ALL = Augment(("synonyms", "noise", "terms"), per_row=2, terms=(("套餐", "资费方案"), ("宽带", "光纤")))


def asked(n: int, question: str, **fields: Any) -> Joined:
    return row(n, messages=[{"role": "user", "content": question}], **fields)


def questions(count: int, form: str = "第 {} 号套餐为什么这么贵", **fields: Any) -> list[Joined]:
    return [asked(n, form.format(n), **fields) for n in range(count)]


def made(rows: list[Joined], augment: Augment, **fields: Any) -> Curation:
    return curate(Snapshot("support", rows, 1_000, {}, augment=augment, **fields))


def lines(curation: Curation) -> list[dict[str, Any]]:
    return [json.loads(line) for line in curation.rows.splitlines()]


def other_wordings(curation: Curation) -> list[dict[str, Any]]:
    return [line for line in lines(curation) if "augmented" in line]


def test_nothing_is_augmented_unless_it_is_wanted() -> None:
    curation = made(questions(60), Augment(terms=WORDS.terms))
    assert other_wordings(curation) == [] and json.loads(curation.card)["augmented"] == {"rows": 0, "kinds": {}}


def test_another_wording_is_its_source_but_for_id_and_question() -> None:
    rows = [
        replace(one, messages=[{"role": "system", "content": "套餐客服"}, *(one.messages or ())], role="expert")
        for one in questions(60)
    ]
    curation = made(rows, WORDS)
    by_id = {line["id"]: line for line in lines(curation)}
    found = other_wordings(curation)
    assert len(found) == Counter(line["split"] for line in by_id.values())["train"] // 2 > 30
    for line in found:
        source = by_id[line["augmented"]["from"]]
        assert line["augmented"] == {"from": source["id"], "kind": "terms"} and line["id"].startswith("ax-")
        assert line["messages"][-1]["content"] == source["messages"][-1]["content"].replace("套餐", "资费方案")
        assert line["messages"][:-1] == source["messages"][:-1], "only what the user asked last is varied"
        alike = set(source) - {"id", "messages"}
        assert {key: line[key] for key in alike} == {key: source[key] for key in alike}
        assert source["split"] == "train"


def test_the_same_corrections_judge_and_count_whatever_is_augmented() -> None:
    rows = list(planted.clean(5, 150))
    plain, varied = made(rows, Augment()), made(rows, ALL)
    assert varied.examples == plain.examples and varied.verdicts == plain.verdicts
    assert varied.new_splits == plain.new_splits and varied.rows.startswith(plain.rows)
    cards = [json.loads(one.card) for one in (plain, varied)]
    told = cards[1].pop("augmented")
    assert told["rows"] == len(varied.varied) == sum(told["kinds"].values()) > 50
    assert cards[0].pop("augmented")["rows"] == 0 and cards[0] == cards[1]
    assert {line["split"] for line in other_wordings(varied)} == {"train"}


def test_the_shortfall_counts_corrections_and_no_other_wordings() -> None:
    assert made(questions(43), ALL).shortfall == made(questions(43), Augment()).shortfall != ()


def test_at_most_so_many_of_one_row() -> None:
    rows = [asked(n, f"第{n}次联系客服：我在你们店买的充电器坏了，价格不低，什么时候能换") for n in range(60)]
    counts = [
        Counter(line["augmented"]["from"] for line in other_wordings(made(rows, replace(ALL, per_row=most))))
        for most in (1, 3)
    ]
    assert [max(count.values()) for count in counts] == [1, 3]


def test_a_wording_that_is_known_goes() -> None:
    """Whatever split it is of, or was of, though nobody asks it any more."""
    rows = questions(60)
    others = [asked(100 + n, f"第 {n} 号资费方案为什么这么贵", correction=f"因为第 {n} 号更快。") for n in range(60)]
    assert other_wordings(made([*rows, *others], WORDS)) == []
    known = {group_key(f"第 {n} 号资费方案为什么这么贵"): "test" for n in range(60)}
    assert other_wordings(made(rows, WORDS, splits=known)) == []
    assert len(other_wordings(made(rows, WORDS, splits=dict(list(known.items())[:50])))) <= 10


def test_a_question_that_passes_by_earlier_in_a_conversation_is_known() -> None:
    rows = questions(60)
    later = [
        replace(
            one,
            messages=[
                {"role": "user", "content": f"第 {n} 号资费方案为什么这么贵"},
                {"role": "assistant", "content": "因为快。"},
                *(one.messages or ()),
            ],
        )
        for n, one in enumerate(rows)
    ]
    assert other_wordings(made(later, WORDS)) == [] != other_wordings(made(rows, WORDS))


def test_a_wording_near_one_that_judges_goes() -> None:
    """It is no question of the test split to the letter, and its row is nearly one."""
    examples = made(questions(60), Augment()).examples
    train = [one for one in examples if one.split == "train"]
    (judge,) = [one for one in examples if one.split == "test"][:1]
    (other,) = augmented(train[:1], WORDS, (), ())
    turns = (("user", other.question + "呢？"),)
    close = replace(judge, proposal=replace(judge.proposal, turns=turns, target=train[0].proposal.target))
    assert is_near(said(turns, close.proposal.target), said(other.turns, other.source.proposal.target))
    assert augmented([train[0], close], WORDS, (), ()) == ()
    assert augmented([train[0], replace(close, split="train")], WORDS, (), ()) != ()


def test_what_the_answer_names_and_the_house_s_strings_stay() -> None:
    assert other_wordings(made(questions(60, correction="第 1 号套餐更快。"), WORDS)) == []
    assert other_wordings(made(questions(60), WORDS, clean=Clean(allow=("套餐为什么",)))) == []


def test_japanese_is_not_varied_by_chinese_words() -> None:
    rows = questions(60, "{} 番の充電器が突然壊れました、返品したいのですが")
    assert other_wordings(made(rows, Augment(("synonyms", "noise")))) == []


def test_synonyms_that_deny_or_count_otherwise_are_none() -> None:
    rows = questions(60, "第 {} 号套餐太贵")
    for pair in (("太贵", "不贵"), ("套餐", "3 个套餐"), ("贵", "贵 Sony")):
        assert other_wordings(made(rows, Augment(("synonyms",), synonyms=(pair,)))) == []


def test_a_channel_s_own_synonyms_count_in_every_script() -> None:
    rows = questions(60, "{} 番の充電器はいつ届きますか")
    found = other_wordings(made(rows, Augment(("synonyms",), synonyms=(("充電器", "チャージャー"),))))
    assert len(found) > 20 and all("チャージャー" in line["messages"][-1]["content"] for line in found)


def test_what_is_left_out_is_not_varied() -> None:
    rows = [replace(one, tags=("a",) if n < 60 else ("b",)) for n, one in enumerate(questions(120))]
    curation = made(rows, WORDS, mix=Mix({"a": 0.5, "b": 0.5}))
    none_of_a = made(rows, WORDS, mix=Mix({"a": 0.0, "b": 1.0}))
    left = {feedback for feedback, (_, reason) in none_of_a.verdicts.items() if reason == "left_out"}
    assert left and not left & {line["feedback"] for line in other_wordings(none_of_a)}
    assert len(other_wordings(none_of_a)) < len(other_wordings(curation))


def test_retraining_reads_other_wordings_as_rows_to_train_on_alone(tmp_path: Path) -> None:
    curation = made(questions(60), WORDS)
    (tmp_path / "rows.jsonl").write_bytes(curation.rows)
    train = read_rows(tmp_path, ("train",))
    assert [one.id for one in train if one.augmented] == [one.id for one in curation.varied]
    assert len(train) == 2 * len(curation.varied)
    assert not any(one.augmented for one in read_rows(tmp_path, ("validation", "test")))


QUESTIONS = st.lists(
    st.lists(
        st.sampled_from(
            [
                "不要",
                "退货",
                "充电器",
                "在 3 天内",
                "请联系客服",
                "为什么",
                "the charger",
                "Sony",
                "what broke",
                "[PHONE_1]",
            ]
        ),
        min_size=2,
        max_size=6,
    ).map("，".join),
    min_size=12,
    max_size=40,
    unique=True,
)


@settings(max_examples=60, deadline=None)
@given(QUESTIONS, st.sets(st.sampled_from(["synonyms", "noise", "terms"]), min_size=1), st.integers(1, 4), st.randoms())
def test_nothing_that_judges_is_touched_and_no_case_becomes_another(
    texts: list[str], kinds: set[str], per_row: int, order: random.Random
) -> None:
    rows = [asked(n, text) for n, text in enumerate(texts)]
    wants = Augment(tuple(sorted(kinds)), per_row, terms=(("退货", "退换"),))
    curation = made(rows, wants)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert made(shuffled, wants) == curation
    originals = {line["id"]: line for line in lines(curation) if "augmented" not in line}
    groups = {line["group"] for line in originals.values()} | set(curation.new_splits)
    seen = set()
    for line in other_wordings(curation):
        source, text = originals[line["augmented"]["from"]], line["messages"][-1]["content"]
        assert line["split"] == source["split"] == "train" and line["group"] == source["group"]
        assert line["completion"] == source["completion"] and line["feedback"] == source["feedback"]
        assert group_key(text) not in groups | seen
        assert marks(text) == marks(source["messages"][-1]["content"])
        seen.add(group_key(text))
    assert len({line["id"] for line in lines(curation)}) == len(lines(curation))


@pytest.mark.parametrize("kind", AUGMENT_KINDS[:3])
def test_each_kind_makes_something(kind: str) -> None:
    rows = [asked(n, f"第 {n} 号{THINGS[n % 5]}的套餐为什么还没有到，联系不上你们") for n in range(60)]
    found = other_wordings(made(rows, replace(WORDS, kinds=(kind,))))
    assert len(found) > 15 and {line["augmented"]["kind"] for line in found} == {kind}
