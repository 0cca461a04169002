"""Which LoRA arithmetic a CPU engine uses."""

from __future__ import annotations

import pytest

from serving.lora_cpu import Arithmetic, choose, stock_skips_minus_one


@pytest.mark.parametrize(
    ("version", "stock_is_right", "expected"),
    [
        ("0.32.0", False, Arithmetic.DENSE),
        ("0.32.1", False, Arithmetic.DENSE),
        ("0.33.0", False, Arithmetic.NEITHER),
        ("0.3.2", False, Arithmetic.NEITHER),
        ("dev", False, Arithmetic.NEITHER),
        ("0.32.0", True, Arithmetic.STOCK),
        ("1.0.0", True, Arithmetic.STOCK),
    ],
)
def test_a_wrong_stock_is_replaced_where_known_and_never_kept(
    version: str, stock_is_right: bool, expected: Arithmetic
) -> None:
    assert choose(version, stock_is_right) is expected


def test_the_installed_vllm_still_has_the_fault() -> None:
    """When this fails, the pinned vLLM is mended: take the replacement out."""
    assert not stock_skips_minus_one()
