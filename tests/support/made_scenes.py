"""Synthetic scenes in place of real video: noise that stands still, before which a square moves."""

import numpy as np

SIZE_PX = 32


def scene(frames: int, seed: int = 0, size_px: int = SIZE_PX) -> np.ndarray:
    """uint8 [T, H, W, 3]. The seed chooses background, colour and path; the path never repeats itself."""
    rng = np.random.default_rng(seed)
    background = np.kron(rng.integers(40, 216, (size_px // 8, size_px // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    colour = rng.integers(0, 256, 3)
    pictures = np.repeat(background[None], frames, axis=0)
    side, spare = size_px // 3, size_px - size_px // 3
    for time, picture in enumerate(pictures):
        left = round(spare * (0.5 + 0.5 * np.sin(0.37 * time + seed)))
        top = round(spare * (0.5 + 0.5 * np.sin(0.23 * time + 2 * seed)))
        picture[top : top + side, left : left + side] = colour
    return pictures
