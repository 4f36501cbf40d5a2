"""Transformer layers in the layout of published checkpoints: random weights, and a plain implementation, token by token."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Position = tuple[float, float, float]  # time, row, column


def layer(out: int, into: int, name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": torch.randn(out, into) / math.sqrt(into), f"{name}.bias": 0.1 * torch.randn(out)}


def norm(width: int, name: str) -> dict[str, Tensor]:
    return {f"{name}.weight": 1 + 0.1 * torch.randn(width), f"{name}.bias": 0.1 * torch.randn(width)}


def block(width: int, name: str) -> dict[str, Tensor]:
    return {
        **norm(width, f"{name}.norm1"),
        **layer(3 * width, width, f"{name}.attn.qkv"),
        **layer(width, width, f"{name}.attn.proj"),
        **norm(width, f"{name}.norm2"),
        **layer(4 * width, width, f"{name}.mlp.fc1"),
        **layer(width, 4 * width, f"{name}.mlp.fc2"),
    }


def turned(vector: Tensor, position: Position, tiled: bool) -> Tensor:
    """Rotate the thirds of a head by time, row and column. Frequencies are tiled (V-JEPA 2), or shared by neighbours."""
    pairs = len(vector) // 6
    out = vector.clone()
    for axis, place in enumerate(position):
        first = axis * 2 * pairs
        for i in range(2 * pairs):
            angle = place * 10_000.0 ** (-(i % pairs if tiled else i // 2) / pairs)
            other = -vector[first + i + 1] if i % 2 == 0 else vector[first + i - 1]
            out[first + i] = vector[first + i] * math.cos(angle) + other * math.sin(angle)
    return out


def plain_block(
    w: dict[str, Tensor],
    name: str,
    x: Tensor,
    heads: int,
    positions: Sequence[Position],
    tiled: bool,
    sees: Callable[[Position, Position], bool] = lambda a, b: True,
) -> Tensor:
    """A pre-norm block of one clip: [S, W] -> [S, W]. sees: whether a token at one position attends to another."""

    def linear(x: Tensor, part: str) -> Tensor:
        return F.linear(x, w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"])

    def normed(x: Tensor, part: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.{part}.weight"], w[f"{name}.{part}.bias"], 1e-6)

    head = x.shape[-1] // heads
    q, k, v = linear(normed(x, "norm1"), "attn.qkv").split(x.shape[-1], dim=-1)
    rows = []
    for a, place in enumerate(positions):
        seen = [b for b, other in enumerate(positions) if sees(place, other)]
        parts = []
        for h in range(heads):
            span = slice(h * head, (h + 1) * head)
            query = turned(q[a, span], place, tiled)
            keys = torch.stack([turned(k[b, span], positions[b], tiled) for b in seen])
            parts.append((keys @ query / math.sqrt(head)).softmax(0) @ v[seen][:, span])
        rows.append(torch.cat(parts))
    x = x + linear(torch.stack(rows), "attn.proj")
    return x + linear(F.gelu(linear(normed(x, "norm2"), "mlp.fc1")), "mlp.fc2")
