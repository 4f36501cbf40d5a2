"""Backgrounds: walls that are plain, shaded, striped, or covered with the noise of natural pictures, above a floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.physics.worlds.flat.scenes import Background

FLOOR_FRACTION = 0.125  # of the height of the picture
Floats = NDArray[np.float32]


def draw_background(background: Background, size_px: int) -> Floats:
    """The background as [H, W, 3], 0 to 1."""
    rng = np.random.Generator(np.random.Philox(key=background.seed))
    weight = _second_colour(background, rng, size_px)[..., None]
    wall, second = (np.asarray(colour, np.float32) for colour in (background.wall_rgb, background.second_rgb))
    picture = (1 - weight) * wall + weight * second
    centres = (np.arange(size_px, dtype=np.float32) + 0.5) / size_px
    for _ in range(background.ornaments):
        x, y, half = rng.uniform(0.08, 0.92), rng.uniform(0.06, 0.3), rng.uniform(0.04, 0.07)
        inside = np.maximum(np.abs(centres[None, :] - x), np.abs(centres[:, None] - y)) - half
        cover = np.clip(0.5 - inside * size_px, 0, 1)[..., None].astype(np.float32)
        picture = picture * (1 - 0.35 * cover) + 0.35 * cover * np.float32(rng.uniform(0.3, 0.95))
    floor = np.clip((centres - (1 - FLOOR_FRACTION)) * size_px + 0.5, 0, 1)[:, None, None]
    return (picture * (1 - floor) + np.asarray(background.floor_rgb, np.float32) * floor).astype(np.float32)


def _second_colour(background: Background, rng: np.random.Generator, size_px: int) -> Floats:
    """Weight [H, W] of the second colour, 0 to 1."""
    if background.kind == "plain":
        return np.zeros((size_px, size_px), np.float32)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32) / np.float32(size_px)
    if background.kind == "gradient":
        return np.asarray(y, np.float32)
    if background.kind == "stripes":
        angle, period = rng.uniform(0, np.pi), rng.uniform(0.1, 0.25)
        wave = np.sin((np.cos(angle) * x + np.sin(angle) * y) * 2 * np.pi / period)
        return np.clip(0.5 + wave * period * size_px / (2 * np.pi), 0, 1).astype(np.float32)
    return _natural_noise(rng, size_px)


def _natural_noise(rng: np.random.Generator, size_px: int) -> Floats:
    """Noise whose amplitude falls with the frequency f as 1/f, as in photographs (Field 1987)."""
    frequency = np.hypot(np.fft.fftfreq(size_px)[:, None], np.fft.rfftfreq(size_px)[None, :])
    frequency[0, 0] = np.inf
    phase = rng.uniform(0, 2 * np.pi, frequency.shape)
    noise = np.fft.irfft2(np.exp(1j * phase) / frequency, (size_px, size_px))
    noise = noise / (2.5 * noise.std())
    return np.clip(0.5 + noise, 0, 1).astype(np.float32)
