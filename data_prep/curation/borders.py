"""Detection of dark borders (letterbox and pillarbox)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from data_prep.curation.recipe import BorderConfig

BRIGHT_SHARE = 0.02  # of a row or column of the file; less is noise of the compression

Borders = tuple[float, float, float, float]
"""Widths of the borders at the top, bottom, left and right, as shares of the height or width."""


def find_borders(brightest: NDArray[np.float32], config: BorderConfig) -> Borders:
    """The dark borders of a video.

    brightest: [H, W], the brightest grey level of each pixel over all frames that are examined.
    Borders lie on two opposite sides. A dark scene is no border: where less than half of the picture
    would remain, there is none.
    """
    rows, columns = brightest.max(1) > config.max_level, brightest.max(0) > config.max_level
    if not rows.any():
        return 0.0, 0.0, 0.0, 0.0
    height, width = brightest.shape
    top, bottom = int(rows.argmax()) / height, int(rows[::-1].argmax()) / height
    left, right = int(columns.argmax()) / width, int(columns[::-1].argmax()) / width
    if (1 - top - bottom) * (1 - left - right) < 0.5:
        return 0.0, 0.0, 0.0, 0.0
    # a dark part of the scene lies on one side only
    if min(top, bottom) < config.min_share:
        top = bottom = 0.0
    if min(left, right) < config.min_share:
        left = right = 0.0
    return top, bottom, left, right


def sharpen_borders(
    samples: Iterable[NDArray[np.float32]], borders: Borders, shape: tuple[int, int], config: BorderConfig
) -> Borders:
    """The borders to the pixel of the file, where `find_borders` knows them to a row or column of small pictures.

    samples: brightness [H, W] of some frames at full size. shape: height and width of the small pictures.
    A row of the file belongs to the picture if a part of it is bright in one of the samples.
    """
    brightest: NDArray[np.float32] | None = None
    for sample in samples:
        brightest = sample if brightest is None else np.maximum(brightest, sample)
    if brightest is None:
        return borders
    bright = brightest > config.max_level
    rows, columns = bright.mean(1) > BRIGHT_SHARE, bright.mean(0) > BRIGHT_SHARE
    top, bottom, left, right = borders
    return (
        _sharpen(rows, top, shape[0]),
        _sharpen(rows[::-1], bottom, shape[0]),
        _sharpen(columns, left, shape[1]),
        _sharpen(columns[::-1], right, shape[1]),
    )


def _sharpen(bright: NDArray[np.bool_], share: float, cells: int) -> float:
    """A border at the start of `bright` [pixels], sought within a cell of the share that is known."""
    if not share:
        return 0.0
    length = len(bright)
    first, last = max(0, math.floor((share - 1 / cells) * length)), min(length, math.ceil((share + 1 / cells) * length))
    found = np.flatnonzero(bright[first:last])
    return (first + int(found[0])) / length if len(found) else share
