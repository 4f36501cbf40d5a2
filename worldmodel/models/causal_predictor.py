"""Causal predictor: forecasts latents at several horizons at once, from the latents up to a time step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.block_causal import CausalBlocks, KeysAndValues
from worldmodel.models.blocks.layers import init_linear
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table
from worldmodel.models.world_model import SharedContext


class PredictorConfig(Config):
    """A block-causal space-time transformer with rotary positions."""

    width: PositiveInt = 128
    """features of a token inside the transformer"""
    depth: PositiveInt = 3
    """transformer blocks"""
    heads: PositiveInt = 4
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""
    horizons: PositiveInt = 10
    """K: latent steps ahead that are forecast directly, 1..K"""
    patch_merge: PositiveInt = 1
    """each predictor token merges patch_merge x patch_merge neighbouring spatial tokens"""

    @model_validator(mode="after")
    def _check(self) -> PredictorConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class CausalPredictor(nn.Module):
    """[B, T, N, D] -> [B, T, K, N, D]: row t, horizon k forecasts step t+k from steps 0..t alone.

    A forecast is a change added to the last latent. Initial weights make it zero, so an untrained predictor copies.
    """

    extra_forward_methods = ("forecast_window",)  # methods besides `forward` that FSDP2 must gather the weights for

    def __init__(self, config: PredictorConfig, latent_dim: int, latent_grid: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.side = latent_grid // config.patch_merge  # merged tokens per side of the grid
        token_dim = latent_dim * config.patch_merge**2
        self.embed = nn.Linear(token_dim, config.width)
        self.blocks = CausalBlocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing)
        self.norm = nn.LayerNorm(config.width)
        self.horizon = nn.Parameter(0.3 * torch.randn(config.horizons, config.width))
        change = nn.Linear(2 * config.width, token_dim)
        self.head = nn.Sequential(nn.Linear(config.width, 2 * config.width), nn.GELU(), change)
        self.embed.apply(init_linear)
        nn.init.zeros_(change.weight)
        nn.init.zeros_(change.bias)

    def forward(self, latents: Tensor) -> Tensor:
        return self._forecast(latents, self._hidden(latents)[0], self.config.horizons)

    def from_last_step(self, latents: Tensor, horizons: int) -> Tensor:
        """Forecast from the last step only: [B, T, N, D] -> [B, horizons, N, D]."""
        return self.from_steps(latents, (latents.shape[1],), horizons)[:, 0]

    def from_steps(
        self, latents: Tensor, context_steps: Sequence[int], horizons: int, shared: SharedContext | None = None
    ) -> Tensor:
        """Forecast from the first s steps, for all S numbers s in `context_steps`: [B, T, N, D] -> [B, S, horizons, N, D].

        `shared`: the steps before `latents`; see FrameWise.forecast_from_latents.
        """
        if shared is None:
            return self._from_rows(latents[:, : max(context_steps)], [steps - 1 for steps in context_steps], horizons)[0]
        first = shared.latents.shape[1]
        early, late = ([s for s in context_steps if (s <= first) == is_early] for is_early in (True, False))
        forecasts, memory = self._from_rows(shared.latents, [steps - 1 for steps in early or [first]], horizons)
        found = [forecasts[shared.row]] if early else []
        if late:
            past = [(keys[shared.row], values[shared.row]) for keys, values in memory]
            found.append(self._from_rows(latents, [steps - 1 - first for steps in late], horizons, past, first)[0])
        return torch.cat(found, dim=1)

    def _from_rows(
        self,
        latents: Tensor,
        rows: Sequence[int],
        horizons: int,
        past: Sequence[KeysAndValues] = (),
        first: int = 0,
    ) -> tuple[Tensor, list[KeysAndValues]]:
        """Forecast from the steps `rows` of latents; `past` and `first` as in `_hidden`. [B, T, N, D] -> [B, S, K, N, D]."""
        hidden, memory = self._hidden(latents, past, first, rows)
        return self._forecast(latents[:, rows], hidden, horizons), memory

    def forecast_window(self, latents: Tensor, context: int, rollout_steps: int) -> tuple[list[Tensor], list[Tensor]]:
        """Forecast all that has a target within a window of latents [B, T, N, D], directly and by a rollout.

        Returns the direct forecasts by horizon, [B, T - k, N, D] for k = 1..K, made from steps 0..T-1-k; and `rollout_steps`
        forecasts [B, 1, N, D] after the first `context` steps, in which predictions are fed back. context + rollout_steps
        must not exceed T. The rollout starts from the keys and values of the direct pass, and its first step is the direct
        forecast of horizon 1.
        """
        steps = latents.shape[1]
        hidden, memory = self._hidden(latents[:, :-1])  # nothing is forecast from the last step
        changes = self._changes(hidden, [steps - k for k in range(1, self.config.horizons + 1)])
        direct = [latents[:, : change.shape[1]] + change for change in changes]
        if not rollout_steps:
            return direct, []
        end = context * self.side**2
        past = [(keys[:, :, :end], values[:, :, :end]) for keys, values in memory]
        rollout = [direct[0][:, context - 1 : context]]
        for step in range(context, context + rollout_steps - 1):
            forecast, past = self._continue(rollout[-1].to(latents.dtype), past, step)
            rollout.append(forecast)
        return direct, rollout

    def roll_out(self, latents: Tensor, steps: int, longest: int) -> Tensor:
        """Feed predictions back one step at a time: [B, T, N, D] -> [B, steps, N, D].

        The context slides once it has `longest` steps. Until then keys and values are kept, so each step costs one step.
        """
        window = latents[:, -longest:]
        hidden, past = self._hidden(window, rows=[window.shape[1] - 1])
        found = [self._forecast(window[:, -1:], hidden, 1)[:, 0].to(latents.dtype)]
        while len(found) < steps:
            length = window.shape[1]
            window = torch.cat((window[:, -(longest - 1) :] if longest > 1 else window[:, :0], found[-1]), dim=1)
            if length < longest:
                forecast, past = self._continue(found[-1], past, length)
            else:
                forecast = self.from_last_step(window, 1)
            found.append(forecast.to(latents.dtype))
        return torch.cat(found, dim=1)

    def _continue(self, latents: Tensor, past: Sequence[KeysAndValues], step: int) -> tuple[Tensor, list[KeysAndValues]]:
        """Forecast one step ahead of step `step` [B, 1, N, D], after the keys and values of all steps before it."""
        hidden, past = self._hidden(latents, past=past, first=step)
        return self._forecast(latents, hidden, 1)[:, 0], past

    def _hidden(
        self, latents: Tensor, past: Sequence[KeysAndValues] = (), first: int = 0, rows: Sequence[int] | None = None
    ) -> tuple[Tensor, list[KeysAndValues]]:
        """Compute hidden states [B, T, M, W] of M merged tokens, and the keys and values of all steps, by block.

        Step t of latents [B, T, N, D] has attended to steps 0..t, and to the `first` steps before them, whose keys and values
        are `past`. `rows`: steps whose hidden states are returned; None = all.
        """
        count, merge = self.side**2, self.config.patch_merge
        positions = self._positions(first + latents.shape[1], latents.device)[first * count :]
        rotary = rotary_table(rotary_angles(positions, self.config.width // self.config.heads))
        merged = rearrange(latents, "b t (h y w x) d -> b (t h w) (y x d)", h=self.side, w=self.side, y=merge, x=merge)
        tokens, memory = self.blocks(self.embed(merged), rotary, count, past, rows)
        return rearrange(self.norm(tokens), "b (t m) w -> b t m w", m=count), memory

    def _forecast(self, latents: Tensor, hidden: Tensor, horizons: int) -> Tensor:
        """Forecasts after the steps S of latents [B, S, N, D] with hidden states [B, S, M, W]: [B, S, horizons, N, D]."""
        changes = torch.stack(self._changes(hidden, [hidden.shape[1]] * horizons), dim=2)
        return latents[:, :, None] + changes

    def _changes(self, hidden: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Compute what is added to the last latent, from hidden states [B, S, M, W].

        Returns one tensor per horizon 1, 2, ..., for the first `counts[horizon - 1]` steps: [B, count, N, D].
        """
        # The first layer of the head is linear in hidden state plus horizon, so each of them passes through it once.
        first, activation, last = self.head
        assert isinstance(first, nn.Linear)
        states, shifts = first(hidden), F.linear(self.horizon[: len(counts)], first.weight)
        changes = (last(activation(states[:, :count] + shift)) for count, shift in zip(counts, shifts, strict=True))
        merge = self.config.patch_merge
        return [
            rearrange(change, "b s (h w) (y x d) -> b s (h y w x) d", h=self.side, w=self.side, y=merge, x=merge)
            for change in changes
        ]

    def _positions(self, steps: int, device: torch.device) -> Tensor:
        """Time, and row and column if there are several tokens per step: [T*M, 1 or 3]."""
        positions = grid_positions(steps, self.side, device)
        return positions[:, :1] if self.side == 1 else positions
