"""A small net that draws latents, so that people can see what a model imagines. It never teaches the model anything."""

from __future__ import annotations

from math import gcd, isqrt

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor, nn

from worldmodel.config import Config

COARSEST_PX = 4  # a whole-frame latent is first laid out on a map of this side, or up to twice this (7 for 224)
WIDEST = 8  # channels double with every halving of the side, up to this many times `width`
EDGE_WEIGHT = 0.5  # of edges beside colours in `decoder_loss`


class DecoderConfig(Config):
    """Size of the pictures and of the net that draws them; the rest follows from the latents."""

    size_px: int = Field(64, ge=8)  # side of the drawn frames; less than the model's own is fine, and cheap
    width: int = Field(16, ge=1)  # channels at full size; the coarsest map has up to eight times as many
    depth: int = Field(1, ge=1)  # 3x3 convolutions at each size


class Decoder(nn.Module):
    """Latents [B, T, N, D] -> frames [B, T*f, 3, S, S] in [0, 1], each moment alone; f frames a latent, S = size_px.

    N = 1 is one vector for the whole frame, otherwise N = g*g are patches, row by row. The latents are detached in
    here: however it is used, no gradient of a picture reaches the model. Two decoders of one seed are equal.
    """

    def __init__(self, config: DecoderConfig, *, features: int, places: int = 1, tubelet_size: int = 1, seed: int = 0) -> None:
        super().__init__()
        grid = isqrt(places)
        if grid * grid != places:
            raise ValueError(f"the decoder draws square grids of places (1, 4, 9, 16...); these latents have {places}")
        if grid > config.size_px:
            raise ValueError(f"a {grid}x{grid} grid of latents cannot be drawn in decoder.size_px = {config.size_px}")
        sides = sides_px(config.size_px, coarsest=max(grid, COARSEST_PX if places == 1 else 1))
        widths = [config.width * min(WIDEST, 2 ** (len(sides) - 1 - i)) for i in range(len(sides))]
        self.tubelet_size, self.grid, self.sides = tubelet_size, grid, sides
        self.cell = sides[0] if places == 1 else 1  # side of the piece of map that one vector holds
        with torch.random.fork_rng(devices=[]):  # leaves the run's own random numbers as they were
            torch.default_generator.manual_seed(seed)
            self.stem = nn.Linear(features, widths[0] * self.cell**2)
            self.stages = nn.ModuleList(
                convolutions(before, after, config.depth) for before, after in zip([widths[0], *widths], widths, strict=False)
            )
            self.paint = nn.Conv2d(widths[-1], 3 * tubelet_size, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """[B, T, N, D] -> [B, T*f, 3, S, S]."""
        cells = self.stem(rearrange(latents.detach(), "b t n d -> (b t) n d"))
        picture = rearrange(
            cells, "m (gy gx) (c y x) -> m c (gy y) (gx x)", gy=self.grid, gx=self.grid, y=self.cell, x=self.cell
        ).contiguous(memory_format=torch.channels_last)  # half the time on a CPU
        for side_px, stage in zip(self.sides, self.stages, strict=True):
            # Nearest, then a convolution: transposed convolutions leave a checkerboard (Odena et al. 2016)
            picture = stage(F.interpolate(picture, size=(side_px, side_px), mode="nearest"))
        frames = self.paint(picture).sigmoid()
        return rearrange(frames, "(b t) (f c) h w -> b (t f) c h w", b=latents.shape[0], f=self.tubelet_size)


def sides_px(size_px: int, coarsest: int) -> list[int]:
    """Sides of the maps on the way to the picture, each at most twice the one before: (64, 4) -> [4, 8, 16, 32, 64]."""
    sides = [size_px]
    while sides[0] > coarsest and (sides[0] + 1) // 2 >= coarsest:
        sides.insert(0, (sides[0] + 1) // 2)
    return sides


def convolutions(before: int, after: int, depth: int) -> nn.Sequential:
    """`depth` convolutions at one size, in groups of eight channels or so: [M, before, S, S] -> [M, after, S, S]."""
    groups = gcd(after, max(1, after // 8))
    layers: list[nn.Module] = []
    for width in [before, *[after] * (depth - 1)]:
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(groups, after), nn.SiLU()]
    return nn.Sequential(*layers)


def decoder_loss(decoded: Tensor, frames: Tensor) -> Tensor:
    """Smooth L1 of the colours and L1 of their edges, mean over everything; frames [B, T, 3, H, W] in [0, 1] -> scalar.

    Frames larger than the picture are averaged down to it. Colours alone leave small things out: a ball of 30 pixels
    hardly counts in a mean over 4,096, its outline does.
    """
    if frames.shape[:2] != decoded.shape[:2]:
        raise ValueError(
            f"{tuple(decoded.shape[:2])} decoded frames (B, T) cannot be compared with {tuple(frames.shape[:2])}: "
            "a latent of f frames is drawn as f frames, so pass all frames of the window"
        )
    picture, truth = (rearrange(x, "b t c h w -> (b t) c h w") for x in (decoded, frames))
    truth = F.interpolate(truth, size=picture.shape[-2:], mode="area")
    edges_y = (picture.diff(dim=-2) - truth.diff(dim=-2)).abs().mean()
    edges_x = (picture.diff(dim=-1) - truth.diff(dim=-1)).abs().mean()
    return F.smooth_l1_loss(picture, truth, beta=0.1) + EDGE_WEIGHT * (edges_y + edges_x)
