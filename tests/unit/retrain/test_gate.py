import dataclasses
import math
import random

import pytest

from retrain import contrast, gate_config
from retrain.evaluate import Measurements, Plan, Sides
from retrain.evidence import told_apart
from retrain.gate import FAIL, INSUFFICIENT, PASS, Evidence, General, gate
from retrain.statistics import Interval

THRESHOLDS, _ = gate_config.read_config(None)


# docs/clients.md promises these names, and tests/e2e reads them
CHECKS = [
    "finite",
    "test_rows",
    "new_rows",
    "gain",
    "contrast",
    "told_apart",
    "older_rows",
    "taught_rows",
    "lost_cases",
]
CHECKS += ["general", "kl", "leaks", "answers", "scorer 1 (regex)"]


def general(**changes: object) -> General:
    held = General(544, Interval(-0.01, -0.04, 0.02, 544), kl=0.02, kl_tokens=9_000, leaks=0, allowed_leaks=0)
    return dataclasses.replace(held, **changes)  # type: ignore[arg-type]


def evidence(**changes: object) -> Evidence:
    """A draft that learnt: a first cycle, with nothing taught before."""
    good = Evidence(
        test_groups=26,
        new_groups=26,
        gain=Interval(2.0, 1.8, 2.2, 26),
        contrast=Interval(0.95, 0.8, 0.99, 24),
        contrast_change=Interval(0.05, -0.08, 0.2, 24),
        contrast_units=24.0,
        older=None,
        taught=None,
        taught_lost=0,
        scorers={"scorer 1 (regex)": Interval(1.0, 0.9, 1.0, 26)},
        faulty_share=0.02,
        faulty_answers=2,
        answers=104,
        general=general(),
    )
    return dataclasses.replace(good, **changes)  # type: ignore[arg-type]


def failing(changed: Evidence) -> dict[str, str]:
    return {check.name: check.status for check in gate(changed, THRESHOLDS).checks if check.status != PASS}


