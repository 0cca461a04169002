"""What the benchmark counts, that its conditions can be broken, and that both generators' rows hold them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import personal_data, personal_data_held_out
from bench.planting import Planted, luhn, resident_id
from bench.redact import broken, is_answered, is_found, measure, rules
from thumbwheel.private.identities import resident_check
from thumbwheel.private.payments import luhn as passes_luhn

ROW = Planted("en", "phone", "Call 415-555-0100 now", "Noted.", "415-555-0100")


def test_a_value_is_found_only_whole() -> None:
    assert is_found(ROW, [(5, 17)]) and is_found(ROW, [(5, 8), (9, 17)])
    assert not is_found(ROW, [(5, 16)]) and not is_found(ROW, [])


def test_an_answer_counts_only_without_the_value() -> None:
    assert is_answered(ROW) and is_answered(replace(ROW, target="We call 415 555 0100."))
    assert not is_answered(replace(ROW, target="We call 415-555-0199."))


def test_each_condition_can_be_broken() -> None:
    def blind(text: str, language: str) -> list[tuple[int, int]]:
        return []

    def greedy(text: str, language: str) -> list[tuple[int, int]]:
        return [(0, len(text))]

    clean = [replace(ROW, prompt="Hello", value=None)]
    assert broken(measure("x", rules, "g", [ROW], clean)) == []
    assert [one.split()[1] for one in broken(measure("x", blind, "g", [ROW], clean))] == ["recall"]
    assert len(broken(measure("x", greedy, "g", [ROW], clean))) == 1


@pytest.mark.parametrize("generator", [personal_data.ROWS, personal_data_held_out.ROWS])
def test_the_rules_hold_the_conditions(generator: object) -> None:
    planted = list(generator.planted(11, 60))
    clean = list(generator.clean(11, 600))
    figures = measure("rules", rules, "g", planted, clean)
    assert broken(figures) == []
    assert min(kind.mean for kind in figures.by_kind.values()) >= 0.9, figures.missed
    assert sum(map(is_answered, planted)) >= 0.98 * len(planted)


def test_what_is_generated_has_its_check_digits() -> None:
    import random

    draw = random.Random(5)
    assert all(passes_luhn(luhn(draw, "4", 16)) for _ in range(50))
    assert all(resident_check(number[:17]) == number[17] for number in (resident_id(draw) for _ in range(50)))
