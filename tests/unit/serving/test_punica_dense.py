"""The dense LoRA arithmetic against the plain sum over tokens."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from serving.punica_dense import DensePunicaCPU, group_tokens

SLOTS, RANK, WIDTHS_IN, WIDTHS_OUT = 3, 4, 10, (6, 5)


@given(st.lists(st.integers(-1, SLOTS - 1), max_size=40))
def test_groups_hold_each_token_with_an_adapter_once(slots: list[int]) -> None:
    seen: dict[int, int] = {}
    for group in group_tokens(torch.tensor(slots, dtype=torch.long)):
        rows = torch.arange(len(slots))[group.rows].tolist()
        assert rows
        for row in rows:
            assert row not in seen
            seen[row] = group.slot
    assert seen == {row: slot for row, slot in enumerate(slots) if slot >= 0}


def test_neighbours_are_a_view_and_scattered_rows_are_listed() -> None:
    groups = group_tokens(torch.tensor([-1, 2, 2, 0, 1, 0]))
    assert [(group.slot, group.rows) for group in groups[1:]] == [(1, slice(4, 5)), (2, slice(1, 3))]
    assert isinstance(groups[0].rows, torch.Tensor) and groups[0].rows.tolist() == [3, 5]


class Batch:
    """A wrapper with a batch's mapping set, and random stacked weights: exact in float64."""

    def __init__(self, slots: list[int], seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.slots = slots
        self.wrapper = DensePunicaCPU(64, 64, "cpu")
        self.wrapper.token_groups = self.wrapper.sampler_groups = group_tokens(torch.tensor(slots, dtype=torch.long))
        self.x = random(len(slots), WIDTHS_IN)
        self.y = random(len(slots), sum(WIDTHS_OUT))
        self.a = tuple(random(SLOTS, 1, RANK, WIDTHS_IN) for _ in WIDTHS_OUT)
        self.b = tuple(random(SLOTS, 1, width, RANK) for width in WIDTHS_OUT)

    def expected(self, scale: float, add: bool = True) -> torch.Tensor:
        result = self.y.clone()
        for row, slot in enumerate(self.slots):
            if slot >= 0:
                parts = [b[slot, 0] @ (a[slot, 0] @ self.x[row]) for a, b in zip(self.a, self.b, strict=True)]
                delta = torch.cat(parts) * scale
                result[row] = result[row] + delta if add else delta
        return result


BATCHES: tuple[list[int], ...] = ([-1], [0], [-1, -1], [2, 2, 2], [0, 1, 2], [1, -1, 1, -1, 2, 0, 0], [])


@pytest.mark.parametrize("slots", BATCHES)
@pytest.mark.parametrize("add", [True, False])
def test_linear_layers_get_their_own_adapters_and_the_base_none(slots: list[int], add: bool) -> None:
    batch = Batch(slots)
    result = batch.y.clone()
    batch.wrapper.add_lora_linear(result, batch.x, batch.a, batch.b, 0.5, WIDTHS_OUT, add_inputs=add)
    torch.testing.assert_close(result, batch.expected(0.5, add))
    for row, slot in enumerate(slots):
        if slot < 0:
            assert torch.equal(result[row], batch.y[row])


@pytest.mark.parametrize("slots", BATCHES)
def test_shrinking_then_expanding_is_the_same(slots: list[int]) -> None:
    batch = Batch(slots)
    low = [torch.zeros(len(slots), RANK, dtype=torch.float64) for _ in WIDTHS_OUT]
    result = batch.y.clone()
    batch.wrapper.add_shrink(low, batch.x, batch.a, 0.5)
    batch.wrapper.add_expand(result, low, batch.b, WIDTHS_OUT)
    torch.testing.assert_close(result, batch.expected(0.5))


@pytest.mark.parametrize("slots", BATCHES)
def test_embeddings_and_logits_too(slots: list[int]) -> None:
    batch = Batch(slots)
    width = WIDTHS_OUT[0]
    y = batch.y[:, :width].contiguous()
    low = torch.stack([batch.a[0][slot, 0] @ row for slot, row in zip(slots, batch.x, strict=True)]) if slots else None
    wanted = batch.expected(1.0)[:, :width]
    if low is not None:
        embedded = y.clone()
        batch.wrapper.add_lora_embedding(embedded, low, batch.b[0])
        torch.testing.assert_close(embedded, wanted)
    logits = y.clone()
    batch.wrapper.add_lora_logits(logits, batch.x, batch.a[0], batch.b[0], 1.0)
    torch.testing.assert_close(logits, wanted)


def test_it_takes_its_groups_from_vllms_mapping() -> None:
    wrapper = DensePunicaCPU(64, 64, "cpu")
    # vLLM's LoRAMapping has these three; importing it would load every layer.
    mapping = SimpleNamespace(index_mapping=(0, 7, 7, 9), prompt_mapping=(0, 7, 9), is_prefill=True)
    wrapper.update_metadata(mapping, [9, None, 7], 4, 100)
    assert [(group.slot, group.rows) for group in wrapper.token_groups] == [(0, slice(3, 4)), (2, slice(1, 3))]
    assert [(group.slot, group.rows) for group in wrapper.sampler_groups] == [(0, slice(2, 3)), (2, slice(1, 2))]
