"""Augmentation on the device. Each sample brings its own random numbers, so the result does not depend on the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from pydantic import Field
from torch import Tensor

from worldmodel.config import Config
from worldmodel.data.augmentation.occluders import OCCLUDER_UNIFORMS, paste_occluders
from worldmodel.models.pixels import to_float
from worldmodel.process.devices import constants_like

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
PICTURE_UNIFORMS = 10  # random numbers in [0, 1) for crop, mirror, colours and blur of one sample
UNIFORMS_PER_SAMPLE = PICTURE_UNIFORMS + OCCLUDER_UNIFORMS


class AugmentConfig(Config):
    """Strength of each augmentation; 0 (or a crop area of 1) turns it off.

    All frames of a window are changed alike, but for pasted occluders, which come and go.
    """

    crop_area_min: float = Field(0.7, gt=0, le=1)
    """smallest fraction of the frame's area that a crop keeps; 1 = no crop"""
    crop_aspect_max: float = Field(1.15, ge=1)
    """largest ratio of width to height of a crop; its inverse is the smallest"""
    hflip_prob: float = Field(0.5, ge=0, le=1)
    """probability of mirroring a window left to right"""
    brightness: float = Field(0.0, ge=0, le=1)
    """multiply colours by 1 +- this"""
    contrast: float = Field(0.0, ge=0, le=1)
    """multiply the difference from the window's mean grey by 1 +- this"""
    saturation: float = Field(0.0, ge=0, le=1)
    """multiply the difference from the pixel's grey by 1 +- this"""
    hue: float = Field(0.0, ge=0, le=0.5)
    """rotate the hue by +- this; 1 = a full turn of the colour circle"""
    blur_px: float = Field(0.0, ge=0)
    """largest standard deviation of a Gaussian blur"""
    occluder_prob: float = Field(0.0, ge=0, le=1)
    """probability that a surface is pasted over a part of the picture, or all of it, for some time of a window. The forecast
    loss leaves out the targets that it newly covers"""
    occluder_whole: float = Field(0.25, ge=0, le=1)
    """fraction of these occluders that hide the whole picture"""

    @property
    def colours(self) -> bool:
        """Whether any colour is changed."""
        return max(self.brightness, self.contrast, self.saturation, self.hue) > 0

    @property
    def crops(self) -> bool:
        """Whether frames are cropped at random."""
        return self.crop_area_min < 1 or self.crop_aspect_max > 1

    @property
    def repeats(self) -> bool:
        """Whether a window has few different pixels over all epochs: as they are, or mirrored."""
        return not (self.crops or self.colours or self.blur_px or self.occluder_prob)


@dataclass(frozen=True)
class AugmentedFrames:
    """What `augment` made of a batch of windows."""

    pixels: Tensor  # [B, T, 3, H, W] in [0, 1]
    hidden: Tensor | None = None  # [B, T, H, W] bool: pixels of pasted occluders; None: none are pasted


def augment(frames: Tensor, uniforms: Tensor | None, size_px: int | tuple[int, int], config: AugmentConfig) -> AugmentedFrames:
    """Augment uint8 frames [B, T, H, W, 3]. The result has sides of `size_px`, or this height and width.

    uniforms: random numbers [B, UNIFORMS_PER_SAMPLE] in [0, 1). None only resizes the frames, as for held-out windows.
    Operations work in place, since no gradient is needed: on a CPU, augmentation takes a third of a small model's time.
    """
    size = (size_px, size_px) if isinstance(size_px, int) else size_px
    if uniforms is None:
        return AugmentedFrames(resize_frames(to_float(frames), size))
    area, aspect, x, y, flip, *colour, blur = uniforms[:, :PICTURE_UNIFORMS].unbind(1)
    if config.hflip_prob:
        flipped = (flip < config.hflip_prob)[:, None, None, None, None]
        frames = torch.where(flipped, frames.flip(3), frames)  # as bytes, which take a quarter of the memory of floats
    pixels = to_float(frames)
    if config.crops:
        pixels = _random_crop(pixels, area, aspect, x, y, size, config)
    else:
        pixels = resize_frames(pixels, size)
    if config.colours:
        pixels = _colour_jitter(pixels, colour, config)
    hidden = None
    if config.occluder_prob:
        pixels, hidden = paste_occluders(pixels, uniforms[:, PICTURE_UNIFORMS:], config.occluder_prob, config.occluder_whole)
    if config.blur_px:
        pixels = _gaussian_blur(pixels, blur * config.blur_px, config.blur_px)
    return AugmentedFrames(pixels, hidden)


