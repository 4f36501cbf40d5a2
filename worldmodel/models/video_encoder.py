"""A vision transformer over tubelets of a whole clip, or over those alone that are visible (V-JEPA, MAE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.layers import Blocks, check_heads, grid_positions, init_linear, rotary_angles

NORM_EPS = 1e-6


class VideoEncoderConfig(Config):
    """Every token looks at every other one, in space and time; positions are rotary."""

    patch_px: PositiveInt = 16  # side of the square a tubelet covers
    tubelet_size: PositiveInt = 2  # frames in a tubelet, which is one token
    width: PositiveInt = 96  # features of a token, and of a latent
    depth: PositiveInt = 4  # blocks
    heads: PositiveInt = 4  # of attention, which share `width`
    mlp_ratio: float = Field(4.0, gt=0)  # width inside the MLP of a block, in multiples of `width`

    @model_validator(mode="after")
    def _check(self) -> VideoEncoderConfig:
        check_heads(self.width, self.heads, axes=3)
        return self


class VideoEncoder(nn.Module):
    """Frames [B, T, 3, H, W] -> tokens [B, S, W], time first, then rows, then columns; H = W may differ between calls."""

    def __init__(self, config: VideoEncoderConfig, tiled_rotary: bool, checkpointing: bool = False) -> None:
        super().__init__()
        self.config, self.tiled_rotary = config, tiled_rotary
        self.patch = nn.Linear(3 * config.tubelet_size * config.patch_px**2, config.width)
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing, NORM_EPS)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        init_linear(self.patch)

    def forward(self, frames: Tensor, visible: Sequence[Tensor] = ()) -> Tensor:
        """All tokens; or those of the views `visible`, each [B, K] token numbers, one view after another: [B, sum K, W].

        Patches are embedded once. Views are packed into one pass and do not see one another, nor what none of them shows.
        """
        c = self.config
        tubelets = rearrange(
            frames,
            "b (t f) c (gh ph) (gw pw) -> b (t gh gw) (c f ph pw)",
            f=c.tubelet_size, ph=c.patch_px, pw=c.patch_px,
        )  # fmt: skip
        tokens = self.patch(tubelets.to(self.patch.weight.dtype))
        positions = grid_positions(frames.shape[1] // c.tubelet_size, frames.shape[-1] // c.patch_px, frames.device)
        angles = rotary_angles(positions, c.width // c.heads, tiled=self.tiled_rotary)
        if visible:
            shown = torch.cat(tuple(visible), dim=1)
            tokens, angles = take(tokens, shown), angles[shown][:, None]
        return self.norm(self.blocks(tokens, angles, segments=[view.shape[1] for view in visible]))


def take(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Some tokens of every clip: [B, S, W], [B, K] -> [B, K, W]."""
    return tokens.gather(1, numbers[..., None].expand(-1, -1, tokens.shape[-1]))
