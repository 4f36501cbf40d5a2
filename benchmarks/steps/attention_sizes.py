"""Attention by products of matrices against torch's fused kernel, forward and backward, at several sizes."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F

from benchmarks.measure import Comparison, paired
from worldmodel.models.blocks import attention

SIZES = ((384, 4, 16, 16), (384, 4, 64, 16), (16, 4, 192, 32), (8, 3, 128, 64), (4, 3, 512, 64), (1, 6, 1568, 64))
"""B, H, S and F: the first three occur in the demo, the others in V-JEPA steps"""
BLOCKS = (18, 20, 22)  # powers of 2
SECONDS = 0.05  # about how long each contender runs per round


def measure_attention(size: tuple[int, int, int, int], dtype: torch.dtype, rounds: int) -> Comparison:
    """Compare torch's kernel with products in blocks of several sizes, and products that are not kept."""
    batch, heads, count, features = size
    source = torch.Generator().manual_seed(0)
    q, k, v, gradient = (
        torch.randn(batch, count, heads, features, generator=source).to(dtype).transpose(1, 2) for _ in range(4)
    )
    inputs = [part.requires_grad_() for part in (q, k, v)]
    repeats = max(1, int(SECONDS / (16 * batch * heads * count**2 * features / 5e10)))

    def run(attend: Callable[..., torch.Tensor], block: int, stored: int) -> None:
        with (
            mock.patch.object(attention, "BLOCK_SCORES", 1 << block),
            mock.patch.object(attention, "STORED_SCORES", 1 << stored),
            mock.patch.object(attention, "prefers_products", return_value=True),
        ):
            for _ in range(repeats):
                attend(*inputs).backward(gradient)

    contenders = {"torch": lambda: run(F.scaled_dot_product_attention, 20, 22)}
    for block in BLOCKS:
        contenders[f"blocks of 2^{block}"] = lambda block=block: run(attention.attend, block, 40)  # type: ignore[misc]
    contenders["not kept"] = lambda: run(attention.attend, 20, 0)
    return paired(contenders, rounds)
