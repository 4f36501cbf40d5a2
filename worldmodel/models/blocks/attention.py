"""Softmax attention. The implementation is chosen by device, dtype and number of scores.

- In bfloat16 on a processor that multiplies bfloat16: matrix products and a softmax over blocks of about BLOCK_SCORES scores.
  Of long sequences they are not kept for the backward pass; the scores of one head are the smallest block, so that memory
  grows with the square of the length of one head, not of all. torch's kernel is slower there.
- Elsewhere: torch's scaled_dot_product_attention. In float32 on CPUs it is the faster one, on GPUs a flash kernel.

`python -m benchmarks.step --attention` measures both, and several sizes of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from worldmodel.process.devices import multiplies_bfloat16

BLOCK_SCORES = 1 << 20  # scores computed at once: 2 MB, which fits into the caches of a core
STORED_SCORES = 1 << 22  # up to so many, a call keeps its probabilities for the backward pass; above, they are computed again


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compute softmax(q k^T / sqrt(F)) v: q [B, H, S, F], k and v [B, H, K, F] -> [B, H, S, F].

    `mask`: bool, broadcastable to [B, H, S, K], True where a query attends to a key (block-causal masks [S, K], padded keys
    [B, 1, 1, K]). Each query must attend to at least one key. In float32 this is torch's scaled_dot_product_attention, bit for
    bit.
    """
    return attend_segments([(q, k, v)], mask)[0]


def attend_segments(segments: Sequence[Sequence[Tensor]], mask: Tensor | None = None) -> list[Tensor]:
    """Attend within each of several segments, which do not attend to one another.

    Each has queries [B, H, S, F], keys and values [B, H, K, F]; the result has a tensor [B, H, S, F] for each of them.
    `mask`: as for `attend`, for a single segment.
    """
    if not prefers_products(segments[0][0]):
        return [F.scaled_dot_product_attention(q, k, v, attn_mask=mask) for q, k, v in segments]
    bias = None if mask is None else torch.zeros_like(mask, dtype=segments[0][0].dtype).masked_fill_(~mask, -math.inf)
    is_stored = sum(q.shape[:3].numel() * k.shape[2] for q, k, _ in segments) <= STORED_SCORES
    return [_ProductAttention.apply(q, k, v, bias, is_stored) for q, k, v in segments]


def prefers_products(q: Tensor) -> bool:
    """Whether attention of these queries is computed by matrix products instead of torch's fused kernel."""
    on_cpu = q.device.type == "cpu" and not torch.compiler.is_compiling()
    return on_cpu and q.dtype == torch.bfloat16 and multiplies_bfloat16(q.device)


class _ProductAttention(torch.autograd.Function):
    """Attention by matrix products over blocks of scores, which have the dtype of q.

    forward(q [B, H, S, F], k and v [B, H, K, F], bias, is_stored) -> [B, H, S, F], contiguous. `bias` is broadcastable to
    [B, H, S, K] and is added to the scores. is_stored: whether probabilities are kept for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, is_stored: bool) -> Tensor:
        is_stored = is_stored and any(ctx.needs_input_grad)
        if bias is not None:
            bias = (
                bias.expand(*q.shape[:2], -1, -1).flatten(0, 1) if bias.dim() > 2 else bias.expand(len(q) * q.shape[1], -1, -1)
            )
        dense = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        scaled = torch.mul(q, q.shape[-1] ** -0.5, out=dense).flatten(0, 1)
        k, v = (part.contiguous().flatten(0, 1) for part in (k, v))
        attended, kept = torch.empty_like(scaled), list[Tensor]()
        for block in _blocks(scaled, k):
            probabilities = _probabilities(scaled, k, bias, block)
            torch.bmm(probabilities, v[block], out=attended[block])
            kept += [probabilities] if is_stored else []
        ctx.save_for_backward(scaled, k, v, bias, *kept)
        return attended.view(q.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        scaled, k, v, bias, *kept = ctx.saved_tensors
        given = gradient.contiguous().flatten(0, 1)
        to_q, to_k, to_v = (torch.empty_like(part) for part in (scaled, k, v))
        for number, block in enumerate(_blocks(scaled, k)):
            probabilities = kept[number] if kept else _probabilities(scaled, k, bias, block)
            torch.bmm(probabilities.transpose(1, 2), given[block], out=to_v[block])
            to_probabilities = torch.bmm(given[block], v[block].transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_probabilities, probabilities, -1, probabilities.dtype)
            torch.bmm(to_scores, k[block], out=to_q[block])
            torch.bmm(to_scores.transpose(1, 2), scaled[block], out=to_k[block])
        to_q *= scaled.shape[-1] ** -0.5
        shape = gradient.shape[:2]
        return (*(part.view(*shape, *part.shape[1:]) for part in (to_q, to_k, to_v)), None, None)


def _blocks(q: Tensor, k: Tensor) -> Iterator[slice]:
    """Divide the B*H products into blocks of about BLOCK_SCORES scores."""
    step = max(1, BLOCK_SCORES // (q.shape[1] * k.shape[1]))
    return (slice(first, first + step) for first in range(0, len(q), step))


def _probabilities(q: Tensor, k: Tensor, bias: Tensor | None, block: slice) -> Tensor:
    """softmax(q k^T + bias) of scaled queries in one block: [B*H, S, F], [B*H, K, F] -> [N, S, K]."""
    scores = torch.bmm(q[block], k[block].transpose(1, 2))
    if bias is not None:
        scores += bias[block]
    return torch._softmax(scores, -1, False)
