"""Video encoder of the masked family: a vision transformer over all or only the visible tubelets of a clip (V-JEPA, MAE)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from worldmodel.config import Config
from worldmodel.models.blocks.layers import Blocks, Segment, check_heads, init_linear
from worldmodel.models.blocks.rotary import grid_positions, rotary_angles, rotary_table

NORM_EPS = 1e-6


class VideoEncoderConfig(Config):
    """Every token attends to every other one, in space and time. Positions are rotary."""

    patch_px: PositiveInt = 16
    """side of the square that a tubelet covers"""
    tubelet_size: PositiveInt = 2
    """frames in a tubelet, which is one token"""
    width: PositiveInt = 96
    """features of a token, and of a latent"""
    depth: PositiveInt = 4
    """transformer blocks"""
    heads: PositiveInt = 4
    """number of attention heads, among which `width` is divided"""
    mlp_ratio: float = Field(4.0, gt=0)
    """width inside the MLP of a block, in multiples of `width`"""

    @model_validator(mode="after")
    def _check(self) -> VideoEncoderConfig:
        check_heads(self.width, self.heads, axes=3)
        return self


class VideoEncoder(nn.Module):
    """Frames [B, T, 3, H, W] -> tokens [B, S, W], ordered by time, row, column. H and W may differ between calls."""

    def __init__(self, config: VideoEncoderConfig, tiled_rotary: bool, checkpointing: bool = False) -> None:
        super().__init__()
        self.config, self.tiled_rotary = config, tiled_rotary
        self.patch = nn.Linear(3 * config.tubelet_size * config.patch_px**2, config.width)
        self.blocks = Blocks(config.depth, config.width, config.heads, config.mlp_ratio, checkpointing, NORM_EPS)
        self.norm = nn.LayerNorm(config.width, NORM_EPS)
        init_linear(self.patch)

    def forward(self, frames: Tensor, visible: Sequence[Tensor] = (), embed_all: bool = True) -> Tensor:
        """Encode all tokens; or only those of each view in `visible`, each [B, K] token indices: [B, sum K, W].

        Patches are embedded once. Views are packed into one pass, one after another; they do not attend to one another,
        nor to tokens that no view shows. embed_all: whether all patches are embedded, before the visible ones are chosen; if
        views show few tokens, the other order takes less work.
        """
        c, device = self.config, frames.device.type
        # Under autocast the first layer takes bfloat16; frames are converted before they are copied into tubelets.
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.patch.weight.dtype
        tubelets = rearrange(
            frames.to(dtype),
            "b (t f) c (gh ph) (gw pw) -> b (t gh gw) (c f ph pw)",
            f=c.tubelet_size, ph=c.patch_px, pw=c.patch_px,
        )  # fmt: skip
        indices = torch.cat(tuple(visible), dim=1) if visible else None
        if indices is not None and not embed_all:
            tubelets = gather_tokens(tubelets, indices)
        tokens = self.patch(tubelets)
        grid = frames.shape[-2] // c.patch_px, frames.shape[-1] // c.patch_px
        positions = grid_positions(frames.shape[1] // c.tubelet_size, grid, frames.device)
        rotary = rotary_table(rotary_angles(positions, c.width // c.heads, tiled=self.tiled_rotary))
        if indices is not None:
            tokens, rotary = gather_tokens(tokens, indices) if embed_all else tokens, rotary[indices][:, None]
        return self.norm(self.blocks(tokens, rotary, [Segment(view.shape[1], view.shape[1]) for view in visible]))


def gather_tokens(tokens: Tensor, indices: Tensor) -> Tensor:
    """Select tokens of every clip by index: [B, S, W], [B, K] -> [B, K, W]."""
    batch, count, width = tokens.shape
    rows = indices + count * torch.arange(batch, device=indices.device)[:, None]
    # whole rows are copied: 25 times faster on CPUs than `gather` with an index for every feature
    return tokens.reshape(-1, width).index_select(0, rows.flatten()).view(*indices.shape, width)
