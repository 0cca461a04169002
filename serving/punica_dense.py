"""vLLM's LoRA arithmetic for CPUs, as one dense product for each adapter in a batch.

vLLM hands every linear layer a batch of tokens and, for each token, the slot of its adapter or -1 for none. The stock
operations gather a weight matrix per token, which is slow, and take -1 for the last slot, so that a base request that
shares a batch with adapter requests is answered by an adapter. Here the tokens of one adapter are multiplied together,
and tokens without one are left as the base's layer made them.

The rounding is the stock operations': both products in the model's dtype (bfloat16, accumulated in float32 within a
product), their sum added to the layer's output in that dtype.

It knows eager mode only: the groups are Python values that change with every batch, so a compiled graph would be
compiled anew each time. It does not know LoRA on experts (mixture of experts), which stays stock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


@dataclass(frozen=True)
class TokenGroup:
    """The rows of a batch that one adapter's slot serves: a slice where they are neighbours, else their indices."""

    slot: int
    rows: slice | torch.Tensor


def group_tokens(slots: torch.Tensor) -> tuple[TokenGroup, ...]:
    """Group a batch's rows by slot; `slots` is (tokens,), integer, -1 meaning no adapter. Those are in no group."""
    groups = []
    for slot in torch.unique(slots).tolist():
        if slot < 0:
            continue
        rows = torch.nonzero(slots == slot).flatten()
        first, last = int(rows[0]), int(rows[-1]) + 1
        groups.append(TokenGroup(slot, slice(first, last) if last - first == len(rows) else rows))
    return tuple(groups)


def add_rows(y: torch.Tensor, rows: slice | torch.Tensor, delta: torch.Tensor, add: bool) -> None:
    """Add `delta` (rows, width) to those rows of `y` (tokens, width) in place, or write it over them."""
    if isinstance(rows, slice):
        y[rows].add_(delta) if add else y[rows].copy_(delta)
    elif add:
        y.index_add_(0, rows, delta)
    else:
        y.index_copy_(0, rows, delta)


def shrink(x: torch.Tensor, a_stacked: torch.Tensor, slot: int, scale: float) -> torch.Tensor:
    """`x` (rows, in) through the slot's A, (slots, 1, rank, in), times `scale`: (rows, rank)."""
    low = x @ a_stacked[slot, 0].t()
    return low if scale == 1.0 else low * scale


def expand(low: torch.Tensor, b_stacked: torch.Tensor, slot: int, dtype: torch.dtype) -> torch.Tensor:
    """`low` (rows, rank) through the slot's B, (slots, 1, out, rank) or (slots, out, rank): (rows, out) in `dtype`."""
    b = b_stacked[slot] if b_stacked.dim() == 3 else b_stacked[slot, 0]
    return low.to(dtype) @ b.t().to(dtype)


class DensePunicaCPU(PunicaWrapperCPU):  # type: ignore[misc]  # vLLM is not followed by the type checker
    """vLLM's `PunicaWrapperCPU` with its products done by group; shapes and meanings are the stock class's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.token_groups: tuple[TokenGroup, ...] = ()
        self.sampler_groups: tuple[TokenGroup, ...] = ()

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Take in a new batch's mapping."""
        super().update_metadata(*args, **kwargs)
        self.token_groups = group_tokens(self.token_lora_indices)
        self.sampler_groups = group_tokens(self.sampler_indices)

    def add_shrink(
        self,
        y: Sequence[torch.Tensor] | torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Sequence[torch.Tensor],
        scale: float,
        **_: Any,
    ) -> None:
        """Write x @ A * scale into each of `y`'s slices; rows without an adapter stay as they are."""
        x = x.view(-1, x.shape[-1])
        for low, a in zip(y, lora_a_stacked, strict=True):
            flat = low.view(-1, low.shape[-1])
            for group in self.token_groups:
                add_rows(flat, group.rows, shrink(x[group.rows], a, group.slot, scale).to(flat.dtype), add=False)

    def add_expand(
        self,
        y: torch.Tensor,
        x: Sequence[torch.Tensor] | torch.Tensor,
        lora_b_stacked: Sequence[torch.Tensor],
        output_slices: Sequence[int],
        offset_start: int = 0,
        add_inputs: bool = True,
        **_: Any,
    ) -> None:
        """Add (or write) x[i] @ B[i] to the i-th slice of `y`'s columns."""
        flat = y.view(-1, y.shape[-1])
        left = offset_start
        for low, b, width in zip(x, lora_b_stacked, output_slices, strict=True):
            for group in self.token_groups:
                delta = expand(low[group.rows], b, group.slot, flat.dtype)
                add_rows(flat[:, left : left + width], group.rows, delta, add_inputs)
            left += width

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor],
        scale: float,
        output_slices: Sequence[int],
        *,
        add_inputs: bool = True,
        **_: Any,
    ) -> None:
        """Add x @ A @ B * scale to `y` (tokens, out), a slice of columns for each of a fused layer's parts."""
        for group in self.token_groups:
            rows = x[group.rows]
            left = 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                delta = expand(shrink(rows, a, group.slot, scale), b, group.slot, y.dtype)
                add_rows(y[:, left : left + width], group.rows, delta, add_inputs)
                left += width

    def add_lora_embedding(
        self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, add_inputs: bool = True, **_: Any
    ) -> None:
        """Add x @ B to the embeddings `y`; vLLM has looked A up already."""
        for group in self.token_groups:
            add_rows(y, group.rows, expand(x[group.rows], lora_b_stacked, group.slot, y.dtype), add_inputs)

    def add_lora_logits(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: torch.Tensor,
        lora_b_stacked: torch.Tensor,
        scale: float,
        **_: Any,
    ) -> None:
        """Add x @ A @ B * scale to the logits `y`, one row a request."""
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for group in self.sampler_groups:
            delta = expand(
                shrink(x[group.rows], lora_a_stacked, group.slot, scale), lora_b_stacked, group.slot, y.dtype
            )
            add_rows(y[:, : delta.shape[1]], group.rows, delta, add=True)
