"""A small decoder from latents to frames, to visualise predictions. It passes no gradient to the model."""

from __future__ import annotations

from math import gcd, isqrt

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from worldmodel.config import Config

COARSEST_PX = 4  # a latent of the whole frame becomes a map of this side, or of up to twice this (7 for 224)
MAX_WIDTH_FACTOR = 8  # channels double when the side halves, up to this many times `width`
EDGE_WEIGHT = 0.5  # of edges relative to colours in `decoder_loss`


class DecoderConfig(Config):
    """Size of the decoded frames and of the decoder; the rest follows from the latents."""

    size_px: int = Field(64, ge=8)
    """side of the decoded frames; may be smaller than the model's own, which is faster"""
    width: int = Field(16, ge=1)
    """channels at full size; the coarsest map has up to 8 times as many"""
    depth: int = Field(1, ge=1)
    """number of 3x3 convolutions at each size"""


class Decoder(nn.Module):
    """Latents [B, T, N, D] -> frames [B, T*f, 3, S, S] in [0, 1], each time step by itself; S = size_px.

    N = 1 is one vector for the whole frame; otherwise N = g*g are spatial tokens, row by row. f is `tubelet_size`. The
    latents are detached here, so that no gradient reaches the model. Two decoders with the same seed are equal.
    """

    def __init__(self, config: DecoderConfig, *, features: int, tokens: int = 1, tubelet_size: int = 1, seed: int = 0) -> None:
        super().__init__()
        grid = isqrt(tokens)
        if grid * grid != tokens:
            raise ValueError(f"the decoder needs a square grid of tokens (1, 4, 9, 16...); these latents have {tokens}")
        if grid > config.size_px:
            raise ValueError(f"a {grid} x {grid} grid of latents does not fit into decoder.size_px {config.size_px}; raise it")
        sides = sides_px(config.size_px, coarsest=max(grid, COARSEST_PX if tokens == 1 else 1))
        widths = [config.width * min(MAX_WIDTH_FACTOR, 2 ** (len(sides) - 1 - i)) for i in range(len(sides))]
        self.tubelet_size, self.grid, self.sides = tubelet_size, grid, sides
        self.cell = sides[0] if tokens == 1 else 1  # side of the area of the first map that one vector becomes
        with torch.random.fork_rng(devices=[]):  # leaves torch's global generator unchanged
            torch.default_generator.manual_seed(seed)
            self.stem = nn.Linear(features, widths[0] * self.cell**2)
            self.stages = nn.ModuleList(
                conv_block(before, after, config.depth) for before, after in zip([widths[0], *widths], widths, strict=False)
            )
            self.paint = nn.Conv2d(widths[-1], 3 * tubelet_size, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, T, N, D] -> [B, T*f, 3, S, S]."""
        cells = self.stem(rearrange(latents.detach(), "b t n d -> (b t) n d"))
        maps = rearrange(
            cells, "m (gy gx) (c y x) -> m c (gy y) (gx x)", gy=self.grid, gx=self.grid, y=self.cell, x=self.cell
        ).contiguous(memory_format=torch.channels_last)  # takes half the time on a CPU
        for side_px, stage in zip(self.sides, self.stages, strict=True):
            # Nearest-neighbour upsampling and a convolution: transposed convolutions leave a checkerboard (Odena et al. 2016)
            maps = stage(F.interpolate(maps, size=(side_px, side_px), mode="nearest"))
        frames = self.paint(maps).sigmoid()
        return rearrange(frames, "(b t) (f c) h w -> b (t f) c h w", b=latents.shape[0], f=self.tubelet_size)


def sides_px(size_px: int, coarsest: int) -> list[int]:
    """Sides of the maps from the coarsest to the frame, each at most twice the one before: (64, 4) -> [4, 8, 16, 32, 64]."""
    sides = [size_px]
    while sides[0] > coarsest and (sides[0] + 1) // 2 >= coarsest:
        sides.insert(0, (sides[0] + 1) // 2)
    return sides


def conv_block(before: int, after: int, depth: int) -> nn.Sequential:
    """Build `depth` convolutions with group norm (about 8 channels per group): [M, before, S, S] -> [M, after, S, S]."""
    groups = gcd(after, max(1, after // 8))
    layers: list[nn.Module] = []
    for width in [before, *[after] * (depth - 1)]:
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(groups, after), nn.SiLU()]
    return nn.Sequential(*layers)


def decoder_loss(decoded: Tensor, frames: Tensor) -> Tensor:
    """Smooth L1 of the colours plus L1 of their edges, mean over all: two times [B, T, 3, H, W] in [0, 1] -> scalar.

    `frames` larger than `decoded` are averaged down to its size. Colours alone neglect small objects: a ball of 30 pixels
    hardly changes a mean over 4,096, but its outline does.
    """
    if frames.shape[:2] != decoded.shape[:2]:
        raise ValueError(
            f"{tuple(decoded.shape[:2])} decoded frames (B, T) cannot be compared with {tuple(frames.shape[:2])}: "
            "a latent step of f frames is decoded into f frames, so pass all frames of the window"
        )
    image, truth = (rearrange(x, "b t c h w -> (b t) c h w") for x in (decoded, frames))
    truth = F.interpolate(truth, size=image.shape[-2:], mode="area")
    edges_y = (image.diff(dim=-2) - truth.diff(dim=-2)).abs().mean()
    edges_x = (image.diff(dim=-1) - truth.diff(dim=-1)).abs().mean()
    return F.smooth_l1_loss(image, truth, beta=0.1) + EDGE_WEIGHT * (edges_y + edges_x)