def resize_frames(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize [B, T, 3, H, W] -> [B, T, 3, *size] (height, width), bilinear with antialiasing."""
    if frames.shape[-2:] == size:
        return frames
    flat = rearrange(frames, "b t c h w -> b (t c) h w")
    flat = F.interpolate(flat, size, mode="bilinear", antialias=True, align_corners=False)
    return rearrange(flat, "b (t c) h w -> b t c h w", c=3)


def _random_crop(
    frames: Tensor, area: Tensor, aspect: Tensor, x: Tensor, y: Tensor, size: tuple[int, int], config: AugmentConfig
) -> Tensor:
    """Crop a box of random area, aspect ratio and position, the same for all frames of a window."""
    area = config.crop_area_min + area * (1 - config.crop_area_min)
    ratio = torch.exp((2 * aspect - 1) * math.log(config.crop_aspect_max))
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = frames.new_zeros(len(frames), 2, 3)  # affine maps in coordinates from -1 to 1
    theta[:, 0, 0], theta[:, 1, 1] = width, height
    theta[:, 0, 2], theta[:, 1, 2] = (2 * x - 1) * (1 - width), (2 * y - 1) * (1 - height)
    flat = rearrange(frames, "b t c h w -> b (t c) h w")
    grid = F.affine_grid(theta, [len(flat), flat.shape[1], *size], align_corners=False)
    flat = F.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return rearrange(flat, "b (t c) h w -> b t c h w", c=3)


def _colour_jitter(frames: Tensor, uniforms: list[Tensor], config: AugmentConfig) -> Tensor:
    """Change brightness, contrast, saturation and hue, in this order.

    All four are affine functions of the colour, so a single matrix and shift per window apply them together.
    """
    brightness, contrast, saturation, hue = (
        strength * (2 * uniform - 1)[:, None, None]
        for strength, uniform in zip((config.brightness, config.contrast, config.saturation, config.hue), uniforms, strict=True)
    )
    eye = torch.eye(3, device=frames.device, dtype=frames.dtype)
    luma = constants_like(frames, LUMA).expand(3, 3)  # maps every colour to its grey
    saturate = (1 + saturation) * eye - saturation * luma
    matrix = _hue_rotation(2 * math.pi * hue) @ saturate * (1 + contrast) * (1 + brightness)  # [B, 3, 3]
    grey = luma @ frames.mean(dim=(1, 3, 4))[:, :, None] * (1 + brightness)  # mean grey of the window, [B, 3, 1]
    shift = -contrast * grey  # saturation and hue do not change a grey
    flat = rearrange(frames, "b t c h w -> b t c (h w)")
    coloured = torch.matmul(matrix[:, None], flat).add_(shift[:, None]).clamp_(0, 1)
    return coloured.view_as(frames)


def _hue_rotation(angle: Tensor) -> Tensor:
    """Rotation of colours about the grey axis by `angle` [B, 1, 1] in radians (Rodrigues' formula): [B, 3, 3]."""
    cross = constants_like(angle, (0, -1, 1, 1, 0, -1, -1, 1, 0)).view(3, 3) / math.sqrt(3)
    return angle.cos() * torch.eye(3, device=angle.device, dtype=angle.dtype) + angle.sin() * cross + (1 - angle.cos()) / 3


def _gaussian_blur(frames: Tensor, sigma_px: Tensor, max_sigma_px: float) -> Tensor:
    """Blur each window with its own standard deviation, sigma_px [B]; the kernel is wide enough for max_sigma_px."""
    radius = max(1, math.ceil(3 * max_sigma_px))
    offset = torch.arange(-radius, radius + 1, device=frames.device, dtype=frames.dtype)
    kernel = torch.exp(-0.5 * (offset / sigma_px.clamp(min=1e-3)[:, None]).square())
    kernel = kernel / kernel.sum(1, keepdim=True)  # [B, 2 radius + 1]
    batch, depth = len(frames), frames.shape[1] * 3
    weight = kernel.repeat_interleave(depth, 0)[:, None, None]  # one kernel per channel
    flat = rearrange(frames, "b t c h w -> 1 (b t c) h w")
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), mode="replicate"), weight, groups=batch * depth)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), mode="replicate"), weight.transpose(2, 3), groups=batch * depth)
    return rearrange(flat, "1 (b t c) h w -> b t c h w", b=batch, c=3)
