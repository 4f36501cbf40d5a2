"""Softmax attention. The implementation is chosen by device, dtype and number of scores.

- In bfloat16 on a processor that multiplies bfloat16: matrix products and a softmax over blocks of about BLOCK_SCORES scores.
  Of long sequences they are not kept, so memory does not grow with the square of the length. torch's kernel is slower there.
- Elsewhere: torch's scaled_dot_product_attention. In float32 on CPUs it is the faster one, on GPUs a flash kernel.

`python -m benchmarks.step --attention` measures both, and several sizes of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_SCORES = 1 << 20  # scores computed at once: 2 MB, which fits into the caches of a core
STORED_SCORES = 1 << 22  # up to so many, a call keeps its probabilities for the backward pass; above, they are computed again

_DENSE = torch.contiguous_format


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute softmax(q k^T / sqrt(F)) v: q [B, H, S, F], k and v [B, H, K, F] -> [B, H, S, F].

    `mask`: bool, broadcastable to [B, H, S, K], True where a query attends to a key (block-causal masks [S, K], padded keys
    [B, 1, 1, K]). Each query must attend to at least one key. In float32 this is torch's scaled_dot_product_attention, bit for
    bit.
    """
    if prefers_products(q):
        bias = None if mask is None else torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)
        attended: Tensor = _ProductAttention.apply(q, k, v, bias, (q.shape[2],), (k.shape[2],))
        return attended
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def attend_segments(q: Tensor, k: Tensor, v: Tensor, queries: Sequence[int], keys: Sequence[int]) -> Tensor:
    """Attend within segments: sequences that are packed one after another along S and do not attend to one another.

    q [B, H, sum of `queries`, F], k and v [B, H, sum of `keys`, F] -> the shape of q. `queries` and `keys` are the lengths of
    the segments.
    """
    if prefers_products(q):
        attended: Tensor = _ProductAttention.apply(q, k, v, None, tuple(queries), tuple(keys))
        return attended
    parts = zip(q.split(list(queries), 2), k.split(list(keys), 2), v.split(list(keys), 2), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*part) for part in parts], dim=2)


def prefers_products(q: Tensor) -> bool:
    """Whether attention of these queries is computed by matrix products instead of torch's fused kernel."""
    on_cpu = q.device.type == "cpu" and not torch.compiler.is_compiling()
    return on_cpu and q.dtype == torch.bfloat16 and multiplies_bfloat16()


@lru_cache
def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16 (AVX512-BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


class _ProductAttention(torch.autograd.Function):
    """Attention by matrix products over blocks of scores, which have the dtype of q.

    forward(q [B, H, S, F], k and v [B, H, K, F], bias, queries, keys) -> [B, H, S, F]. `bias` is broadcastable to [B, H, S, K]
    and is added to the scores of a single segment. Results are laid out as [B, S, H, F], as in the layers around.
    """

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, queries: tuple[int, ...], keys: tuple[int, ...]
    ) -> Tensor:
        ctx.shapes, ctx.queries, ctx.keys = (q.shape, k.shape), queries, keys
        if bias is not None:
            bias = (
                bias.expand(*q.shape[:2], -1, -1).flatten(0, 1) if bias.dim() > 2 else bias.expand(len(q) * q.shape[1], -1, -1)
            )
        scores = sum(count * length for count, length in zip(queries, keys, strict=True)) * q.shape[0] * q.shape[1]
        is_stored = any(ctx.needs_input_grad) and scores <= STORED_SCORES
        attended, saved = _empty(q, q.shape), list[Tensor]()
        for rows, columns in _segments(queries, keys):
            scaled = torch.mul(q[:, :, rows], q.shape[-1] ** -0.5, out=torch.empty_like(q[:, :, rows], memory_format=_DENSE))
            parts = (scaled, k[:, :, columns].contiguous(), v[:, :, columns].contiguous())
            scaled_q, own_k, own_v = (part.flatten(0, 1) for part in parts)
            saved += [scaled_q, own_k, own_v]
            result = torch.empty_like(scaled_q)
            for block in _blocks(scaled_q, own_k):
                probabilities = _probabilities(scaled_q, own_k, bias, block)
                torch.bmm(probabilities, own_v[block], out=result[block])
                saved += [probabilities] if is_stored else []
            attended[:, :, rows] = result.view_as(scaled)
        ctx.save_for_backward(bias, *saved)
        ctx.is_stored = is_stored
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        bias, *saved = ctx.saved_tensors
        tensors = iter(saved)
        to_q, to_k, to_v = (_empty(gradient, ctx.shapes[number]) for number in (0, 1, 1))
        for rows, columns in _segments(ctx.queries, ctx.keys):
            scaled, k, v = (next(tensors) for _ in range(3))
            given = gradient[:, :, rows].contiguous().flatten(0, 1)
            found = [torch.empty_like(part) for part in (scaled, k, v)]
            for block in _blocks(scaled, k):
                probabilities = next(tensors) if ctx.is_stored else _probabilities(scaled, k, bias, block)
                torch.bmm(probabilities.transpose(1, 2), given[block], out=found[2][block])
                to_probabilities = torch.bmm(given[block], v[block].transpose(1, 2))
                to_scores = torch._softmax_backward_data(to_probabilities, probabilities, -1, probabilities.dtype)
                torch.bmm(to_scores, k[block], out=found[0][block])
                torch.bmm(to_scores.transpose(1, 2), scaled[block], out=found[1][block])
            found[0] *= scaled.shape[-1] ** -0.5
            for part, whole, where in zip(found, (to_q, to_k, to_v), (rows, columns, columns), strict=True):
                whole[:, :, where] = part.view(*gradient.shape[:2], *part.shape[1:])
        return to_q, to_k, to_v, None, None, None


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    """An empty tensor [B, H, S, F] that is laid out as [B, S, H, F]."""
    batch, heads, count, features = shape
    return like.new_empty(batch, count, heads, features).transpose(1, 2)


def _segments(queries: Sequence[int], keys: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Rows of the queries and of the keys of each segment."""
    row = column = 0
    for count, length in zip(queries, keys, strict=True):
        yield slice(row, row + count), slice(column, column + length)
        row, column = row + count, column + length


def _blocks(q: Tensor, k: Tensor) -> Iterator[slice]:
    """Divide the B*H products of one segment into blocks of about BLOCK_SCORES scores."""
    step = max(1, BLOCK_SCORES // (q.shape[1] * k.shape[1]))
    return (slice(first, first + step) for first in range(0, len(q), step))


def _probabilities(q: Tensor, k: Tensor, bias: Tensor | None, block: slice) -> Tensor:
    """softmax(q k^T + bias) of scaled queries in one block: [B*H, S, F], [B*H, K, F] -> [N, S, K]."""
    scores = torch.bmm(q[block], k[block].transpose(1, 2))
    if bias is not None:
        scores += bias[block]
    return torch._softmax(scores, -1, False)
