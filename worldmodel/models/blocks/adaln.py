"""Block-causal blocks that a condition of each time step modulates: AdaLN-zero (Peebles and Xie 2023, DiT; LeWM).

The condition scales and shifts the normalised input of attention and MLP, and gates what each of them adds. The weights that
map it to these numbers start at zero: new blocks add nothing, so what they return does not depend on the condition.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from worldmodel.models.blocks.block_causal import BlockMemory, CausalBlock, CausalBlocks, select_steps


class ModulatedBlock(CausalBlock):
    """Pre-norm block with block-causal attention; the condition gives scale, shift and gate of both branches."""

    def __init__(self, width: int, heads: int, mlp_ratio: float = 4.0, norm_eps: float = 1e-5) -> None:
        super().__init__(width, heads, mlp_ratio, norm_eps)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        rotary: Tensor,
        tokens: int,
        past: BlockMemory | None = None,
        rows: Sequence[int] | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, BlockMemory]:
        """condition: of each step, [B, steps, W]."""
        assert condition is not None
        x, states = self.recur(x, tokens, past)
        modulation = self.modulation(condition)
        scale, shift, *_ = modulation.chunk(6, dim=-1)
        attended, memory = self.attention(modulate(self.norm_attention(x), scale, shift, tokens), rotary, tokens, past, rows)
        if rows is not None:
            x, modulation = select_steps(x, tokens, rows), modulation[:, list(rows)]
        _, _, gate, mlp_scale, mlp_shift, mlp_gate = modulation.chunk(6, dim=-1)
        x = x + _scaled(attended, gate, tokens)
        x = x + _scaled(self.mlp(modulate(self.norm_mlp(x), mlp_scale, mlp_shift, tokens)), mlp_gate, tokens)
        return x, (*memory, *states)


class ModulatedBlocks(CausalBlocks):
    """A stack of modulated blocks. Who builds it sets the weights of each `modulation` to zero (`zero_linear`)."""

    block_type = ModulatedBlock


def modulate(x: Tensor, scale: Tensor, shift: Tensor, tokens: int) -> Tensor:
    """x * (1 + scale) + shift, for x [B, steps * tokens, W]; scale and shift belong to a step, [B, steps, W]."""
    return (x.unflatten(1, (-1, tokens)) * (1 + scale[:, :, None]) + shift[:, :, None]).flatten(1, 2)


def zero_linear(layer: nn.Linear) -> None:
    """Set weights and bias to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _scaled(x: Tensor, factor: Tensor, tokens: int) -> Tensor:
    return (x.unflatten(1, (-1, tokens)) * factor[:, :, None]).flatten(1, 2)
