"""Causal predictor: forecasts latents at several horizons at once, from the latents up to a time step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.layers import Blocks, block_causal_mask, grid_positions, init_linear, rotary_angles


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

    extra_forward_methods = ("from_last_step",)  # methods besides `forward` that FSDP2 must gather the weights for

    def __init__(self, config: PredictorConfig, latent_dim: int, latent_grid: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.side = latent_grid // config.patch_merge  # merged tokens per side of the grid
        token_dim = latent_dim * config.patch_merge**2
        self.embed = nn.Linear(token_dim, config.width)
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing)
        self.norm = nn.LayerNorm(config.width)
        self.horizon = nn.Parameter(0.3 * torch.randn(config.horizons, config.width))
        change = nn.Linear(2 * config.width, token_dim)
        self.head = nn.Sequential(nn.Linear(config.width, 2 * config.width), nn.GELU(), change)
        self.embed.apply(init_linear)
        nn.init.zeros_(change.weight)
        nn.init.zeros_(change.bias)

    def forward(self, latents: Tensor) -> Tensor:
        return latents[:, :, None] + self._change(self.hidden(latents), self.config.horizons)

    def from_last_step(self, latents: Tensor, horizons: int) -> Tensor:
        """Forecast from the last step only: [B, T, N, D] -> [B, horizons, N, D]."""
        return self.from_steps(latents, (latents.shape[1],), horizons)[:, 0]

    def from_steps(self, latents: Tensor, context_steps: Sequence[int], horizons: int) -> Tensor:
        """Forecast from the first s steps, for all S numbers s in `context_steps`: [B, T, N, D] -> [B, S, horizons, N, D]."""
        rows = torch.as_tensor(context_steps, device=latents.device) - 1
        return latents[:, rows, None] + self._change(self.hidden(latents)[:, rows], horizons)

    def hidden(self, latents: Tensor) -> Tensor:
        """Compute hidden states: [B, T, N, D] -> [B, T, M, W], M merged tokens. Step t has attended to steps 0..t."""
        steps, count, merge = latents.shape[1], self.side**2, self.config.patch_merge
        angles = rotary_angles(self._positions(steps, latents.device), self.config.width // self.config.heads)
        mask = block_causal_mask(steps, count, latents.device)
        merged = rearrange(latents, "b t (h y w x) d -> b (t h w) (y x d)", h=self.side, w=self.side, y=merge, x=merge)
        tokens = self.blocks(self.embed(merged), angles, mask)
        return rearrange(self.norm(tokens), "b (t m) w -> b t m w", m=count)

    def _change(self, hidden: Tensor, horizons: int) -> Tensor:
        """Compute what is added to the last latent: [B, S, M, W] -> [B, S, horizons, N, D]."""
        change = self.head(hidden[:, :, None] + self.horizon[:horizons, None])
        merge = self.config.patch_merge
        return rearrange(change, "b s k (h w) (y x d) -> b s k (h y w x) d", h=self.side, w=self.side, y=merge, x=merge)

    def _positions(self, steps: int, device: torch.device) -> Tensor:
        """Time, and row and column if there are several tokens per step: [T*M, 1 or 3]."""
        positions = grid_positions(steps, self.side, device)
        return positions[:, :1] if self.side == 1 else positions
