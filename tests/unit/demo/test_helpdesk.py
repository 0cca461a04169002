import json
import re
import shutil
import unicodedata
from collections import Counter
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import pytest

from demo.helpdesk import (
    DATA,
    FORM,
    NEXT_STEPS,
    SECOND_CYCLE,
    BadData,
    HelpDesk,
    answer_for,
    category_of,
    check,
    load,
)

FIRST_CYCLE = tuple(category for category in NEXT_STEPS if category != SECOND_CYCLE)

# Words that would give a category away, with the forms of them that a complaint might use.
GIVEAWAYS = re.compile(
    r"\b(quality|fault\w*|transit|damag\w*|wrong\w*|items?|missing|parts?|late|deliver\w*|bill|bills|billing|billed"
    r"|errors?|accounts?|access|poor\w*|fit|fits|fitted|fitting)\b",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def desk() -> HelpDesk:
    return load()


def grams(text: str) -> frozenset[str]:
    words = " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))
    return frozenset(words[i : i + 5] for i in range(len(words) - 4))


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)


def test_there_is_as_much_of_each_as_the_demo_needs(desk: HelpDesk) -> None:
    assert Counter(case.category for case in desk.corrections) == dict.fromkeys(FIRST_CYCLE, 16)
    assert Counter(case.category for case in desk.heldout) == dict.fromkeys(FIRST_CYCLE, 12)
    assert Counter(case.category for case in desk.paraphrases) == dict.fromkeys(FIRST_CYCLE, 6)
    second = Counter(case.category for case in desk.corrections2)
    assert second.pop(SECOND_CYCLE) == 64
    assert second.total() == 16 and set(second) == set(FIRST_CYCLE)
    assert Counter(case.category for case in desk.heldout2) == {SECOND_CYCLE: 24}
    complaints = Counter(question.category for question in desk.traffic)
    small_talk = complaints.pop(None)
    assert complaints.total() >= 400 and min(complaints.values()) >= 40 and set(complaints) == set(NEXT_STEPS)
    assert 0.08 <= small_talk / len(desk.traffic) <= 0.12


def test_every_junk_is_what_its_kind_says(desk: HelpDesk) -> None:
    junk = {kind: [row for row in desk.junk if row.kind == kind] for kind in {row.kind for row in desk.junk}}
    assert sum(len(rows) for kind, rows in junk.items() if not kind.startswith("thumb_")) == 12
    assert [row.correction for row in junk["empty"]] == ["", ""]
    assert all(row.correction and not row.correction.strip() for row in junk["whitespace"])
    assert all(row.correction is None for row in junk["self_identical"])
    assert all(len(row.correction or "") > 4000 for row in junk["too_long"])
    assert all(row.correction and category_of(row.correction) is None for row in junk["gibberish"])
    one, other = junk["contradiction"]
    assert one.complaint == other.complaint
    assert category_of(one.correction or "") != category_of(other.correction or "")
    assert all((row.thumb, row.correction) == ("up", None) for row in junk["thumb_up"])
    assert all((row.thumb, row.correction) == ("down", None) for row in junk["thumb_down"])


def test_no_complaint_names_a_category(desk: HelpDesk) -> None:
    cases = (*desk.corrections, *desk.heldout, *desk.paraphrases, *desk.corrections2, *desk.heldout2)
    texts = [case.complaint for case in cases] + [question.text for question in desk.traffic if question.category]
    assert [text for text in texts if GIVEAWAYS.search(text)] == []


def test_what_is_held_out_is_no_near_duplicate_of_anything_taught_or_asked(desk: HelpDesk) -> None:
    held = {case.complaint: grams(case.complaint) for case in (*desk.heldout, *desk.heldout2)}
    elsewhere = [case.complaint for case in (*desk.corrections, *desk.corrections2, *desk.paraphrases)]
    elsewhere += [question.text for question in desk.traffic] + [junk.complaint for junk in desk.junk]
    others = {text: grams(text) for text in elsewhere}
    near = [(h, o) for (h, hg), (o, og) in product(held.items(), others.items()) if jaccard(hg, og) >= 0.5]
    near += [(a, b) for (a, ag), (b, bg) in combinations(held.items(), 2) if jaccard(ag, bg) >= 0.5]
    assert near == []


