"""Transformer parts shared by encoders and predictors: rotary positions, attention, blocks, initialisation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


def rotary_angles(positions: Tensor, head_dim: int, base: float = 10_000.0) -> Tensor:
    """Angles by which pairs of features turn (Su et al. 2021, eq. 15), the pairs shared evenly among the axes.

    positions [S, A] (A axes, e.g. time, row, column) -> [S, head_dim / 2]. Pairs left over are not turned.
    """
    axes = positions.shape[1]
    pairs = head_dim // 2 // axes
    if pairs == 0:
        raise ValueError(f"a head of {head_dim} features is too narrow for {axes} rotary axes; give it at least {2 * axes}")
    frequency = base ** (-torch.arange(pairs, device=positions.device, dtype=torch.float32) / pairs)
    angles = rearrange(positions.float()[:, :, None] * frequency, "s a p -> s (a p)")
    return F.pad(angles, (0, head_dim // 2 - angles.shape[1]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs of features: x [B, H, S, F], angles [S, F/2] -> the same shape."""
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def block_causal_mask(steps: int, places: int, device: torch.device) -> Tensor:
    """Who may look at whom, [steps*places, steps*places] bool: all places of the same and of earlier steps."""
    step = torch.arange(steps, device=device).repeat_interleave(places)
    return step[:, None] >= step[None, :]


class Attention(nn.Module):
    """Multi-head self-attention over [B, S, W]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not divisible by {heads} heads")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """`angles` [S, F/2] for rotary positions; `mask` [S, S] bool, True where row may look at column."""
        q, k, v = rearrange(self.qkv(x), "b s (three h f) -> three b h s f", three=3, h=self.heads)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(attended, "b h s f -> b s (h f)"))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def scale_residuals(self, factor: float) -> None:
        """Multiply the weights that write into the residual stream."""
        for name in ("attention.out.weight", "mlp.2.weight"):
            self.get_parameter(name).data.mul_(factor)

    def forward(self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        x = x + self.attention(self.norm_attention(x), angles, mask)
        return x + self.mlp(self.norm_mlp(x))


class Blocks(nn.Module):
    """A stack of blocks; with `checkpointing`, activations are computed again in the backward pass instead of kept."""

    def __init__(self, depth: int, width: int, heads: int, mlp_ratio: float = 4.0, checkpointing: bool = False) -> None:
        super().__init__()
        blocks = [Block(width, heads, mlp_ratio).apply(init_linear) for _ in range(depth)]
        for index, block in enumerate(blocks, start=1):
            # residual branches start smaller the deeper they are, so that the sum keeps its scale (as V-JEPA does)
            block.scale_residuals(1 / math.sqrt(2.0 * index))
        self.layers = nn.ModuleList(blocks)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = torch.utils.checkpoint.checkpoint(layer, x, angles, mask, use_reentrant=False)
            else:
                x = layer(x, angles, mask)
        return x


def init_linear(module: nn.Module) -> None:
    """Truncated normal with std 0.02, zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
