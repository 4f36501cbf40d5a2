"""Planes Y, U and V, or RGB frames -> RGB frames of another size, by torch.

Both steps are the linear maps that the default reader applies (swscale: chroma samples repeated, colour conversion at full
size, area average or bilinear resize), but in the other order and without rounding in between. The result differs from the
default by less than one grey level on average; docs/speed_reading.md has the numbers.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from worldmodel.video.planes import FrameLayout, Matrix

# Weights of red and blue in luma: ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance)
_LUMA: dict[Matrix, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}


def rgb_of_planes(planes: Tensor, layout: FrameLayout, size: tuple[int, int]) -> Tensor:
    """Convert frames uint8 [N, bytes] with planes of this layout to RGB of `size` (height, width): uint8 [N, *size, 3]."""
    (height, width), chroma = (layout.height, layout.width), layout.chroma_px
    sizes = [height * width, math.prod(chroma), math.prod(chroma)]
    luma, *differences = planes[:, : sum(sizes)].split(sizes, dim=1)
    y = _resized(luma.unflatten(1, (height, width)), (height, width), size)
    u, v = (_resized(part.unflatten(1, chroma), (height, width), size) for part in differences)
    return _rgb(y, u, v, layout)


def resized_rgb(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize RGB frames [..., H, W, 3] of any type to float [..., *size, 3] by the filters of the default reader."""
    height, width = frames.shape[-3:-1]
    planes = frames.movedim(-1, -3).flatten(0, -3)
    return _resized(planes, (height, width), size).unflatten(0, (*frames.shape[:-3], 3)).movedim(-3, -1)


def _rgb(y: Tensor, u: Tensor, v: Tensor, layout: FrameLayout) -> Tensor:
    """Colour conversion (ITU-R BT.601, section 2.5, and BT.709, section 3): float [N, H, W] each -> uint8 [N, H, W, 3]."""
    assert layout.matrix is not None
    red, blue = _LUMA[layout.matrix]
    green = 1 - red - blue
    black, luma_range, chroma_range = (0.0, 255.0, 255.0) if layout.full_range else (16.0, 219.0, 224.0)
    y = (y - black).mul_(255 / luma_range)
    u, v = ((part - 128).mul_(255 / chroma_range) for part in (u, v))
    # swscale rounds each product down, so it loses half a grey level on average where a product is not 0. So does this: the
    # conversion to bytes rounds down once, and half a level is taken off for each product of chroma.
    y, lost_u, lost_v = y.add_(1e-2), (u != 0) * 0.5, (v != 0) * 0.5
    rgb = torch.empty(*y.shape, 3, dtype=torch.uint8, device=y.device)
    channels = (
        y + 2 * (1 - red) * v - lost_v,
        y - 2 * blue * (1 - blue) / green * u - 2 * red * (1 - red) / green * v - lost_u - lost_v,
        y + 2 * (1 - blue) * u - lost_u,
    )
    for index, channel in enumerate(channels):
        rgb[..., index] = channel.clamp_(0, 255)
    return rgb


def _resized(plane: Tensor, full: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Resize planes [N, h, w] of frames of size `full` to float [N, *size]. Planes of chroma have half that size."""
    shrinks = size[0] <= full[0] and size[1] <= full[1]
    plane = plane.float()
    for axis in (0, 1):  # height first: rows are in one piece
        weights = _weights(full[axis], plane.shape[1 + axis], size[axis], shrinks, plane.device)
        if weights is not None:
            plane = weights @ plane if axis == 0 else plane @ weights.T
    return plane


@lru_cache(maxsize=256)
def _weights(full: int, samples: int, size: int, shrinks: bool, device: torch.device) -> Tensor | None:
    """Matrix [size, samples] that resizes one axis; None if that does not change. Made once per size and device.

    full: pixels of the frame along the axis. samples: of the plane, `full` or half of it.
    """
    if samples == full == size:
        return None
    weights = _area_weights(full, size) if shrinks else _bilinear_weights(full, size)
    if samples != full:  # each sample of chroma stands for two pixels
        weights = np.add.reduceat(weights, np.arange(0, full, 2), axis=1)
    return torch.from_numpy(weights.astype(np.float32)).to(device)


def _area_weights(full: int, size: int) -> np.ndarray:
    """Average over the pixels that an output pixel covers, [size, full]; rows sum to 1."""
    scale = full / size
    begin = np.arange(size)[:, None] * scale
    pixel = np.arange(full)[None, :]
    overlap = np.minimum(begin + scale, pixel + 1) - np.maximum(begin, pixel)
    return np.clip(overlap, 0, None) / scale


def _bilinear_weights(full: int, size: int) -> np.ndarray:
    """Linear interpolation between pixel centres, [size, full], with a wider filter where the axis shrinks; rows sum to 1."""
    scale = full / size
    reach = max(1.0, scale)
    centre = (np.arange(size) + 0.5) * scale - 0.5
    weights = np.zeros((size, full))
    first = np.floor(centre - reach).astype(int)
    for step in range(math.ceil(2 * reach) + 2):
        pixel = first + step
        share = np.clip(1 - np.abs(pixel - centre) / reach, 0, None)
        np.add.at(weights, (np.arange(size), np.clip(pixel, 0, full - 1)), share)
    return weights / weights.sum(1, keepdims=True)
