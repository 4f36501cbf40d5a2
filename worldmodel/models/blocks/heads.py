"""Layouts of attention heads: from packed queries, keys and values to one tensor per head and segment, and back.

On CPUs copies and rotations are a large part of a training step. There queries and keys are rotated together before they are
divided, and the gradient of all parts is written into one buffer, in the layout that the linear layer needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

from worldmodel.models.blocks.attention import prefers_products
from worldmodel.models.blocks.rotary import rotate, rotate_back_, rotated

Heads = tuple[Tensor, ...]
"""Queries, keys and values, or some of them, of one segment: [B, H, S, F] each."""


def split_heads(
    packed: Tensor, parts: int, heads: int, rotary: Tensor | None = None, lengths: Sequence[int] = ()
) -> list[Heads]:
    """Divide [B, S, parts * H * F] into its parts, heads and segments, and rotate queries and keys.

    parts: 3 = queries, keys, values; 2 = keys, values; 1 = queries. rotary: table [S, 2, F] or [B, 1, S, 2, F]; None: nothing
    is rotated. lengths: of the segments along S; none: one segment. Returns for each segment its parts.
    """
    lengths = tuple(lengths) or (packed.shape[1],)
    count = 0 if rotary is None else max(1, parts - 1)  # of the rotated parts: all but the values
    if packed.device.type != "cpu" or torch.compiler.is_compiling():
        found = list(rearrange(packed, "b s (n h f) -> n b h s f", n=parts, h=heads).unbind())
        found[:count] = [rotate(part, rotary) for part in found[:count] if rotary is not None]
        return list(zip(*(part.split(list(lengths), 2) for part in found), strict=True))
    table = None if rotary is None else rotary.to(packed.dtype)
    flat = _SplitHeads.apply(packed, table, parts, heads, count, lengths)
    return [flat[first : first + parts] for first in range(0, len(flat), parts)]


def join_heads(segments: Sequence[Tensor]) -> Tensor:
    """Pack the outputs of attention [B, H, S, F] of segments one after another: [B, sum S, H * F]."""
    if len(segments) == 1:
        return rearrange(segments[0], "b h s f -> b s (h f)")
    return torch.cat([segment.transpose(1, 2) for segment in segments], dim=1).flatten(2)


class _SplitHeads(torch.autograd.Function):
    """Parts are contiguous where attention is computed by products of matrices, which need them so."""

    @staticmethod
    def forward(
        ctx: Any,
        packed: Tensor,
        table: Tensor | None,
        parts: int,
        heads: int,
        count: int,
        lengths: tuple[int, ...],
    ) -> Heads:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(table)  # that of all blocks, not a wide copy for each of them
        ctx.sizes, ctx.copies, ctx.shape = (parts, heads, lengths), count * heads, packed.shape
        is_dense = prefers_products(packed)
        sources = list(packed.chunk(parts, -1))
        if table is not None:
            cosines, sines = _wide(table, ctx.copies)
            sources[:count] = rotated(packed[..., : cosines.shape[-1]], cosines, sines).chunk(count, -1)
        found = _by_segment(sources, heads, lengths)
        return tuple(part.contiguous() if is_dense else part for part in found)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        (parts, heads, lengths), (table,) = ctx.sizes, ctx.saved_tensors
        like = next(gradient for gradient in gradients if gradient is not None)
        packed = like.new_empty(ctx.shape)
        for slot, gradient in zip(_by_segment(packed.chunk(parts, -1), heads, lengths), gradients, strict=True):
            slot.zero_() if gradient is None else slot.copy_(gradient)
        if table is not None:
            cosines, sines = _wide(table, ctx.copies)
            rotate_back_(packed[..., : cosines.shape[-1]], cosines, sines)
        return packed, None, None, None, None, None


def _wide(table: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of all that is rotated of a token: [S, 2, F] or [B, 1, S, 2, F] -> [(B,) S, copies * F] twice."""
    cosines, sines = (table if table.dim() == 3 else table[:, 0]).unbind(-2)
    repeats = *(1,) * (cosines.dim() - 1), copies
    return cosines.repeat(repeats), sines.repeat(repeats)


def _by_segment(sources: Sequence[Tensor], heads: int, lengths: Sequence[int]) -> Iterator[Tensor]:
    """Views [B, H, S, F] of each part [B, S, H * F] of each segment."""
    by_part = [part.unflatten(-1, (heads, -1)).transpose(1, 2).split(list(lengths), 2) for part in sources]
    return (part for segment in zip(*by_part, strict=True) for part in segment)