def test_corrections_are_different_situations_and_not_rewordings(desk: HelpDesk) -> None:
    taught = [grams(case.complaint) for case in (*desk.corrections, *desk.corrections2)]
    assert max(jaccard(one, other) for one, other in combinations(taught, 2)) < 0.5


def test_a_paraphrase_is_not_its_original_again(desk: HelpDesk) -> None:
    original = {case.id: case.complaint for case in desk.corrections}
    assert len({case.of for case in desk.paraphrases}) == len(desk.paraphrases)
    assert all(jaccard(grams(case.complaint), grams(original[case.of or ""])) < 0.5 for case in desk.paraphrases)


def test_a_bag_of_words_does_not_solve_it(desk: HelpDesk) -> None:
    """Naive matching of content words must stay well below what the desk wants, or nothing is inferred."""
    words = {case.id: set(re.findall(r"[a-z]{4,}", case.complaint.lower())) for case in desk.corrections}

    def nearest(complaint: str) -> str:
        asked = set(re.findall(r"[a-z]{4,}", complaint.lower()))
        best = max(desk.corrections, key=lambda case: len(asked & words[case.id]) / len(asked | words[case.id]))
        return best.category

    right = sum(nearest(case.complaint) == case.category for case in desk.heldout)
    assert right / len(desk.heldout) < 0.6


def test_answers_keep_the_form_and_name_their_category() -> None:
    assert [category_of(answer_for(category)) for category in NEXT_STEPS] == list(NEXT_STEPS)
    assert FORM.groups == 1
    assert category_of("  Category: wrong item | Next step: the courier swaps it at your door.\n") == "wrong item"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I'm sorry to hear that. What is your order number?",
        "Category: wrong item",
        "Category: bad luck | Next step: the courier swaps it at your door.",
        "Category: wrong item | Next step: .",
        "Category: wrong item | Next step: the courier swaps it at your door",
        "Sure! Category: wrong item | Next step: the courier swaps it at your door.",
        "Category: wrong item | Next step: the courier swaps it at your door. Anything else?",
        "Category: wrong item\nNext step: the courier swaps it at your door.",
    ],
)
def test_anything_else_is_not_the_form(answer: str) -> None:
    assert category_of(answer) is None


def test_check_names_what_is_wrong(desk: HelpDesk) -> None:
    first, second, *rest = desk.corrections
    swapped = replace(first, answer=answer_for(next(c for c in FIRST_CYCLE if c != first.category)))
    terse = replace(second, complaint="It broke.")
    stray = replace(desk.paraphrases[0], of="taught-nothing-01")
    leaked = replace(desk.traffic[0], text=desk.heldout[0].complaint)
    twice = replace(desk.junk[0], id=desk.junk[1].id)
    broken = replace(
        desk,
        corrections=(swapped, terse, *rest),
        paraphrases=(stray,),
        traffic=(leaked,),
        junk=(twice, *desk.junk[1:]),
    )
    named = {where for where, _, _ in check(broken)}
    assert named == {swapped.id, terse.id, stray.id, desk.heldout[0].complaint, twice.id}


@pytest.mark.parametrize("line", ["{", "[]", json.dumps({"id": "x"}), json.dumps({"id": "x", "surprise": 1})])
def test_a_broken_line_is_named_by_file_and_number(tmp_path: Path, line: str) -> None:
    folder = tmp_path / "data"
    shutil.copytree(DATA, folder)
    heldout = folder / "heldout.jsonl"
    lines = heldout.read_text(encoding="utf-8").splitlines()
    heldout.write_text("\n".join([*lines[:3], line, *lines[3:]]), encoding="utf-8")
    with pytest.raises(BadData) as refused:
        load(folder)
    assert [where for where, _, _ in refused.value.problems] == ["heldout.jsonl:4"]


def test_a_missing_file_says_which(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"corrections\.jsonl: no such file"):
        load(tmp_path)
