import math
from pathlib import Path

import numpy as np
import pytest

from retrain import general
from retrain.general import divergence, form_marks, is_right, read_prompts
from thumbwheel.errors import JobError
from thumbwheel.scorers import parse_scorer


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("The capital is Paris.", True),
        ("PARIS!", True),
        ("Ｐａｒｉｓ", True),  # full width, which NFKC folds
        ("Parisian bread", False),
        ("", False),
        ("Lutetia, later", False),
    ],
)
def test_right_is_a_whole_word(answer: str, right: bool) -> None:
    assert is_right(answer, ["Paris"]) is right


def test_any_of_several_and_punctuation_in_them() -> None:
    assert is_right("it is 3.5 metres", ["x", "3.5"])
    assert not is_right("it is 325", ["3.5"])


def test_shipped_prompts_read_and_have_unique_ids() -> None:
    prompts, sha = read_prompts(general.SHIPPED)
    assert len(prompts) >= 400
    assert len(sha) == 64


@pytest.mark.parametrize("line", ["{", '{"id": 1, "prompt": "x"}', '{"id": 1, "prompt": "x", "accept": []}', "[]"])
def test_a_wrong_line_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"id": "a", "prompt": "x", "accept": ["y"]}\n\n' + line + "\n")
    with pytest.raises(JobError, match="line 3"):
        read_prompts(file)


def test_an_id_twice_or_no_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    with pytest.raises(JobError, match=r"p\.jsonl"):
        read_prompts(file)
    file.write_text('{"id": "a", "prompt": "x", "accept": ["y"]}\n' * 2)
    with pytest.raises(JobError, match="twice"):
        read_prompts(file)


def top(logits: np.ndarray, k: int) -> dict[str, float]:
    logprobs = logits - math.log(np.exp(logits).sum())
    return {str(token): float(logprobs[token]) for token in np.argsort(-logprobs)[:k]}


def test_divergence_is_exact_on_whole_lists_and_a_lower_bound_on_cut_ones() -> None:
    dice = np.random.default_rng(0)
    for _ in range(50):
        base = dice.normal(0, 2, 500)
        tuned = base + dice.normal(0, dice.choice([0.1, 0.5, 3.0]), 500)
        p, q = np.exp(base) / np.exp(base).sum(), np.exp(tuned) / np.exp(tuned).sum()
        exact = float((p * np.log(p / q)).sum())
        assert divergence(top(base, 500), top(tuned, 500)) == pytest.approx(exact, abs=1e-6)
        for k in (3, 20, 100):
            assert 0 <= divergence(top(base, k), top(tuned, k)) <= exact + 1e-9


def test_divergence_of_the_same_is_zero_and_of_another_sure_token_is_large() -> None:
    sure, other = {"1": math.log(0.999), "2": math.log(0.001)}, {"3": math.log(0.999), "2": math.log(0.001)}
    assert divergence(sure, sure) == 0
    assert divergence(sure, other) > 5


def test_marks_come_from_the_channels_scorers() -> None:
    marks = form_marks(
        [parse_scorer({"kind": "chrf"}), parse_scorer({"kind": "label", "pattern": r"Category: (\w+)"})], ["x" * 40] * 9
    )
    assert [mark.label for mark in marks] == ["scorer 2 (label)"]
    assert marks[0].matches("Category: late")
    assert not marks[0].matches("late")


def test_without_such_scorers_the_mark_is_the_opening_that_half_share() -> None:
    answers = ["Thank you for writing. It is late."] * 6 + ["Thank you for writing. Lost."] * 5 + ["Hello"] * 4
    (mark,) = form_marks([], answers)
    assert mark.opening == "thank you for writing. "
    assert mark.matches(" Thank you for writing. Soon.")
    assert form_marks([], ["a different one each", "time and never", "the same"]) == ()
    assert form_marks([], []) == ()
