"""Augmentation on the device. Each sample's chances are drawn with it, so a window looks the same wherever it is trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from worldmodel.config import Config

DRAWS = 10  # uniform numbers in [0, 1) that one sample's augmentation takes


class AugmentConfig(Config):
    """Strength of each part; 0 (or a crop of 1) leaves it out. All are constant over the frames of a window."""

    crop_area_min: float = Field(0.7, gt=0, le=1)  # smallest share of the picture that is kept; 1 = all of it
    crop_aspect_max: float = Field(1.15, ge=1)  # widest ratio of width to height, and its inverse
    flip_share: float = Field(0.5, ge=0, le=1)  # of windows mirrored left to right
    brightness: float = Field(0.0, ge=0, le=1)  # factor 1 +- this
    contrast: float = Field(0.0, ge=0, le=1)  # factor 1 +- this, about the window's mean grey
    saturation: float = Field(0.0, ge=0, le=1)  # factor 1 +- this, about grey
    hue: float = Field(0.0, ge=0, le=0.5)  # +- this, in turns of the colour circle
    blur_px: float = Field(0.0, ge=0)  # standard deviation up to this

    @property
    def crops(self) -> bool:
        return self.crop_area_min < 1 or self.crop_aspect_max > 1


def augment(frames: Tensor, draws: Tensor | None, size_px: int, config: AugmentConfig) -> Tensor:
    """[B, T, 3, H, W] in [0, 1], draws [B, 10] in [0, 1) -> [B, T, 3, size, size] in [0, 1].

    Without draws the picture is only brought to its size: what held-out windows look like.
    """
    if draws is None:
        return resized(frames, size_px)
    area, aspect, across, down, flip, *colour, blur = draws.unbind(1)
    flipped = flip < config.flip_share
    if config.crops:
        frames = _cropped(frames, area, aspect, across, down, size_px, config)
    else:
        frames = resized(frames, size_px)
    frames = torch.where(flipped[:, None, None, None, None], frames.flip(-1), frames)
    frames = _coloured(frames, colour, config)
    return _blurred(frames, blur * config.blur_px, config.blur_px) if config.blur_px else frames


def resized(frames: Tensor, size_px: int) -> Tensor:
    if frames.shape[-2:] == (size_px, size_px):
        return frames
    flat = rearrange(frames, "b t c h w -> b (t c) h w")
    flat = F.interpolate(flat, (size_px, size_px), mode="bilinear", antialias=True, align_corners=False)
    return rearrange(flat, "b (t c) h w -> b t c h w", c=3)


def _cropped(
    frames: Tensor, area: Tensor, aspect: Tensor, across: Tensor, down: Tensor, size_px: int, config: AugmentConfig
) -> Tensor:
    """A box of random area and aspect at a random place, the same for all frames of a window."""
    kept = config.crop_area_min + area * (1 - config.crop_area_min)
    ratio = torch.exp((2 * aspect - 1) * math.log(config.crop_aspect_max))
    width, height = (kept * ratio).sqrt().clamp(max=1), (kept / ratio).sqrt().clamp(max=1)
    theta = frames.new_zeros(len(frames), 2, 3)  # in coordinates from -1 to 1
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2], theta[:, 1, 2] = (2 * across - 1) * (1 - width), (2 * down - 1) * (1 - height)
    flat = rearrange(frames, "b t c h w -> b (t c) h w")
    grid = F.affine_grid(theta, [len(flat), flat.shape[1], size_px, size_px], align_corners=False)
    flat = F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return rearrange(flat, "b (t c) h w -> b t c h w", c=3)


def _coloured(frames: Tensor, draws: list[Tensor], config: AugmentConfig) -> Tensor:
    brightness, contrast, saturation, hue = (
        strength * (2 * draw - 1)[:, None, None, None, None]
        for strength, draw in zip((config.brightness, config.contrast, config.saturation, config.hue), draws, strict=True)
    )
    touched = False
    if config.brightness:
        frames, touched = frames * (1 + brightness), True
    if config.contrast:
        grey = _luma(frames).mean(dim=(1, 2, 3, 4), keepdim=True)
        frames, touched = grey + (frames - grey) * (1 + contrast), True
    if config.saturation:
        grey = _luma(frames)
        frames, touched = grey + (frames - grey) * (1 + saturation), True
    if config.hue:
        frames, touched = _turned(frames, 2 * math.pi * hue[:, 0, 0, 0, 0]), True
    return frames.clamp(0, 1) if touched else frames


def _luma(frames: Tensor) -> Tensor:
    """ITU-R BT.601: [B, T, 3, H, W] -> [B, T, 1, H, W]."""
    weight = frames.new_tensor((0.299, 0.587, 0.114))[:, None, None]
    return (frames * weight).sum(2, keepdim=True)


def _turned(frames: Tensor, angle: Tensor) -> Tensor:
    """Rotate colours about the grey axis by `angle` [B] in radians (Rodrigues' formula)."""
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    eye = torch.eye(3, device=frames.device, dtype=frames.dtype)
    cross = frames.new_tensor(((0, -1, 1), (1, 0, -1), (-1, 1, 0))) / math.sqrt(3)
    turn = cos * eye + sin * cross + (1 - cos) / 3
    return torch.einsum("bij,btjhw->btihw", turn, frames)


def _blurred(frames: Tensor, sigma: Tensor, largest: float) -> Tensor:
    """Gaussian blur with a standard deviation per sample: sigma [B] in px."""
    reach = max(1, math.ceil(3 * largest))
    offset = torch.arange(-reach, reach + 1, device=frames.device, dtype=frames.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma.clamp(min=1e-3)[:, None]).square())
    kernel = kernel / kernel.sum(1, keepdim=True)  # [B, 2 reach + 1]
    batch, depth = len(frames), frames.shape[1] * 3
    weight = kernel.repeat_interleave(depth, 0)[:, None, None]  # one channel, one kernel
    flat = rearrange(frames, "b t c h w -> 1 (b t c) h w")
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), weight, groups=batch * depth)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), weight.transpose(2, 3), groups=batch * depth)
    return rearrange(flat, "1 (b t c) h w -> b t c h w", b=batch, c=3)
