"""Transformer layers of encoders and predictors: attention, blocks, initialisation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.models.blocks.attention import attend_segments
from worldmodel.models.blocks.heads import join_heads, split_heads


@dataclass(frozen=True)
class Segment:
    """One of several sequences that are packed one after another and do not attend to one another."""

    length: int
    outputs: int  # the last so many tokens are outputs; the last block computes no others


def check_heads(width: int, heads: int, axes: int) -> None:
    """Raise ValueError unless the heads divide the width and each of them is wide enough for the rotary axes."""
    if width % heads:
        raise ValueError(f"width {width} is not divisible by heads {heads}")
    if width // heads < 2 * axes:
        raise ValueError(
            f"heads of {width // heads} features are too narrow for {axes} rotary axes; they need at least {2 * axes}"
        )


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
        self, x: Tensor, rotary: Tensor | None = None, segments: Sequence[Segment] = (), outputs_only: bool = False
    ) -> Tensor:
        """`rotary`: table of rotary positions [S, 2, F] or [B, 1, S, 2, F], see rotary.rotary_table.

        `segments`: sequences that are packed along S. With `outputs_only`, only their output tokens are queries, and the
        result has no others.
        """
        lengths = [segment.length for segment in segments]
        if outputs_only:
            width, outputs = x.shape[-1], [segment.outputs for segment in segments]
            weights, biases = self.qkv.weight.split((width, 2 * width)), self.qkv.bias.split((width, 2 * width))
            own_rotary = None if rotary is None else select_outputs(rotary, segments, -3)
            queries = F.linear(select_outputs(x, segments), weights[0], biases[0])
            of_queries = split_heads(queries, 1, self.heads, own_rotary, outputs)
            of_keys = split_heads(F.linear(x, weights[1], biases[1]), 2, self.heads, rotary, lengths)
            parts = [(*q, *kv) for q, kv in zip(of_queries, of_keys, strict=True)]
        else:
            parts = split_heads(self.qkv(x), 3, self.heads, rotary, lengths)
        return self.out(join_heads(attend_segments(parts)))


class Block(nn.Module):
    """Pre-norm transformer block."""

    attention_type = Attention

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, norm_eps: float = 1e-5) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm_attention = nn.LayerNorm(width, norm_eps)
        self.attention = self.attention_type(width, heads)
        self.norm_mlp = nn.LayerNorm(width, norm_eps)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def scale_residuals(self, factor: float) -> None:
        """Multiply the output weights of both residual branches by `factor`."""
        for name in ("attention.out.weight", "mlp.2.weight"):
            self.get_parameter(name).data.mul_(factor)

    def forward(
        self, x: Tensor, rotary: Tensor | None = None, segments: Sequence[Segment] = (), outputs_only: bool = False
    ) -> Tensor:
        attended = self.attention(self.norm_attention(x), rotary, segments, outputs_only)
        x = attended + (select_outputs(x, segments) if outputs_only else x)
        return x + self.mlp(self.norm_mlp(x))


class Blocks(nn.Module):
    """A stack of blocks. With `checkpointing`, activations are recomputed in the backward pass instead of stored."""

    block_type = Block

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
        blocks = [self.block_type(width, heads, mlp_ratio, norm_eps).apply(init_linear) for _ in range(depth)]
        for index, block in enumerate(blocks, start=1):
            # Deeper residual branches start with smaller weights, so that the sum keeps its scale (as in V-JEPA).
            block.scale_residuals(1 / math.sqrt(2.0 * index))
        self.layers = nn.ModuleList(blocks)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, rotary: Tensor | None = None, segments: Sequence[Segment] = ()) -> Tensor:
        """[B, S, W] -> [B, S, W], or with segments [B, sum of their outputs, W]."""
        rotary = None if rotary is None else rotary.to(x.dtype)
        trimmed = any(segment.outputs < segment.length for segment in segments)
        for layer in self.layers:
            outputs_only = trimmed and layer is self.layers[-1]
            if self.checkpointing and torch.is_grad_enabled():
                x = torch.utils.checkpoint.checkpoint(layer, x, rotary, segments, outputs_only, use_reentrant=False)
            else:
                x = layer(x, rotary, segments, outputs_only)
        return x


def select_outputs(x: Tensor, segments: Sequence[Segment], dim: int = 1) -> Tensor:
    """Select the output tokens of packed segments along `dim`."""
    parts = x.split([length for s in segments for length in (s.length - s.outputs, s.outputs)], dim=dim)
    return torch.cat(parts[1::2], dim=dim)


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
