"""Detection of hard camera cuts from the frames of a video.

The change of a frame is the mean absolute difference to the frame before, in brightness and colour.
Its score adds the distance of their histograms of brightness, which motion hardly changes. A cut is a
frame whose score is large, and much larger than the scores around it, so that fast motion and a moving
camera are no cuts. Between pictures of one static camera, scores are small: there, a cut is a frame whose
change is much larger than the largest one around it. Fades and dissolves: see transitions.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodel.config import Config

CELLS = 32  # frames are compared as pictures of at most 32 x 32 cells
HISTOGRAM_WEIGHT = 40.0  # grey levels that a histogram distance of 1 is worth
BINS = 16  # of a histogram
STILL_CHANGE = 0.5  # least change that others are compared with, in grey levels
FLOOR = 1.0  # least score that others are compared with, so that noise in a still picture is no cut


class CutConfig(Config):
    """When a change between two frames is a cut."""

    min_score: float = 16.0
    """least score of a cut: its change in grey levels of 255, and its histogram distance from 0 to 40"""
    min_ratio: float = 2.5
    """least ratio of a cut's score to the mean score of the frames around it"""
    neighbours: int = 4
    """number of frames before, and of frames after, whose scores a score is compared with"""


class StaticCutConfig(Config):
    """When a change between two pictures of one static camera is a cut."""

    min_change: float = 2.0
    """least change of a cut, in grey levels of 255"""
    min_ratio: float = 2.5
    """least ratio of a cut's change to the largest change of the frames around it"""
    neighbours: int = 8
    """number of frames before, and of frames after, whose changes a change is compared with"""


@dataclass(frozen=True)
class Changes:
    """How each frame differs from the frame before: [T]. The first values are 0."""

    change: NDArray[np.float64]  # mean absolute difference of brightness and two colour differences, in grey levels
    score: NDArray[np.float64]  # the change, and the weighted distance of the histograms


def measure_changes(frames: NDArray[np.uint8]) -> Changes:
    """Compare each frame with the one before. frames: [T, H, W, 3]."""
    cells = _to_colour_differences(reduced(frames))
    change = np.abs(np.diff(cells, axis=0)).mean((1, 2, 3)).astype(np.float64)
    brightness = cells[..., 0]
    histograms = np.stack([np.histogram(picture, BINS, (0, 256))[0] / picture.size for picture in brightness])
    distance = np.abs(np.diff(histograms, axis=0)).sum(1) / 2
    return Changes(np.concatenate([[0.0], change]), np.concatenate([[0.0], change + HISTOGRAM_WEIGHT * distance]))


def find_cuts(score: NDArray[np.float64], config: CutConfig) -> list[int]:
    """The first frame of every shot but the first. score: [T], see Changes."""
    found = []
    for frame in range(1, len(score)):
        if score[frame] < config.min_score:
            continue
        before = score[max(1, frame - config.neighbours) : frame]
        after = score[frame + 1 : frame + 1 + config.neighbours]
        around = np.concatenate([before, after])
        least = max(FLOOR, float(around.mean())) if len(around) else FLOOR
        if score[frame] >= config.min_ratio * least:
            found.append(frame)
    return found


def find_static_cuts(change: NDArray[np.float64], config: StaticCutConfig) -> list[int]:
    """The first frame of every shot but the first, also where a static camera goes on. change: [T], see Changes.

    A flash is none: the picture changes twice. Steps of a video with few pictures a second are none as long
    as two of them are among the frames that are compared.
    """
    found = []
    for frame in range(1, len(change)):
        if change[frame] < config.min_change:
            continue
        before = change[max(1, frame - config.neighbours) : frame]
        around = np.concatenate([before, change[frame + 1 : frame + 1 + config.neighbours]])
        if len(around) and change[frame] >= config.min_ratio * max(STILL_CHANGE, float(around.max())):
            found.append(frame)
    return found


def reduced(frames: NDArray[np.uint8], cells: int = CELLS) -> NDArray[np.float32]:
    """Frames as means over cells of equal size, `cells` to twice as many on a side.

    What remains at the right and lower edge is cut off.
    """
    count, height, width, _ = frames.shape
    rows, columns = max(1, height // cells), max(1, width // cells)
    kept = frames[:, : height // rows * rows, : width // columns * columns]
    shape = (count, height // rows, rows, width // columns, columns, 3)
    return kept.reshape(shape).mean((2, 4), dtype=np.float32)


def _to_colour_differences(rgb: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness, and the differences of blue and of red to it (as in ITU-R BT.601, not scaled)."""
    brightness = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([brightness, rgb[..., 2] - brightness, rgb[..., 0] - brightness], axis=-1)
