"""Randomised looks: a rendered video is painted anew, entity by entity, while its motion stays the same.

The segmentation says which entity each pixel shows. Every entity gets one random colour for the whole
video, and the backdrop a random pattern, so that what moves behind what is as sharp as before. What is
kept of the shading, its textures and shadows, is random too: from nothing (flat paint) to all of it.
A model that is trained on such videos cannot rely on the look of one renderer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MIN_CONTRAST = 0.35  # least distance in RGB between the colours of two entities, and to the mean of the backdrop
ATTEMPTS = 50
FLAT_PROBABILITY = 0.4  # of paint without any shading
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def repaint(frames: NDArray[np.uint8], segmentation: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Paint a video anew: frames [T, H, W, 3] and the entity of each pixel [T, H, W] -> [T, H, W, 3].

    Entity 0 is the backdrop, which must not move in the picture.
    """
    backdrop = _backdrop(rng, frames.shape[1])
    entities = [int(entity) for entity in np.unique(segmentation) if entity]
    used = [backdrop.mean((0, 1))]
    kept = 0.0 if rng.random() < FLAT_PROBABILITY else float(rng.uniform(0.2, 1.0))
    luma = frames.astype(np.float32) @ LUMA / np.float32(255)
    is_soft = rng.random() < 0.7
    painted = np.zeros(frames.shape, np.float32)
    for entity in (0, *entities):
        mask = segmentation == entity
        if entity:
            used.append(_distinct_colour(rng, used))
        paint = used[-1] if entity else backdrop
        mean = float(luma[mask].mean()) if mask.any() else 1.0
        shading = 1 + np.float32(kept) * (np.where(mask, luma, mean) / np.float32(max(mean, 0.02)) - 1)
        weight = _soften(mask.astype(np.float32)) if is_soft else mask.astype(np.float32)
        painted += (weight * np.minimum(shading, 1.6))[..., None] * paint
    return (np.clip(painted, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def _distinct_colour(rng: np.random.Generator, used: list[Floats]) -> Floats:
    """A random colour that differs from those in use; the most different one of many where none does enough."""
    best, best_gap = used[0], -1.0
    for _ in range(ATTEMPTS):
        colour = rng.random(3).astype(np.float32)
        gap = min(float(np.sqrt(((colour - other) ** 2).sum())) for other in used)
        if gap > best_gap:
            best, best_gap = colour, gap
        if gap >= MIN_CONTRAST:
            break
    return best


def _soften(mask: Floats) -> Floats:
    """Smooth the edges of a mask [T, H, W] with the weights 1, 6, 1 along both axes. Masks that add up to 1 still do."""
    for axis in (1, 2):
        padded = np.pad(mask, [(0, 0), *((1, 1) if axis == other else (0, 0) for other in (1, 2))], mode="edge")
        length = mask.shape[axis]
        before, after = (np.take(padded, range(first, first + length), axis) for first in (0, 2))
        mask = (before + 6 * mask + after) / np.float32(8)
    return mask


def _backdrop(rng: np.random.Generator, size_px: int) -> Floats:
    """A random picture [H, W, 3] of two colours, often with a floor of a third one."""
    first = rng.random(3).astype(np.float32)
    second = np.clip(first + rng.normal(0, 0.22, 3), 0, 1).astype(np.float32)
    pattern = PATTERNS[int(rng.integers(len(PATTERNS)))]
    weight = pattern(rng, size_px)[..., None]
    picture = (1 - weight) * first + weight * second
    if rng.random() < 0.6:
        floor = np.clip(first + rng.normal(0, 0.25, 3), 0, 1).astype(np.float32)
        top = int(rng.uniform(0.5, 0.95) * size_px)
        picture[top:] = 0.3 * picture[top:] + 0.7 * floor
    return picture.astype(np.float32)


def _plain(rng: np.random.Generator, size_px: int) -> Floats:
    return np.zeros((size_px, size_px), np.float32)


def _slope(rng: np.random.Generator, size_px: int) -> Floats:
    """A gradient in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px - 0.5
    return np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1).astype(np.float32)


def _waves(rng: np.random.Generator, size_px: int) -> Floats:
    """Stripes in a random direction, soft or sharp."""
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.08, 0.35)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    wave = np.sin(2 * np.pi * ((np.cos(angle) * x + np.sin(angle) * y) / period + rng.random()))
    return np.clip(0.5 + rng.choice((0.5, 2.0)) * wave, 0, 1).astype(np.float32)


def _tiles(rng: np.random.Generator, size_px: int) -> Floats:
    """Tiles of random weights."""
    count = int(rng.integers(3, 9))
    index = np.arange(size_px) * count // size_px
    return rng.random((count, count))[index[:, None], index[None]].astype(np.float32)


def _clouds(rng: np.random.Generator, size_px: int) -> Floats:
    """Random values on grids of 3, 6, 12 and 24 points per side, interpolated and added with falling weights."""
    total, at = np.zeros((size_px, size_px)), (np.arange(size_px) + 0.5) / size_px
    for octave, points in enumerate((3, 6, 12, 24)):
        grid, position = rng.random((points, points)), at * (points - 1)
        low = np.minimum(position.astype(int), points - 2)
        share = position - low
        rows = grid[low] * (1 - share[:, None]) + grid[low + 1] * share[:, None]
        total += (rows[:, low] * (1 - share) + rows[:, low + 1] * share) * 0.6**octave
    total = (total - total.mean()) / max(4 * total.std(), 1e-6) + 0.5
    return np.clip(total, 0, 1).astype(np.float32)


PATTERNS: tuple[Callable[[np.random.Generator, int], Floats], ...] = (_plain, _slope, _waves, _tiles, _clouds, _clouds)
