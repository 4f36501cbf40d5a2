"""Transformer layers of encoders and predictors: rotary positions, attention, blocks, initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn


def check_heads(width: int, heads: int, axes: int) -> None:
    """Raise ValueError unless the heads divide the width and each of them is wide enough for the rotary axes."""
    if width % heads:
        raise ValueError(f"width {width} is not divisible by heads {heads}")
    if width // heads < 2 * axes:
        raise ValueError(
            f"heads of {width // heads} features are too narrow for {axes} rotary axes; they need at least {2 * axes}"
        )


def grid_positions(steps: int, side: int, device: torch.device) -> Tensor:
    """Time step, row and column of every token of a clip, ordered by time: [steps * side * side, 3] int64."""
    axes = (torch.arange(count, device=device) for count in (steps, side, side))
    return torch.cartesian_prod(*axes)


def rotary_angles(positions: Tensor, head_dim: int, *, tiled: bool = False, base: float = 10_000.0) -> Tensor:
    """Angles of rotary position embeddings (Su et al. 2021, eq. 15). The features are divided evenly among the axes.

    positions [..., S, A] (A axes, e.g. time, row, column) -> [..., S, head_dim]. Remaining features are not rotated. The two
    neighbouring features that `rotate` rotates together have the same angle. With `tiled`, frequencies are laid out as
    f1..fn, f1..fn, so that neighbours have different angles: not a rotation, but the released V-JEPA 2 weights need it.
    """
    axes = positions.shape[-1]
    pairs = head_dim // 2 // axes
    if pairs == 0:
        raise ValueError(f"a head of {head_dim} features is too narrow for {axes} rotary axes; give it at least {2 * axes}")
    frequency = base ** (-torch.arange(pairs, device=positions.device, dtype=torch.float32) / pairs)
    angles = positions.float()[..., None] * frequency
    angles = repeat(angles, "... a p -> ... (a two p)" if tiled else "... a p -> ... (a p two)", two=2)
    return F.pad(angles, (0, head_dim - angles.shape[-1]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotate neighbouring pairs of features: x [B, H, S, F], angles [S, F] or [B, 1, S, F] -> the shape of x."""
    even, odd = x[..., 0::2], x[..., 1::2]
    orthogonal = torch.stack((-odd, even), dim=-1).flatten(-2)
    return x * angles.cos().to(x.dtype) + orthogonal * angles.sin().to(x.dtype)


def block_causal_mask(steps: int, tokens: int, device: torch.device) -> Tensor:
    """Attention mask bool [steps*tokens, steps*tokens]: a token attends to all tokens of its own and of earlier steps."""
    step = torch.arange(steps, device=device).repeat_interleave(tokens)
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
        """`angles` [S, F] or [B, 1, S, F] of rotary positions; `mask` [S, S] bool, True where the row attends to the column.

        `segments`: lengths of sequences that are packed one after another along S and do not attend to one another.
        """
        q, k, v = rearrange(self.qkv(x), "b s (three h f) -> three b h s f", three=3, h=self.heads)
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if segments:
            packed = zip(*(part.split(list(segments), dim=2) for part in (q, k, v)), strict=True)
            attended = torch.cat([F.scaled_dot_product_attention(*segment) for segment in packed], dim=2)
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
        """Multiply the output weights of both residual branches by `factor`."""
        for name in ("attention.out.weight", "mlp.2.weight"):
            self.get_parameter(name).data.mul_(factor)

    def forward(
        self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None, segments: Sequence[int] = ()
    ) -> Tensor:
        x = x + self.attention(self.norm_attention(x), angles, mask, segments)
        return x + self.mlp(self.norm_mlp(x))


class Blocks(nn.Module):
    """A stack of blocks. With `checkpointing`, activations are recomputed in the backward pass instead of stored."""

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
            # Deeper residual branches start with smaller weights, so that the sum keeps its scale (as in V-JEPA).
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
def capture_outputs(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Record the output of each module at its last call within this context, in the order of the calls."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, module in modules.items():
            hook = module.register_forward_hook(lambda _module, _given, out, name=name: outputs.update({name: out}))
            hooks.callback(hook.remove)
        yield outputs


def init_linear(module: nn.Module) -> None:
    """Initialise a linear layer: truncated normal with std 0.02, zero bias. Other modules are left unchanged."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