def test_a_draft_that_learnt_passes_every_check() -> None:
    verdict = gate(evidence(), THRESHOLDS)
    assert verdict.result == PASS
    assert verdict.reasons == ()
    assert [check.name for check in verdict.checks] == CHECKS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # shuffled corrections: the form is learnt, which answer belongs to which question is not
        ({"contrast": Interval(0.59, 0.41, 0.75, 29)}, {"contrast": INSUFFICIENT}),
        ({"contrast": Interval(0.3, 0.16, 0.5, 29)}, {"contrast": INSUFFICIENT}),
        ({"contrast": Interval(0.78, 0.6, 0.89, 29)}, {"contrast": INSUFFICIENT}),
        # as sure as can be beside an incumbent that was as sure: nothing to rise to
        ({"contrast_change": Interval(0.0, -0.12, 0.12, 29)}, {}),
        ({"contrast_change": Interval(-0.2, -0.36, -0.01, 29)}, {"told_apart": FAIL}),
        ({"contrast_change": None}, {}),
        ({"contrast": None}, {"contrast": INSUFFICIENT}),
        ({"contrast_units": 9.9}, {"contrast": INSUFFICIENT}),
        ({"gain": Interval(0.2, 0.04, 0.4, 26)}, {"gain": INSUFFICIENT}),
        ({"gain": Interval(-0.2, -0.4, -0.01, 26)}, {"gain": FAIL}),
        ({"gain": Interval(-0.2, -0.4, 0.01, 26)}, {"gain": INSUFFICIENT}),
        ({"test_groups": 19}, {"test_rows": INSUFFICIENT}),
        ({"new_groups": 9}, {"new_rows": INSUFFICIENT}),
        ({"older": Interval(0.0, -0.10, 0.1, 25)}, {}),
        ({"older": Interval(0.0, -0.11, 0.1, 25)}, {"older_rows": INSUFFICIENT}),
        ({"older": Interval(-0.3, -0.5, -0.11, 25)}, {"older_rows": FAIL}),
        ({"taught": Interval(-0.02, -0.05, 0.01, 80), "taught_lost": 4}, {}),
        ({"taught": Interval(-0.02, -0.05, 0.01, 80), "taught_lost": 5}, {"lost_cases": FAIL}),
        ({"taught": Interval(-0.02, -0.12, 0.01, 80)}, {"taught_rows": INSUFFICIENT}),
        ({"taught": Interval(-0.4, -0.5, -0.3, 80)}, {"taught_rows": FAIL}),
        ({"general": None}, {"general": INSUFFICIENT}),
        ({"general": general(prompts=149)}, {"general": INSUFFICIENT}),
        ({"general": general(difference=Interval(-0.12, -0.16, -0.08, 544))}, {"general": FAIL}),
        ({"general": general(difference=Interval(-0.05, -0.075, -0.025, 544))}, {"general": FAIL}),
        ({"general": general(difference=Interval(-0.01, -0.08, 0.06, 160))}, {"general": INSUFFICIENT}),
        ({"general": general(difference=Interval(-0.03, -0.06, -0.001, 544))}, {}),
        ({"general": general(kl=0.0501)}, {"kl": FAIL}),
        ({"general": general(kl=math.nan)}, {"kl": FAIL}),
        ({"general": general(leaks=1)}, {"leaks": FAIL}),
        ({"general": general(leaks=1, allowed_leaks=1)}, {}),
        ({"general": general(leaks=None)}, {}),
        ({"faulty_share": 0.11, "faulty_answers": 11}, {"answers": FAIL}),
        ({"answers": 0}, {"answers": INSUFFICIENT}),
        ({"not_finite": 1}, {"finite": FAIL}),
        ({"scorers": {"exact": Interval(-0.2, -0.3, -0.1, 26)}}, {"exact": FAIL}),
        ({"scorers": {"exact": Interval(-0.2, -0.5, 0.1, 26)}}, {}),
    ],
)
def test_each_check_at_its_edge(changes: dict[str, object], expected: dict[str, str]) -> None:
    changed = evidence(**changes)
    assert failing(changed) == expected
    wanted = FAIL if FAIL in expected.values() else INSUFFICIENT if expected else PASS
    assert gate(changed, THRESHOLDS).result == wanted


NATS = "+0.010 [-0.020, +0.040] nats a token, allowed -0.1"
KEPT, DOUBTED, FORGOTTEN = Interval(0.01, -0.02, 0.04, 80), Interval(0.0, -0.2, 0.1, 80), Interval(-0.3, -0.4, -0.2, 80)
AT_ALLOWANCE = general(difference=Interval(-0.03, -0.07, 0.01, 544))
AT_ZERO = general(difference=Interval(-0.05, -0.1, 0.0, 544))
NOT_COMPARED = "no two test questions with different accepted answers, one of them new, could be compared"


