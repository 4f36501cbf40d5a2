"""Latents seen so far -> latents to come, several horizons at once."""

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

    width: PositiveInt = 128  # features of a token inside the transformer
    depth: PositiveInt = 3  # blocks
    heads: PositiveInt = 4  # of attention, which share `width`
    mlp_ratio: float = Field(4.0, gt=0)  # width inside the MLP of a block, in multiples of `width`
    horizons: PositiveInt = 10  # K: latent steps ahead that are forecast directly, 1..K
    patch_merge: PositiveInt = 1  # so many by so many neighbouring places share a token: fine latents, few tokens

    @model_validator(mode="after")
    def _check(self) -> PredictorConfig:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by heads {self.heads}")
        return self


class CausalPredictor(nn.Module):
    """[B, T, N, D] -> [B, T, K, N, D]: row t, horizon k forecasts step t+k from steps 0..t alone.

    Forecasts are changes added to the last latent, and start at none: at birth the predictor copies.
    """

    called_by_name = ("last",)  # beside forward

    def __init__(self, config: PredictorConfig, latent_dim: int, latent_grid: int, checkpointing: bool = False) -> None:
        super().__init__()
        self.config = config
        self.side, self.inner = (
            latent_grid // config.patch_merge,
            config.patch_merge,
        )  # tokens a side, places a side of a token
        token_dim = latent_dim * self.inner**2
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

    def last(self, latents: Tensor, horizons: int) -> Tensor:
        """Forecasts from the last step alone: [B, T, N, D] -> [B, horizons, N, D]."""
        return self.after(latents, (latents.shape[1],), horizons)[:, 0]

    def after(self, latents: Tensor, seen: Sequence[int], horizons: int) -> Tensor:
        """Forecasts made after so many steps, for each number in `seen`: [B, T, N, D] -> [B, len(seen), horizons, N, D]."""
        rows = torch.as_tensor(seen, device=latents.device) - 1
        return latents[:, rows, None] + self._change(self.hidden(latents)[:, rows], horizons)

    def hidden(self, latents: Tensor) -> Tensor:
        """[B, T, N, D] -> [B, T, M, W], M tokens a step; step t has looked at steps 0..t."""
        steps, count = latents.shape[1], self.side**2
        angles = rotary_angles(self._positions(steps, latents.device), self.config.width // self.config.heads)
        mask = block_causal_mask(steps, count, latents.device)
        grouped = rearrange(
            latents, "b t (h y w x) d -> b (t h w) (y x d)", h=self.side, w=self.side, y=self.inner, x=self.inner
        )
        tokens = self.blocks(self.embed(grouped), angles, mask)
        return rearrange(self.norm(tokens), "b (t m) w -> b t m w", m=count)

    def _change(self, hidden: Tensor, horizons: int) -> Tensor:
        """What is added to the last latent: [B, S, M, W] -> [B, S, horizons, N, D]."""
        change = self.head(hidden[:, :, None] + self.horizon[:horizons, None])
        return rearrange(
            change, "b s k (h w) (y x d) -> b s k (h y w x) d", h=self.side, w=self.side, y=self.inner, x=self.inner
        )

    def _positions(self, steps: int, device: torch.device) -> Tensor:
        """Time, and row and column where there are several places: [T*N, 1 or 3]."""
        positions = grid_positions(steps, self.side, device)
        return positions[:, :1] if self.side == 1 else positions
