"""Baselines without a forecast: pixel copies, motion energy, the path of latents. Pure numpy.

All pixel baselines are quadratic in the frames, so the Gram matrix of a video's frames
determines them. Its entries are whole numbers: equal videos have exactly equal scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eval.voe.surprise.windows import Window

Gram = NDArray[np.float64]


def frame_gram(frames: NDArray[np.uint8]) -> Gram:
    """uint8 [T, H, W, 3] -> inner products of frames [T, T].

    Exact, because every sum is a whole number below 2^53.
    """
    rows = frames.reshape(len(frames), -1).astype(np.float64)
    return rows @ rows.T


def pixel_copy(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """Squared error of repeating the last context frame, per latent step of f frames [steps]."""
    return _per_step(_distances(gram, _forecast_frames(window, f), window.cut - 1), f)


def pixel_extrapolation(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """Squared error of a line through the last two context frames, per latent step [steps]."""
    times, last = _forecast_frames(window, f), window.cut - 1
    before = max(last - 1, window.start)
    k = times - last
    # |x - (1 + k) a + k b|^2 with a the last frame and b the one before
    return _per_step(
        gram[times, times]
        + (1 + k) ** 2 * gram[last, last]
        + k**2 * gram[before, before]
        - 2 * (1 + k) * gram[times, last]
        + 2 * k * gram[times, before]
        - 2 * (1 + k) * k * gram[last, before],
        f,
    )


def visible_copy(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """Squared error of repeating the last visible frame of the context, per latent step [steps].

    It is for windows that end in occlusion (see `last_visible_frame`).
    """
    return _per_step(_distances(gram, _forecast_frames(window, f), last_visible_frame(gram, window)), f)


def motion_change(gram: Gram, window: Window, f: int) -> NDArray[np.float64]:
    """How far motion after the occlusion differs from motion before it, the same for each latent step [steps].

    Motion is the mean squared difference of neighbouring frames: up to the last visible frame of the
    context, and from the first forecast frame on that differs from the end of the context.
    """
    times = _forecast_frames(window, f)
    shown_again = np.flatnonzero(_distances(gram, times, window.cut - 1))
    first_seen_again = times[shown_again[0]] if len(shown_again) else window.cut
    before = _motion(gram, window.start, last_visible_frame(gram, window) + 1)
    after = _motion(gram, int(first_seen_again), window.cut + len(times))
    return np.full(window.steps, abs(after - before))


def last_visible_frame(gram: Gram, window: Window) -> int:
    """The last context frame that differs from the end of the context; the end where all frames are equal.

    While everything that moves is hidden, the picture does not change.
    """
    times = np.arange(window.start, window.cut)
    different = np.flatnonzero(_distances(gram, times, window.cut - 1))
    return int(times[different[-1]]) if len(different) else window.cut - 1


def motion_energy(gram: Gram) -> NDArray[np.float64]:
    """Squared difference of neighbouring frames [T - 1]. The first value belongs to frame 1."""
    now = np.arange(1, len(gram))
    return gram[now, now] - 2 * gram[now, now - 1] + gram[now - 1, now - 1]


def _distances(gram: Gram, times: NDArray[np.int64], frame: int) -> NDArray[np.float64]:
    """Squared differences of frames from one frame; exactly 0 for equal frames."""
    return gram[times, times] - 2 * gram[times, frame] + gram[frame, frame]


def _motion(gram: Gram, start: int, stop: int) -> float:
    """Mean squared difference of neighbouring frames in [start, stop); 0 for fewer than two frames."""
    return float(motion_energy(gram[start:stop, start:stop]).mean()) if stop - start > 1 else 0.0


def _forecast_frames(window: Window, f: int) -> NDArray[np.int64]:
    return np.arange(window.cut, window.cut + window.steps * f)


def _per_step(values: NDArray[np.float64], f: int) -> NDArray[np.float64]:
    return values.reshape(-1, f).sum(1)


def path_statistics(latents: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Statistics of the path of latents [T, F], by name, from the third step on [T - 2].

    step length: norm of the change from the step before. turning angle: angle between two changes,
    in radians. acceleration: norm of the change of the change. linear prediction: norm of the
    residual z_t - a z_(t-1) - b z_(t-2), with the a and b that fit this path best.
    """
    change = np.diff(latents, axis=0)
    length = np.linalg.norm(change, axis=1)
    cosine = (change[1:] * change[:-1]).sum(1) / np.maximum(length[1:] * length[:-1], 1e-12)
    now, one, two = latents[2:], latents[1:-1], latents[:-2]
    rule = np.linalg.lstsq(np.stack([one.ravel(), two.ravel()], 1), now.ravel(), rcond=None)[0]
    return {
        "step length": length[1:],
        "turning angle": np.arccos(np.clip(cosine, -1, 1)),
        "acceleration": np.linalg.norm(np.diff(change, axis=0), axis=1),
        "linear prediction": np.linalg.norm(now - rule[0] * one - rule[1] * two, axis=1),
    }