@pytest.mark.parametrize(
    ("changes", "name", "status", "measured", "bound", "threshold", "figures"),
    [
        ({}, "finite", PASS, 0, None, 0, "every"),
        ({"not_finite": 3}, "finite", FAIL, 3, None, 0, "3 log-probabilities"),
        ({"test_groups": 20}, "test_rows", PASS, 20, None, 20, "20 test questions"),
        ({"test_groups": 13}, "test_rows", INSUFFICIENT, 13, None, 20, "13 test questions; 7 more"),
        ({"test_groups": 0}, "test_rows", INSUFFICIENT, 0, None, 20, "20 more"),
        ({"new_groups": 10}, "new_rows", PASS, 10, None, 10, "10 test questions new"),
        ({"new_groups": 9}, "new_rows", INSUFFICIENT, 9, None, 10, "questions new since the incumbent's; 1 more"),
        ({"new_groups": 0}, "new_rows", INSUFFICIENT, 0, None, 10, "nothing is new since the incumbent's data; 10 new"),
        ({}, "gain", PASS, 2.0, 1.8, 0.05, "log-probability rose: +2.000 [+1.800, +2.200] nats per token"),
        ({"gain": None}, "gain", INSUFFICIENT, None, None, 0.05, "log-probability could not be measured"),
        ({"gain": Interval(-0.2, -0.4, -0.01, 26)}, "gain", FAIL, -0.2, -0.01, 0.05, "-0.200 [-0.400, -0.010] nats"),
        ({"gain": Interval(0.2, 0.04, 0.4, 26)}, "gain", INSUFFICIENT, 0.2, 0.04, 0.05, "by 0.05: +0.200 [+0.040, "),
        ({"gain": Interval(0.2, 0.05, 0.4, 26)}, "gain", INSUFFICIENT, 0.2, 0.05, 0.05, "; about 1 more"),
        ({"gain": Interval(-0.2, -0.4, 0.0, 26)}, "gain", INSUFFICIENT, -0.2, -0.4, 0.05, "-0.400, +0.000] nats"),
        ({}, "contrast", PASS, 0.95, 0.8, 0.65, "95% of pairs [80%, 99%]"),
        ({"contrast": None}, "contrast", INSUFFICIENT, None, None, 0.65, "no two test questions"),
        ({"contrast_units": 9.9}, "contrast", INSUFFICIENT, 0.95, None, 0.65, "9.9 items; 10 are needed"),
        ({"contrast_units": 10.0}, "contrast", PASS, 0.95, 0.8, 0.65, "95%"),
        ({"contrast": Interval(0.85, 0.65, 0.95, 24)}, "contrast", INSUFFICIENT, 0.85, 0.65, 0.65, "; about 1 more"),
        ({"contrast": Interval(0.6, 0.4, 0.8, 24)}, "contrast", INSUFFICIENT, 0.6, 0.4, 0.65, "65% of pairs: in 60%"),
        ({}, "told_apart", PASS, 0.05, -0.08, 0.0, "+5 points [-8, +20] over"),
        ({"contrast_change": Interval(0.9, 0.6, 0.99, 29)}, "told_apart", PASS, 0.9, 0.6, 0.0, "+90 points [+60, +99]"),
        ({"contrast_change": None}, "told_apart", PASS, None, None, 0.0, "no pairs"),
        ({"contrast_change": Interval(-0.2, -0.36, -0.01, 29)}, "told_apart", FAIL, -0.2, -0.01, 0.0, "[-36, -1]"),
        ({"contrast_change": Interval(-0.2, -0.36, 0.0, 29)}, "told_apart", PASS, -0.2, -0.36, 0.0, "-20 points"),
        ({}, "older_rows", PASS, None, None, -0.1, "no older test rows"),
        ({"older": KEPT}, "older_rows", PASS, 0.01, -0.02, -0.1, f"older test rows are kept: {NATS}"),
        ({"older": DOUBTED}, "older_rows", INSUFFICIENT, 0.0, -0.2, -0.1, "rows may be worse: +0.000 [-0.200, "),
        ({"older": FORGOTTEN}, "older_rows", FAIL, -0.3, -0.2, -0.1, "rows are forgotten: -0.300 [-0.400, "),
        ({"older": Interval(-0.2, -0.3, -0.1, 9)}, "older_rows", INSUFFICIENT, -0.2, -0.3, -0.1, "[-0.300, -0.100]"),
        ({}, "taught_rows", PASS, None, None, -0.1, "no cases corrected before"),
        ({"taught": KEPT}, "taught_rows", PASS, 0.01, -0.02, -0.1, f"cases corrected before are kept: {NATS}"),
        ({}, "lost_cases", PASS, None, None, 0.05, "no cases"),
        ({"taught": KEPT, "taught_lost": 4}, "lost_cases", PASS, 0.05, None, 0.05, "4 of 80 corrected cases fell"),
        ({"taught": KEPT, "taught_lost": 8}, "lost_cases", FAIL, 0.1, None, 0.05, "8 of 80"),
        ({"general": None}, "general", INSUFFICIENT, 0, None, 150, "0 general prompts; 150 are needed"),
        ({"general": general(prompts=149)}, "general", INSUFFICIENT, 149, None, 150, "149 general prompts; 150"),
        ({"general": general(prompts=150)}, "general", PASS, -0.01, -0.04, -0.07, "-1.0 points [-4.0, +2.0]"),
        ({"general": AT_ALLOWANCE}, "general", INSUFFICIENT, -0.03, -0.07, -0.07, "-7.0, +1.0], allowed -7"),
        ({"general": AT_ZERO}, "general", INSUFFICIENT, -0.05, -0.1, -0.07, "+0.0]"),
        ({"general": general(kl=0.05)}, "kl", PASS, 0.05, None, 0.05, "0.0500 nats per token, allowed 0.05"),
        ({"general": general(leaks=2)}, "leaks", FAIL, 2, None, 0, "2 of 544 general answers"),
        ({"general": general(leaks=2, allowed_leaks=2)}, "leaks", PASS, 2, None, 2, "allowed 2"),
        ({"general": general(leaks=None)}, "leaks", PASS, None, None, None, "no mark"),
        ({}, "answers", PASS, 0.02, None, 0.1, "2 of 104 answers"),
        ({"faulty_share": 0.1, "faulty_answers": 10}, "answers", PASS, 0.1, None, 0.1, "10 of 104"),
        ({"answers": 0}, "answers", INSUFFICIENT, None, None, 0.1, "no answers"),
        ({"answers": 1}, "answers", PASS, 0.02, None, 0.1, "of 1 answers"),
        ({}, "scorer 1 (regex)", PASS, 1.0, 0.9, 0.0, "scorer 1 (regex): +1.000 [+0.900, +1.000] over the incumbent"),
        ({"scorers": {"exact": Interval(-0.2, -0.3, -0.1, 26)}}, "exact", FAIL, -0.2, -0.1, 0.0, "[-0.300, -0.100]"),
        ({"scorers": {"exact": Interval(-0.2, -0.4, 0.0, 26)}}, "exact", PASS, -0.2, -0.4, 0.0, "exact: -0.200"),
        ({"draft_failure": "status 404"}, "engine", FAIL, None, None, None, "status 404"),
    ],
)  # fmt: skip
def test_each_check_says_what_it_measured_by_which_bound_and_what_was_asked(
    changes: dict[str, object],
    name: str,
    status: str,
    measured: float | None,
    bound: float | None,
    threshold: float | None,
    figures: str,
) -> None:
    (check,) = (check for check in gate(evidence(**changes), THRESHOLDS).checks if check.name == name)
    found = (check.status, check.measured, check.bound, check.threshold)
    assert found == (status, measured, bound, threshold)
    assert figures in check.reason


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({}, "finite", "every log-probability is a number"),
        ({"contrast": None}, "contrast", NOT_COMPARED),
        ({"contrast_change": None}, "told_apart", "no pairs to compare with the incumbent's"),
        ({}, "lost_cases", "no cases were corrected before"),
        ({"general": general(leaks=None)}, "leaks", "the taught form has no mark of its own to look for"),
        ({"answers": 0}, "answers", "no answers to test questions were measured"),
    ],
)  # fmt: skip
def test_a_check_without_figures_says_just_why(changes: dict[str, object], name: str, words: str) -> None:
    (check,) = (check for check in gate(evidence(**changes), THRESHOLDS).checks if check.name == name)
    assert check.reason == words


