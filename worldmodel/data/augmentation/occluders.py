"""Pasted occluders: a surface hides a part of the picture, or all of it, for some time.

Most of what a video shows stays in sight, so few forecasts of a training step need memory. Behind a pasted occluder the scene
goes on, and after it the scene is the target again. Context and targets show the occluder alike, as if it had been filmed.
Its colours are those of two pixels of the first frame, so that the colours of a window stay as they are. A later frame could
show something of the future.

Where and when an occluder appears is drawn at random, so no model can forecast it. `can_be_forecast` says which targets are
not of this kind. That an occluder goes away is random too, but what it then shows is a question of memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from worldmodel.models.latents import Latents

OCCLUDER_UNIFORMS = 18  # random numbers of one sample
ELLIPSE_FRACTION = 0.3  # of the occluders; the others are rectangles
PLAIN_FRACTION, STRIPED_FRACTION = 0.4, 0.3  # of the occluders; the others have a gradient
HALF_SIZE = (0.1, 0.5)  # of the sides of an occluder, smallest and largest, in sides of the picture
BEGIN = (-0.4, 0.75)  # when it begins to appear, in lengths of the window
LENGTH, LENGTH_OF_WHOLE = (0.15, 1.0), (0.1, 0.4)  # from then until it is gone, in lengths of the window
SUDDEN_FRACTION = 0.25  # of the occluders appear at once; the others slide into the picture
LONGEST_SLIDE = 0.25  # in lengths of the window
OUTSIDE = 1.6  # distance of a place out of sight, in sides of the picture
LEAST_COVERED = 1e-3  # fraction of a patch; a smaller increase of its hidden part does not count


def paste_occluders(frames: Tensor, uniforms: Tensor, probability: float, whole: float) -> tuple[Tensor, Tensor]:
    """Hide a part of the frames [B, T, 3, H, W] of a random choice of windows.

    uniforms: random numbers [B, OCCLUDER_UNIFORMS] in [0, 1). probability: that a window gets an occluder, which may be there
    before the window alone. whole: fraction of the occluders that hide the whole picture. Returns the frames, and which pixels
    are hidden: bool [B, T, H, W].
    """
    chance, kind, form, width, height, x, y, begin, length, slide, direction, *paint = uniforms.unbind(1)
    is_whole = kind < whole
    away = _way_out(frames, begin, torch.where(is_whole, _between(length, LENGTH_OF_WHOLE), _between(length, LENGTH)), slide)
    half_width, half_height = (torch.where(is_whole, 1.0, _between(side, HALF_SIZE)) for side in (width, height))
    distance = torch.where(is_whole, 2 * OUTSIDE, OUTSIDE)[:, None] * away
    angle = (4 * direction).floor()[:, None] * (math.pi / 2)
    centre_x = torch.where(is_whole, 0.5, x)[:, None] + distance * angle.cos()  # [B, T]
    centre_y = torch.where(is_whole, 0.5, y)[:, None] + distance * angle.sin()
    across = (_coordinates(frames, -1) - centre_x[..., None, None]) / half_width[:, None, None, None]
    down = (_coordinates(frames, -2)[:, None] - centre_y[..., None, None]) / half_height[:, None, None, None]
    is_ellipse = ((form < ELLIPSE_FRACTION) & ~is_whole)[:, None, None, None]
    inside = torch.where(is_ellipse, across.square() + down.square(), torch.maximum(across.abs(), down.abs())) < 1
    hidden = inside & ((chance < probability)[:, None] & (away < 1))[..., None, None]  # [B, T, H, W]
    return torch.where(hidden[:, :, None], _paint(frames[:, 0], paint)[:, None], frames), hidden


def can_be_forecast(hidden: Tensor, latents: Latents) -> Tensor:
    """False for each forecast whose target an occluder newly covers: bool [R].

    hidden: hidden pixels [B, T, H, W]. A target is newly covered if a larger part of its patch is hidden than at the last time
    step that the forecast could see. A forecast of horizon 0, between visible tokens, is always True.
    """
    steps, tokens = latents.context.shape[1:3]
    height, width = hidden.shape[-2:]
    rows = round(math.sqrt(tokens * height / width))
    covered = F.adaptive_avg_pool3d(hidden.float()[:, None], (steps, rows, tokens // rows))
    covered = rearrange(covered, "b 1 t h w -> b t (h w)")
    then, now = (covered[latents.clip, time, latents.token] for time in (latents.time - latents.horizon, latents.time))
    return now <= then + LEAST_COVERED


def _way_out(frames: Tensor, begin: Tensor, length: Tensor, slide: Tensor) -> Tensor:
    """How far the occluders are from their places in each frame: [B] -> [B, T] from 0 (in place) to 1 (out of sight)."""
    time = torch.arange(frames.shape[1], device=frames.device) / frames.shape[1]
    start = _between(begin, BEGIN)[:, None]
    duration = (LONGEST_SLIDE * (slide - SUDDEN_FRACTION) / (1 - SUDDEN_FRACTION)).clamp(min=1e-6)[:, None]
    return 1 - (torch.minimum(time - start, start + length[:, None] - time) / duration).clamp(0, 1)


def _paint(picture: Tensor, uniforms: Sequence[Tensor]) -> Tensor:
    """Plain, striped or shaded surfaces [B, 3, H, W] in the colours of two pixels of pictures [B, 3, H, W]."""
    pattern, angle, period, *pixels = uniforms
    height, width = picture.shape[-2:]
    samples = torch.arange(len(picture), device=picture.device)
    first, second = (
        picture[samples, :, (y * height).long(), (x * width).long()][:, :, None, None] for y, x in (pixels[:2], pixels[2:])
    )
    angle, period, pattern = (values[:, None, None] for values in (2 * math.pi * angle, 3 + 10 * period, pattern))
    x, y = (_coordinates(picture, side) - 0.5 for side in (-1, -2))
    along = x[None, None] * angle.cos() + y[None, :, None] * angle.sin()  # [B, H, W]
    striped = ((along * period) % 1 < 0.5).to(picture.dtype)
    weight = torch.where(pattern < STRIPED_FRACTION, striped, (along + 0.5).clamp(0, 1))
    weight = torch.where(pattern < 1 - PLAIN_FRACTION, weight, 0.0)
    return first + (second - first) * weight[:, None]


def _between(uniform: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    return low + (high - low) * uniform


def _coordinates(frames: Tensor, axis: int) -> Tensor:
    """Centres of the pixels along an axis, from 0 to 1."""
    count = frames.shape[axis]
    return (torch.arange(count, device=frames.device) + 0.5) / count
