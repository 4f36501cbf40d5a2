"""Results of casting the rays of one frame: what does not move, and what moves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StaticLayer:
    """What does not move, cast and lit for one pose of camera and lamps.

    R rays, L lamps, K rays whose points some lamp reaches.
    """

    geom: NDArray[np.int32]  # [R], -1 for the sky
    distance_m: NDArray[np.float64]  # [R], inf for the sky
    ambient_rgb: NDArray[np.float32]  # [R, 3], colour in ambient light alone
    lamp_rgb: NDArray[np.float32]  # [R, 3], what one lamp adds at perpendicular incidence
    cosine: NDArray[np.float32]  # [L, R], cosine of incidence of each lamp, 0 in shadow
    lit_rays: NDArray[np.int64]  # [K], indices of the rays whose points some lamp reaches
    from_centre: NDArray[np.float32]  # [3, K], unit directions to these points from the centre of the lamps
    from_lamp: NDArray[np.float64]  # [L, K, 3], unit directions from each lamp
    lamp_distance_m: NDArray[np.float64]  # [L, K]
    max_distance_m: float  # largest distance of these points from the centre of the lamps
    rgb: NDArray[np.float32]  # [R, 3]
    picture: NDArray[np.uint8]  # [P, 3], mean of rgb over each pixel


@dataclass(frozen=True)
class MovingHits:
    """Rays that hit a moving entity before anything that does not move: M of the R rays."""

    rays: NDArray[np.int64]  # [M], indices
    geom: NDArray[np.int32]  # [M]
    distance_m: NDArray[np.float64]  # [M]
    normal: NDArray[np.float64]  # [M, 3]
    covered_px: NDArray[np.int64]  # [G], pixels that each geom covers among the moving entities alone