def test_forgetting_is_given_in_points() -> None:
    (reason,) = gate(evidence(general=general(difference=Interval(-0.2, -0.3, -0.1, 544))), THRESHOLDS).reasons
    assert reason.endswith(": -20.0 points [-30.0, -10.0], allowed -7")


@pytest.mark.parametrize("contrast_", [Interval(0.65, 0.4, 0.8, 24), Interval(1.0, -math.inf, math.inf, 1)])
def test_no_number_is_given_where_no_number_of_questions_would_show_it(contrast_: Interval) -> None:
    (reason,) = gate(evidence(contrast=contrast_), THRESHOLDS).reasons
    assert reason.endswith("%]") and "more test questions" not in reason


def test_form_alone_is_no_evidence_of_what_was_taught() -> None:
    form_only = evidence(contrast=Interval(0.52, 0.33, 0.7, 26), scorers={"scorer 1 (regex)": Interval(1, 1, 1, 26)})
    verdict = gate(form_only, THRESHOLDS)
    assert verdict.result == INSUFFICIENT
    assert verdict.reasons[0].startswith("contrast: ")


def test_nothing_new_says_so() -> None:
    verdict = gate(evidence(new_groups=0, gain=None, contrast=None, contrast_units=0.0), THRESHOLDS)
    assert verdict.result == INSUFFICIENT
    assert "nothing is new since the incumbent's data" in verdict.reasons[0]


