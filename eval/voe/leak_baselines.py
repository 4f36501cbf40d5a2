"""Scorers without any physics. On a suite that leaks no labels they are at chance. Pure numpy.

All but `last_velocity_kept` score whole videos by absolute differences of pixels (L1). The pixel
baselines of an evaluation (`eval.voe.surprise.pixel_baselines`) score the windows of that evaluation by
squared differences instead. In spliced quadruplets each frame is part of one possible and one
impossible video, so that scorers of single frames, and copies of a frame in full occlusion, are at
50 % exactly. All sums are sums of whole numbers: equal videos have equal scores.
`last_velocity_kept` reads the ground truth, and knows inertia and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
GRID = 8  # the classifier sees a frame as 8 x 8 cells


def prefix_only(frames: Frames, splice_frame: int) -> float:
    """Contrast of the frames before the splice. Videos of one context tie."""
    return float(frame_contrast(frames[:splice_frame]).sum())


def suffix_only(frames: Frames, splice_frame: int) -> float:
    """Contrast of the frames from the splice on. Videos of one outcome tie."""
    return float(frame_contrast(frames[splice_frame:]).sum())


def each_frame_alone(frames: Frames) -> float:
    """Contrast of all frames. It does not use changes between frames."""
    return float(frame_contrast(frames).sum())


def frame_contrast(frames: Frames) -> NDArray[np.int64]:
    """Sum of squared differences between neighbouring pixels of each frame [T]."""
    wide = frames.astype(np.int64)
    return ((wide[:, 1:] - wide[:, :-1]) ** 2).sum((1, 2, 3)) + ((wide[:, :, 1:] - wide[:, :, :-1]) ** 2).sum((1, 2, 3))


def l1_motion(frames: Frames, lag: int) -> float:
    """Sum of |f[t + lag] - f[t]|."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[lag:] - wide[:-lag]).sum()) if lag < len(frames) else 0.0


def l1_linear_extrapolation(frames: Frames, lag: int) -> float:
    """Sum of |f[t + 2 lag] - 2 f[t + lag] + f[t]|: the error of continuing in a straight line."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[2 * lag :] - 2 * wide[lag:-lag] + wide[: -2 * lag]).sum()) if 2 * lag < len(frames) else 0.0


def l1_context_copy(frames: Frames, context_stop: int) -> float:
    """Error of repeating the context's last frame for the rest of the video."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[context_stop:] - wide[context_stop - 1]).sum())


def l1_context_extrapolation(frames: Frames, context_stop: int) -> float:
    """Error of a straight line through the context's last two frames, clipped to 0..255."""
    wide = frames.astype(np.int64)
    steps = np.arange(1, len(frames) - context_stop + 1)[:, None, None, None]
    forecast = wide[context_stop - 1] + steps * (wide[context_stop - 1] - wide[context_stop - 2])
    return float(np.abs(wide[context_stop:] - np.clip(forecast, 0, 255)).sum())


def last_velocity_kept(truth: Mapping[str, NDArray], occlusion: tuple[int, int], frames: int | None = None) -> float:
    """How far bodies are from where the velocity of the last two seen frames would have taken them.

    Each body goes on until the edge of the range in which it was seen (a wall, the floor), and stays
    there. It knows neither that bodies bounce nor how long their period is.

    truth: the arrays of a ground-truth file. occlusion: the frames [start, stop) in which nothing is
    seen. frames: that are compared, from `stop` on; None: up to the end of the video. Returns the sum
    of the distances over bodies and frames: metres, and for a body that turns where it stands,
    radians about its vertical axis. It is rounded to a millionth, so that rounding errors are ties.
    """
    last, reveal = occlusion[0] - 1, occlusion[1]
    total = 0.0
    for index in np.flatnonzero(~truth["fixed"]):
        state = truth["position_m"][:, index]  # [T, 3]
        if not np.ptp(state[: last + 1], axis=0).any():
            w, z = truth["quaternion"][:, index, [0, 3]].T
            state = 2 * np.arctan2(z, w)[:, None]  # [T, 1]
        seen = state[: last + 1][truth["visible_px"][: last + 1, index] > 0]
        later = state[reveal:][:frames]
        steps = np.arange(reveal - last, reveal - last + len(later))[:, None]
        forecast = np.clip(state[last] + steps * (state[last] - state[last - 1]), seen.min(0), seen.max(0))
        total += float(np.linalg.norm(later - forecast, axis=1).sum())
    return round(total, 6)


WHOLE_VIDEO: dict[str, Callable[[Frames], float]] = {
    "each frame alone": each_frame_alone,
    **{f"L1 motion, lag {lag}": partial(l1_motion, lag=lag) for lag in (1, 2, 4, 8, 12, 16)},
    **{f"L1 linear extrapolation, lag {lag}": partial(l1_linear_extrapolation, lag=lag) for lag in (1, 2, 4, 8)},
}
"""Scorers that need nothing but the video."""


@dataclass(frozen=True)
class FrameClassifier:
    """Ridge classifier of single frames, fitted on which videos are impossible.

    It detects labels that leak into single frames.
    """

    mean: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], impossible: NDArray[np.bool_], ridge: float = 1e-2) -> FrameClassifier:
        """Fit on features [N, F] of frames, and on whether the video of each is impossible [N]."""
        mean = features.mean(0)
        centred = features - mean
        target = np.where(impossible, 1.0, -1.0)
        gram = centred.T @ centred / len(centred) + ridge * np.eye(centred.shape[1])
        return cls(mean, np.linalg.solve(gram, centred.T @ (target - target.mean()) / len(centred)))

    def surprise(self, features: NDArray[np.float64]) -> float:
        """Surprise of a video whose frames have these features [T, F].

        It is a sum over frames, each rounded to a millionth, so that equal frames count equally in
        any video.
        """
        scores = np.einsum("tf,f->t", features - self.mean, self.weights)
        return float(np.round(scores * 1e6).astype(np.int64).sum())


def frame_features(frames: Frames) -> NDArray[np.float64]:
    """Mean and standard deviation of each channel in GRID x GRID cells, about 0 to 1.

    [N, H, W, 3] -> [N, GRID * GRID * 6].
    """
    count, height, width, _ = frames.shape
    rows = np.linspace(0, height, GRID + 1).astype(int)
    columns = np.linspace(0, width, GRID + 1).astype(int)
    cells = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = frames[:, top:bottom, left:right].reshape(count, -1, 3) / 255
            cells += [cell.mean(1), cell.std(1)]
    return np.concatenate(cells, axis=1)
