"""Augmentation on the device. Each sample's chances are drawn with it, so a window looks the same wherever it is trained."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from worldmodel.config import Config
from worldmodel.models.pixels import to_float

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
DRAWS = 10  # uniform numbers in [0, 1) that one sample's augmentation takes


class AugmentConfig(Config):
    """Strength of each part; 0 (or a crop of 1) leaves it out. All are constant over the frames of a window."""

    crop_area_min: float = Field(0.7, gt=0, le=1)  # smallest share of the picture that is kept; 1 = all of it
    crop_aspect_max: float = Field(1.15, ge=1)  # widest ratio of width to height, and its inverse
    hflip_prob: float = Field(0.5, ge=0, le=1)  # of windows mirrored left to right
    brightness: float = Field(0.0, ge=0, le=1)  # factor 1 +- this
    contrast: float = Field(0.0, ge=0, le=1)  # factor 1 +- this, about the window's mean grey
    saturation: float = Field(0.0, ge=0, le=1)  # factor 1 +- this, about grey
    hue: float = Field(0.0, ge=0, le=0.5)  # +- this, in turns of the colour circle
    blur_px: float = Field(0.0, ge=0)  # standard deviation up to this

    @property
    def colours(self) -> bool:
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0

    @property
    def crops(self) -> bool:
        return self.crop_area_min < 1 or self.crop_aspect_max > 1


def augment(frames: Tensor, draws: Tensor | None, size_px: int, config: AugmentConfig) -> Tensor:
    """uint8 [B, T, H, W, 3], draws [B, 10] in [0, 1) -> float [B, T, 3, size, size] in [0, 1].

    Without draws the picture is only brought to its size: what held-out windows look like. No gradient passes, so that each
    step can work in place: on a CPU this is a third of a small model's training time.
    """
    if draws is None:
        return resized(to_float(frames), size_px)
    area, aspect, across, down, flip, *colour, blur = draws.unbind(1)
    if config.hflip_prob:
        flipped = (flip < config.hflip_prob)[:, None, None, None, None]
        frames = torch.where(flipped, frames.flip(3), frames)  # while a pixel is still a byte
    pixels = to_float(frames)
    if config.crops:
        pixels = _cropped(pixels, area, aspect, across, down, size_px, config)
    else:
        pixels = resized(pixels, size_px)
    if config.colours:
        pixels = _coloured(pixels, colour, config)
    return _blurred(pixels, blur * config.blur_px, config.blur_px) if config.blur_px else pixels


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
    """Brightness, contrast, saturation, hue, in this order: all are affine in the colour, so one matrix a window does them."""
    brightness, contrast, saturation, hue = (
        strength * (2 * draw - 1)[:, None, None]
        for strength, draw in zip((config.brightness, config.contrast, config.saturation, config.hue), draws, strict=True)
    )
    eye = torch.eye(3, device=frames.device, dtype=frames.dtype)
    luma = frames.new_tensor(LUMA).expand(3, 3)  # every colour -> its grey
    saturate = (1 + saturation) * eye - saturation * luma
    matrix = _turn(2 * math.pi * hue) @ saturate * (1 + contrast) * (1 + brightness)  # [B, 3, 3]
    grey = luma @ frames.mean(dim=(1, 3, 4))[:, :, None] * (1 + brightness)  # of the whole window, [B, 3, 1]
    shift = -contrast * grey  # grey stays grey under saturation and hue
    flat = rearrange(frames, "b t c h w -> b t c (h w)")
    coloured = torch.matmul(matrix[:, None], flat).add_(shift[:, None]).clamp_(0, 1)
    return coloured.view_as(frames)


def _turn(angle: Tensor) -> Tensor:
    """Rotation of colours about the grey axis by `angle` [B, 1, 1] in radians (Rodrigues' formula): [B, 3, 3]."""
    cross = angle.new_tensor(((0, -1, 1), (1, 0, -1), (-1, 1, 0))) / math.sqrt(3)
    return angle.cos() * torch.eye(3, device=angle.device, dtype=angle.dtype) + angle.sin() * cross + (1 - angle.cos()) / 3


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
