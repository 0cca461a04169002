"""Marking answers, and comparing a set that was asked twice."""

from __future__ import annotations

from demo.helpdesk import answer_for, load
from demo.measure import GeneralPrompt, accepted, compare, compare_desk, compare_general, load_general, mark

CASE = load().heldout[0]
OTHER = next(case.category for case in load().heldout if case.category != CASE.category)


def test_a_mark_says_form_category_and_whole_answer() -> None:
    right = mark(CASE, answer_for(CASE.category) + "\n")
    assert (right.form, right.right, right.whole) == (True, True, True)
    wrong = mark(CASE, answer_for(OTHER))
    assert (wrong.form, wrong.right, wrong.whole) == (True, False, False)
    step = mark(CASE, f"Category: {CASE.category} | Next step: we are looking into it.")
    assert (step.form, step.right, step.whole) == (True, True, False)
    formless = mark(CASE, f"This is a {CASE.category}.")
    assert (formless.form, formless.right, formless.whole) == (False, False, False)


def test_general_answers_are_matched_as_whole_words_in_any_case() -> None:
    assert accepted("It is PARIS, of course.", ["Paris"])
    assert accepted("It is \uff30\uff41\uff52\uff49\uff53.", ["Paris"])  # full-width letters
    assert not accepted("A comparison.", ["Paris"])
    assert not accepted("Sodium, Na2", ["Na"])
    assert accepted("C++ is.", ["C++"])


def test_the_shipped_general_questions_can_be_read() -> None:
    prompts = load_general()
    assert len(prompts) >= 400
    assert all(isinstance(prompt, GeneralPrompt) and prompt.accept for prompt in prompts)


def test_what_was_asked_once_has_no_served_figure() -> None:
    report = compare({"a": True, "b": False}, None)
    assert (report["base"], report["n"]) == (1, 2)
    assert report["served"] is report["interval"] is report["gain"] is report["gain_interval"] is None


def test_a_set_asked_twice_is_paired_by_item_not_by_sum() -> None:
    same = compare({"a": True, "b": False, "c": True}, {"c": True, "b": False, "a": True})
    crossed = compare({"a": True, "b": False, "c": True}, {"a": False, "b": True, "c": True})
    assert same["served"] == crossed["served"] == 2
    assert same["gain"] == crossed["gain"] == 0
    assert crossed["gain_interval"][0] < same["gain_interval"][0]


def asked(given: str | None) -> dict[str, object]:
    return {"marks": {CASE.id: {"wanted": CASE.category, "category": given, "whole": given == CASE.category}}}


def test_a_desk_set_tells_form_from_category_and_shows_what_was_taken_for_what() -> None:
    report = compare_desk(asked(None), asked(OTHER))
    assert [report[way]["served"] for way in ("form", "category", "whole")] == [1, 0, 0]
    assert report["category"]["confusion"] == {CASE.category: {OTHER: 1}}
    formless = compare_desk(asked(CASE.category), asked(None))
    assert formless["category"]["confusion"] == {CASE.category: {"(no form)": 1}}
    assert compare_desk(asked(None), None)["category"]["confusion"] is None


def test_general_figures_take_kl_from_the_runs_report_and_nothing_from_nowhere() -> None:
    base = {"right": {"a": True, "b": True}, "leaks": 0}
    served = {"right": {"a": True, "b": False}, "leaks": 1}
    report = compare_general(base, served, {"kl": 0.02, "kl_estimator": "so"})
    assert (report["base"], report["served"], report["difference"], report["leaks"]) == (2, 1, -0.5, 1)
    assert (report["kl"], report["kl_estimator"]) == (0.02, "so")
    unknown = compare_general(base, None, {})
    assert unknown["served"] is unknown["kl"] is unknown["leaks"] is unknown["interval"] is None
