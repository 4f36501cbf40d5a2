"""Transformer parts shared by encoders and predictors: rotary positions, attention, blocks, initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


def check_heads(width: int, heads: int, axes: int) -> None:
    """Raise ValueError unless so many heads share the features evenly, each wide enough for so many rotary axes."""
    if width % heads:
        raise ValueError(f"width {width} is not divisible by heads {heads}")
    if width // heads < 2 * axes:
        raise ValueError(f"heads of {width // heads} features are too narrow for {axes} rotary axes; {2 * axes} at least")


def grid_positions(steps: int, side: int, device: torch.device) -> Tensor:
    """Step, row and column of every token of a clip, time first: [steps * side * side, 3] int64."""
    axes = (torch.arange(count, device=device) for count in (steps, side, side))
    return torch.cartesian_prod(*axes)


def rotary_angles(positions: Tensor, head_dim: int, *, tiled: bool = False, base: float = 10_000.0) -> Tensor:
    """Angles by which features turn (Su et al. 2021, eq. 15), the features shared evenly among the axes.

    positions [..., S, A] (A axes, e.g. time, row, column) -> [..., S, head_dim]. Features left over are not turned. The two
    neighbours that `rotate` turns together have one angle. `tiled` lays frequencies out as f1..fn, f1..fn instead, so that
    neighbours have two: no rotation, but what the released V-JEPA 2 weights were trained with.
    """
    axes = positions.shape[-1]
    pairs = head_dim // 2 // axes
    if pairs == 0:
        raise ValueError(f"a head of {head_dim} features is too narrow for {axes} rotary axes; give it at least {2 * axes}")
    frequency = base ** (-torch.arange(pairs, device=positions.device, dtype=torch.float32) / pairs)
    turns = positions.float()[..., None] * frequency
    angles = repeat(turns, "... a p -> ... (a two p)" if tiled else "... a p -> ... (a p two)", two=2)
    return F.pad(angles, (0, head_dim - angles.shape[-1]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn neighbouring pairs of features: x [B, H, S, F], angles [S, F] or [B, 1, S, F] -> the same shape as x."""
    even, odd = x[..., 0::2], x[..., 1::2]
    across = torch.stack((-odd, even), dim=-1).flatten(-2)
    return x * angles.cos().to(x.dtype) + across * angles.sin().to(x.dtype)


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

    def forward(
        self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None, segments: Sequence[int] = ()
    ) -> Tensor:
        """`angles` [S, F] or [B, 1, S, F] for rotary positions; `mask` [S, S] bool, True where row may look at column.

        `segments`: lengths of sequences that are packed one after another along S and do not see one another.
        """
        q, k, v = rearrange(self.qkv(x), "b s (three h f) -> three b h s f", three=3, h=self.heads)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if segments:
            packed = zip(*(part.split(list(segments), dim=2) for part in (q, k, v)), strict=True)
            attended = torch.cat([F.scaled_dot_product_attention(*alone) for alone in packed], dim=2)
        else:
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(rearrange(attended, "b h s f -> b s (h f)"))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, norm_eps: float = 1e-5) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_attention = nn.LayerNorm(width, norm_eps)
        self.attention = Attention(width, heads)
        self.norm_mlp = nn.LayerNorm(width, norm_eps)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def scale_residuals(self, factor: float) -> None:
        """Multiply the weights that write into the residual stream."""
        for name in ("attention.out.weight", "mlp.2.weight"):
            self.get_parameter(name).data.mul_(factor)

    def forward(
        self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None, segments: Sequence[int] = ()
    ) -> Tensor:
        x = x + self.attention(self.norm_attention(x), angles, mask, segments)
        return x + self.mlp(self.norm_mlp(x))


class Blocks(nn.Module):
    """A stack of blocks; with `checkpointing`, activations are computed again in the backward pass instead of kept."""

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        mlp_ratio: float = 4.0,
        checkpointing: bool = False,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        blocks = [Block(width, heads, mlp_ratio, norm_eps).apply(init_linear) for _ in range(depth)]
        for index, block in enumerate(blocks, start=1):
            # residual branches start smaller the deeper they are, so that the sum keeps its scale (as V-JEPA does)
            block.scale_residuals(1 / math.sqrt(2.0 * index))
        self.layers = nn.ModuleList(blocks)
        self.checkpointing = checkpointing

    def forward(
        self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None, segments: Sequence[int] = ()
    ) -> Tensor:
        for layer in self.layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = torch.utils.checkpoint.checkpoint(layer, x, angles, mask, segments, use_reentrant=False)
            else:
                x = layer(x, angles, mask, segments)
        return x


@contextmanager
def outputs_of(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """What each of these modules gave out at its last call in this context, in the order of those calls."""
    found: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hook = module.register_forward_hook(lambda _module, _given, out, name=name: found.update({name: out}))
            hooks.callback(hook.remove)
        yield found


def init_linear(module: nn.Module) -> None:
    """Truncated normal with std 0.02, zero bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
