"""Scorers that look at pixels and know nothing: what any score must be seen beside. Pure numpy, exact.

All are quadratic in the frames, so that a film's Gram matrix of frames, whose entries are whole numbers, gives them all:
equal films get equal scores, to the last bit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eval.voe.surprise.windows import Window

Gram = NDArray[np.float64]


def frame_gram(frames: NDArray[np.uint8]) -> Gram:
    """uint8 [T, H, W, 3] -> [T, T] inner products; exact, since every sum is a whole number below 2^53."""
    rows = frames.reshape(len(frames), -1).astype(np.float64)
    return rows @ rows.T


def pixel_copy(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """Squared error of repeating the last frame seen, by latent step [steps]."""
    times, last = _times(window, f), window.cut - 1
    return _by_step(gram[times, times] - 2 * gram[times, last] + gram[last, last], f)


def pixel_extrapolation(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """Squared error of going on in a straight line from the last two frames seen, by latent step [steps]."""
    times, last = _times(window, f), window.cut - 1
    before = max(last - 1, window.start)
    k = times - last
    # |x - (1 + k) a + k b|^2 with a the last frame, b the one before
    return _by_step(
        gram[times, times]
        + (1 + k) ** 2 * gram[last, last]
        + k**2 * gram[before, before]
        - 2 * (1 + k) * gram[times, last]
        + 2 * k * gram[times, before]
        - 2 * (1 + k) * k * gram[last, before],
        f,
    )


def motion_energy(gram: Gram) -> NDArray[np.float64]:
    """Squared difference of neighbouring frames [T - 1], the first belonging to frame 1."""
    now = np.arange(1, len(gram))
    return gram[now, now] - 2 * gram[now, now - 1] + gram[now - 1, now - 1]


def _times(window: Window, f: int) -> NDArray[np.int64]:
    return np.arange(window.cut, window.cut + window.steps * f)


def _by_step(values: NDArray[np.float64], f: int) -> NDArray[np.float64]:
    return values.reshape(-1, f).sum(1)


def trajectory(latents: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Statistics of the path of latents [T, F] alone, by moment (from the third on, [T - 2]); they see no forecast.

    Length of the step, angle between steps (radians), change of the step, and what the best fixed linear rule for this
    path, z_t = a z_(t-1) + b z_(t-2), leaves.
    """
    step = np.diff(latents, axis=0)
    length = np.linalg.norm(step, axis=1)
    cosine = (step[1:] * step[:-1]).sum(1) / np.maximum(length[1:] * length[:-1], 1e-12)
    now, one, two = latents[2:], latents[1:-1], latents[:-2]
    rule = np.linalg.lstsq(np.stack([one.ravel(), two.ravel()], 1), now.ravel(), rcond=None)[0]
    return {
        "step": length[1:],
        "turning angle": np.arccos(np.clip(cosine, -1, 1)),
        "acceleration": np.linalg.norm(np.diff(step, axis=0), axis=1),
        "linear prediction": np.linalg.norm(now - rule[0] * one - rule[1] * two, axis=1),
    }
