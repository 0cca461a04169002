import numpy as np
import pytest

from retrain.contrast import HUB, Item, pair_value, pairs, representatives


def items(answers: str, fresh: bool = True, start: int = 0) -> list[Item]:
    return [Item(f"i{start + at:02}", f"g{start + at}", answer, fresh) for at, answer in enumerate(answers)]


def test_pairs_have_different_answers_and_are_spread_evenly() -> None:
    held = items("aabbccddeeffgghhiijjkkllm")
    chosen = pairs(held, 4)
    degrees = np.bincount(np.array(chosen).ravel(), minlength=len(held))
    assert all(held[one].answer != held[other].answer for one, other in chosen)
    assert len(set(chosen)) == len(chosen)
    assert degrees.min() >= 4 and degrees.max() <= 6
    assert chosen == pairs(held, 4)


def test_spacing_and_case_make_no_different_answer() -> None:
    held = [Item("a", "a", "Free  return.", True), Item("b", "b", "free return.", True)]
    assert pairs(held, 4) == ()


def test_the_pairs_are_the_ids_choice_in_whatever_order_items_come() -> None:
    held = items("aabbccddeeffgghhiijjkkllm")

    def named(order: list[Item]) -> set[frozenset[str]]:
        return {frozenset((order[one].id, order[other].id)) for one, other in pairs(order, 4)}

    assert named(held) == named(held[::-1])
    assert all(one < other for one, other in pairs(held, 4))


def test_nobody_is_asked_for_more_partners_than_wanted_while_there_are_others() -> None:
    assert np.bincount(np.array(pairs(items("abcdefgh"), 1)).ravel()).tolist() == [1] * 8


def test_one_odd_answer_does_not_carry_everything() -> None:
    chosen = pairs(items("a" * 24 + "b"), 4)
    assert len(chosen) == HUB * 4


def test_a_later_cycle_takes_its_partners_from_older_rows() -> None:
    held = [*items("n" * 10), *items("aabbccddeeffgghh", fresh=False, start=10)]
    chosen = pairs(held, 4)
    assert all(held[one].fresh != held[other].fresh for one, other in chosen)
    assert len(chosen) == 40
    assert pairs(items("abcdef", fresh=False), 4) == ()


def test_one_item_a_group_fresh_ones_first() -> None:
    held = [
        Item("b", "g", "x", True),
        Item("a", "g", "y", False),
        Item("c", "h", "z", False),
        Item("aa", "g", "w", True),
    ]
    assert [item.id for item in representatives(held)] == ["aa", "c"]


def test_the_value_of_a_pair_is_the_mean_of_both_ways() -> None:
    value = {(0, 0): -1.0, (0, 2): -2.5, (2, 2): -3.0, (2, 0): -4.0}
    assert pair_value(lambda question, answer: value[question, answer], (0, 2)) == 1.25


def test_beliefs_about_answers_and_questions_cancel() -> None:
    dice = np.random.default_rng(0)
    of_question, of_answer = dice.normal(0, 3, 8), dice.normal(0, 3, 8)
    for pair in ((0, 1), (3, 7)):
        assert pair_value(lambda q, a: of_question[q] + of_answer[a], pair) == pytest.approx(0)
    assert pair_value(lambda q, a: of_answer[a] + (2.0 if q == a else 0.0), (2, 5)) == pytest.approx(2.0)


def test_shuffled_answers_leave_no_gain_on_average_even_where_one_answer_is_frequent() -> None:
    """A model that learnt how frequent each answer is prefers the frequent one: that must not look like a mapping."""
    dice, means = np.random.default_rng(1), []
    liking = {"a": 1.0, "b": 0.2, "c": -0.5}
    of_text = dice.normal(0, 0.5, (25, 3))
    for _ in range(400):
        held = items("".join(dice.permutation(list("a" * 13 + "b" * 7 + "c" * 5))))

        def gain(question: int, answer: int, held: list[Item] = held) -> float:
            text = held[answer].answer
            return liking[text] + float(of_text[question, "abc".index(text)])

        means.append(np.mean([pair_value(gain, pair) for pair in pairs(held, 4)]))
    assert abs(np.mean(means)) < 4 * np.std(means) / 20
