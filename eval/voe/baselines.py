"""Scorers that know no physics, and one that reads the truth: what a model's score is compared with. Pure numpy.

A blind scorer gives a film a surprise without having learnt how things move. On spliced quadruplets those of them that
judge frames one by one, or that copy what was last seen in full occlusion, cannot be anywhere but at 50 %: every frame
stands in one possible and one impossible film. All sums here are sums of whole numbers, so that equal is equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]
GRID = 8  # a frame is 8 x 8 cells to the classifier


def prefix_only(frames: Frames, splice: int) -> float:
    """How much there is to see before the splice: ties on films with one context."""
    return float(frame_scores(frames[:splice]).sum())


def suffix_only(frames: Frames, splice: int) -> float:
    """How much there is to see from the splice on: ties on films with one outcome."""
    return float(frame_scores(frames[splice:]).sum())


def each_frame_alone(frames: Frames) -> float:
    """A sum over frames of something seen in each: sees nothing that lies between frames."""
    return float(frame_scores(frames).sum())


def frame_scores(frames: Frames) -> NDArray[np.int64]:
    """A whole number a frame [T], large where the picture is uneven: squared steps between neighbouring pixels."""
    wide = frames.astype(np.int64)
    return ((wide[:, 1:] - wide[:, :-1]) ** 2).sum((1, 2, 3)) + ((wide[:, :, 1:] - wide[:, :, :-1]) ** 2).sum((1, 2, 3))


def motion_energy(frames: Frames, lag: int) -> float:
    """Sum of |f[t + lag] - f[t]|."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[lag:] - wide[:-lag]).sum()) if lag < len(frames) else 0.0


def linear_extrapolation(frames: Frames, lag: int) -> float:
    """Sum of |f[t + 2 lag] - 2 f[t + lag] + f[t]|: the error of going on as before, pixel by pixel."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[2 * lag :] - 2 * wide[lag:-lag] + wide[: -2 * lag]).sum()) if 2 * lag < len(frames) else 0.0


def pixel_copy(frames: Frames, context_stop: int) -> float:
    """Error of repeating the context's last frame for the rest of the film; locked if the context ends in full occlusion."""
    wide = frames.astype(np.int64)
    return float(np.abs(wide[context_stop:] - wide[context_stop - 1]).sum())


def pixel_extrapolation(frames: Frames, context_stop: int) -> float:
    """Error of going on from the context's last two frames in a straight line, pixel by pixel."""
    wide = frames.astype(np.int64)
    steps = np.arange(1, len(frames) - context_stop + 1)[:, None, None, None]
    forecast = wide[context_stop - 1] + steps * (wide[context_stop - 1] - wide[context_stop - 2])
    return float(np.abs(wide[context_stop:] - np.clip(forecast, 0, 255)).sum())


BLIND: dict[str, Callable[[Frames], float]] = {
    "each frame alone": each_frame_alone,
    **{f"motion energy, lag {lag}": partial(motion_energy, lag=lag) for lag in (1, 2, 4, 8, 12, 16)},
    **{f"linear extrapolation, lag {lag}": partial(linear_extrapolation, lag=lag) for lag in (1, 2, 4, 8)},
}
"""Scorers of a whole film that need to know nothing about it."""


@dataclass(frozen=True)
class FrameClassifier:
    """A ridge classifier of single frames, taught which films are impossible: finds what leaks into any one frame."""

    mean: NDArray[np.float64]
    weights: NDArray[np.float64]

    @classmethod
    def fit(cls, features: NDArray[np.float64], impossible: NDArray[np.bool_], ridge: float = 1e-2) -> FrameClassifier:
        """From features [N, F] of frames of other quadruplets, and whether the film of each was impossible [N]."""
        mean = features.mean(0)
        centred = features - mean
        target = np.where(impossible, 1.0, -1.0)
        gram = centred.T @ centred / len(centred) + ridge * np.eye(centred.shape[1])
        return cls(mean, np.linalg.solve(gram, centred.T @ (target - target.mean()) / len(centred)))

    def surprise(self, features: NDArray[np.float64]) -> float:
        """Of a film whose frames have these features [T, F]: a sum over frames, each rounded to a millionth, so that
        equal frames count equally in any film."""
        scores = np.einsum("tf,f->t", features - self.mean, self.weights)
        return float(np.round(scores * 1e6).astype(np.int64).sum())


def frame_features(frames: Frames) -> NDArray[np.float64]:
    """[N, H, W, 3] -> mean and spread of each channel in GRID x GRID cells [N, GRID * GRID * 6], about 0 to 1."""
    count, height, width, _ = frames.shape
    rows = np.linspace(0, height, GRID + 1).astype(int)
    columns = np.linspace(0, width, GRID + 1).astype(int)
    cells = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            cell = frames[:, top:bottom, left:right].reshape(count, -1, 3) / 255
            cells += [cell.mean(1), cell.std(1)]
    return np.concatenate(cells, axis=1)
