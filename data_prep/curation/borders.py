"""Detection of dark borders (letterbox and pillarbox)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.curation.recipe import BorderConfig

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