def test_too_few_rows_say_how_many_more() -> None:
    reasons = gate(evidence(test_groups=13, new_groups=13), THRESHOLDS).reasons
    assert len(reasons) == 1 and "7 more are needed" in reasons[0]


def test_a_wide_bound_says_how_many_more_would_do() -> None:
    # the bound lies 0.3 under the mean and must lie 0.2 under it: 2.25 times as many
    reasons = gate(evidence(contrast=Interval(0.85, 0.55, 0.95, 24)), THRESHOLDS).reasons
    assert "about 30 more test questions" in reasons[0]


def test_a_draft_that_cannot_be_served_fails_by_that_alone() -> None:
    verdict = gate(evidence(draft_failure="the engine cannot answer with the draft (status 404)"), THRESHOLDS)
    assert verdict.result == FAIL
    assert [check.name for check in verdict.checks] == ["engine"]


def test_what_failed_is_named_before_what_was_not_shown() -> None:
    changed = evidence(contrast=Interval(0.5, 0.32, 0.69, 26), general=general(leaks=9))
    verdict = gate(changed, THRESHOLDS)
    assert verdict.result == FAIL
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["leaks", "contrast"]


def desk(dice: random.Random, kind: str, share: float = 0.0) -> Interval | None:
    """27 test questions of 6 categories, as a draft that learnt from corrections of this kind would be measured.

    true: it knows the category of that `share` of questions, and guesses the rest. shuffled: labels are a random
    permutation, and it believes in a category that has nothing to do with them. deranged: no question kept its own
    category, and it has learnt to perfection never to give that one.
    """
    truth = [dice.randrange(6) for _ in range(27)]
    believed = [category if dice.random() < share else dice.randrange(6) for category in truth]
    labels = list(truth)
    if kind == "shuffled":
        dice.shuffle(labels)
    if kind == "deranged":
        labels = [dice.choice([label for label in range(6) if label != category]) for category in truth]

    def value(question: int, label: int) -> float:
        sure = -(label == truth[question]) if kind == "deranged" else (label == believed[question])
        return 10.0 * sure + dice.gauss(0, 1)

    items = contrast.representatives(
        [contrast.Item(f"{dice.random()}", f"{row:02}", str(label), True) for row, label in enumerate(labels)]
    )
    rows = [int(item.group) for item in items]
    pairs = contrast.pairs(items, 4)
    cells = {(asks, says) for pair in pairs for asks in pair for says in pair}
    cross = {(asks, says): Sides(value(rows[asks], labels[rows[says]]), 0.0) for asks, says in cells}
    plan = Plan(fresh=(), older=(), taught=(), items=items, pairs=pairs, prompts=(), left_out=0)
    return told_apart(plan, Measurements(cross=cross), THRESHOLDS.confidence)


def passes(kind: str, share: float, runs: int) -> int:
    dice = random.Random(f"{kind} {share}")
    return sum(gate(evidence(contrast=desk(dice, kind, share)), THRESHOLDS).result == PASS for _ in range(runs))


def test_a_draft_that_knows_nine_of_ten_categories_passes_nearly_always() -> None:
    assert passes("true", 0.9, 200) >= 196


def test_shuffled_corrections_pass_hardly_ever() -> None:
    assert passes("shuffled", 0.0, 300) == 0
    assert passes("deranged", 0.0, 300) <= 12
