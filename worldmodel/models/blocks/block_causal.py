"""Blocks with block-causal attention: a token attends to all tokens of its own and of earlier time steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.models.blocks.attention import attend
from worldmodel.models.blocks.heads import join_heads, split_heads
from worldmodel.models.blocks.layers import Attention, Block, Blocks, block_causal_mask
from worldmodel.models.blocks.recurrence import GatedRecurrence

BlockMemory = tuple[Tensor, ...]
"""What one block keeps of earlier steps: rotated keys, and values, [B, H, steps * tokens, F] each; then the states of its
recurrence [B, 1, steps * tokens, W], if it has one."""

MASKED_BELOW_TOKENS = 64  # tokens per step below which one masked product is faster than one product per step, as measured


def attend_to_past(q: Tensor, k: Tensor, v: Tensor, tokens: int, steps: Sequence[int]) -> Tensor:
    """Attend to the tokens of all steps up to one's own: q [B, H, len(steps) * tokens, F], k and v [B, H, T * tokens, F].

    `steps`: the step of T of each `tokens` queries. Returns the shape of q. With many tokens per step, each step attends to
    its own keys without a mask, so that no product is computed and thrown away.
    """
    if len(steps) == 1 or tokens >= MASKED_BELOW_TOKENS:
        queries = q.split(tokens, 2)
        ends = [(step + 1) * tokens for step in steps]
        attended = [attend(part, k[:, :, :end], v[:, :, :end]) for part, end in zip(queries, ends, strict=True)]
        return attended[0] if len(steps) == 1 else torch.cat(attended, 2)
    last = max(steps) + 1
    mask = block_causal_mask(last, tokens, q.device)
    if list(steps) != list(range(last)):
        mask = mask.view(last, tokens, -1)[list(steps)].flatten(0, 1)
    return attend(q, k[:, :, : last * tokens], v[:, :, : last * tokens], mask)


class CausalAttention(Attention):
    """Multi-head block-causal self-attention over [B, steps * tokens, W]."""

    def forward(  # type: ignore[override]
        self, x: Tensor, rotary: Tensor, tokens: int, past: BlockMemory | None = None, rows: Sequence[int] | None = None
    ) -> tuple[Tensor, BlockMemory]:
        """Return outputs, and keys and values of the past and of these steps.

        `rotary` [steps * tokens, 2, F]: table of rotary positions. `past`: begins with the keys and values of earlier steps.
        `rows`: steps of x whose outputs are needed; None = all.
        """
        steps = x.shape[1] // tokens
        if rows is None:
            ((q, k, v),) = split_heads(self.qkv(x), 3, self.heads, rotary)
        else:
            width = x.shape[-1]
            weight, bias = self.qkv.weight, self.qkv.bias
            own_rotary = select_steps(rotary[None], tokens, rows)[0]
            ((k, v),) = split_heads(F.linear(x, weight[width:], bias[width:]), 2, self.heads, rotary)
            ((q,),) = split_heads(
                F.linear(select_steps(x, tokens, rows), weight[:width], bias[:width]), 1, self.heads, own_rotary
            )
        before = 0
        if past is not None:
            before = past[0].shape[2] // tokens
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        attended = attend_to_past(q, k, v, tokens, [before + row for row in (range(steps) if rows is None else rows)])
        return self.out(join_heads([attended])), (k, v)


class CausalBlock(Block):
    """Pre-norm transformer block with block-causal attention, after a recurrence if it has one."""

    attention_type = CausalAttention

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, norm_eps: float = 1e-5) -> None:
        super().__init__(width, heads, mlp_ratio, norm_eps)
        self.recurrence: GatedRecurrence | None = None

    def recur(self, x: Tensor, tokens: int, past: BlockMemory | None) -> tuple[Tensor, BlockMemory]:
        """Pass x through the recurrence: outputs, and the states that the memory of this block ends with; x without one."""
        if self.recurrence is None:
            return x, ()
        x, states = self.recurrence(x, tokens, None if past is None else past[-1])
        return x, (states,)

    def forward(  # type: ignore[override]
        self, x: Tensor, rotary: Tensor, tokens: int, past: BlockMemory | None = None, rows: Sequence[int] | None = None
    ) -> tuple[Tensor, BlockMemory]:
        x, states = self.recur(x, tokens, past)
        attended, memory = self.attention(self.norm_attention(x), rotary, tokens, past, rows)
        x = attended + (x if rows is None else select_steps(x, tokens, rows))
        return x + self.mlp(self.norm_mlp(x)), (*memory, *states)


class CausalBlocks(Blocks):
    """A stack of block-causal blocks that can continue from what they keep of earlier steps."""

    block_type = CausalBlock

    def add_recurrences(self, count: int) -> None:
        """Give the first blocks a recurrence each."""
        for layer in list(self.layers)[:count]:
            assert isinstance(layer, CausalBlock)
            layer.recurrence = GatedRecurrence(layer.norm_mlp.normalized_shape[0])

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        rotary: Tensor,
        tokens: int,
        past: Sequence[BlockMemory] = (),
        rows: Sequence[int] | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, list[BlockMemory]]:
        """[B, steps * tokens, W] -> outputs in that shape, and what each block keeps of the past and of these steps.

        `past`: what was returned for the steps before x. `rows`: the steps of x that are returned; the
        last block computes no others. None = all. `condition` [B, steps, W]: of modulated blocks.
        """
        given = () if condition is None else (condition,)
        memory: list[BlockMemory] = []
        if not self.layers and rows is not None:
            x = select_steps(x, tokens, rows)
        for index, layer in enumerate(self.layers):
            own_past = past[index] if past else None
            own_rows = rows if layer is self.layers[-1] else None
            arguments = (x, rotary, tokens, own_past, own_rows, *given)
            if self.checkpointing and torch.is_grad_enabled():
                x, kept = torch.utils.checkpoint.checkpoint(layer, *arguments, use_reentrant=False)
            else:
                x, kept = layer(*arguments)
            memory.append(kept)
        return x, memory


def select_steps(x: Tensor, tokens: int, steps: Sequence[int]) -> Tensor:
    """Select steps from [B, T * tokens, W] -> [B, len(steps) * tokens, W]."""
    return x.unflatten(1, (-1, tokens))[:, list(steps)].flatten(1, 2)
