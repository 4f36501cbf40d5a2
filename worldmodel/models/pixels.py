"""Conversion of frames from bytes to standardised floats, and back."""

from __future__ import annotations

import torch
from torch import Tensor

from worldmodel.process.devices import constants_like

PIXEL_MEAN = (0.485, 0.456, 0.406)  # of ImageNet, the convention for vision models
PIXEL_STD = (0.229, 0.224, 0.225)


def to_float(frames: Tensor) -> Tensor:
    """uint8 [B, T, H, W, 3] -> float32 [B, T, 3, H, W] in [0, 1]."""
    planes = frames.permute(0, 1, 4, 2, 3)
    return planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def standardise_(frames: Tensor) -> Tensor:
    """In place: float [B, T, 3, H, W] in [0, 1], minus the mean and divided by the deviation of each colour."""
    mean = constants_like(frames, PIXEL_MEAN)[:, None, None]
    std = constants_like(frames, PIXEL_STD)[:, None, None]
    return frames.sub_(mean).div_(std)


def unstandardise(frames: Tensor) -> Tensor:
    """The inverse of `standardise_`, as a new tensor: float [B, T, 3, H, W] -> [0, 1]."""
    mean = constants_like(frames, PIXEL_MEAN)[:, None, None]
    std = constants_like(frames, PIXEL_STD)[:, None, None]
    return frames * std + mean
