"""Gated recurrence over time: each token keeps a state of what was seen at its place."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from worldmodel.models.blocks.layers import init_linear

LIFETIMES = (1.2, 12.0)  # initial lifetimes of the features of a state, in time steps, shortest and longest


class GatedRecurrence(nn.Module):
    """A residual layer with a gated recurrence over the steps of each token (minGRU, Feng et al. 2024, arXiv 2410.01201).

    With gates z_t = sigmoid(A y_t) and values v_t = B y_t of the normalised input y_t, the state is
    h_t = (1 - z_t) h_(t-1) + z_t v_t, from h_0 = 0, and C h_t is added to the input. A gate that closes where a token shows
    nothing new, such as an occluder, keeps what was there before. Initial gates let features fade after lifetimes that are
    spread evenly on a logarithmic scale (chrono initialisation, Tallec and Ollivier 2018). States have at least
    float32, since rounding errors would add up.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gate, self.value, self.out = (nn.Linear(width, width) for _ in range(3))
        self.apply(init_linear)
        nn.init.normal_(self.value.weight, std=width**-0.5)
        shortest, longest = LIFETIMES
        lifetimes = shortest * (longest / shortest) ** torch.rand(width)
        self.gate.bias.data.copy_(-torch.log(lifetimes - 1))  # a gate of 1 / lifetime

    def forward(self, x: Tensor, tokens: int, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, steps * tokens, W] -> outputs in that shape, and the states of all steps [B, 1, (past + steps) * tokens, W].

        past: states of the steps before x, as returned for them.
        """
        y = self.norm(x)
        precise = torch.promote_types(y.dtype, torch.float32)
        gates, values = (rearrange(layer(y).to(precise), "b (t m) w -> t b m w", m=tokens) for layer in (self.gate, self.value))
        gates = gates.sigmoid()
        state = torch.zeros_like(values[0]) if past is None else past[:, 0, -tokens:]
        states = []
        for gate, value in zip(gates, values, strict=True):
            state = torch.lerp(state, value, gate)
            states.append(state)
        found = torch.cat(states, dim=1)
        memory = found[:, None] if past is None else torch.cat((past, found[:, None]), dim=2)
        return x + self.out(found.to(y.dtype)), memory
