"""MuJoCo's ray caster: first hits, shadows, and the selection of rays that can hit anything."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np
from numpy.typing import NDArray

REACHED_M = 4e-3  # a shadow ray that ends closer than this to a point has reached it


class RayCaster:
    """Casts rays against the geoms of one model, in its state at the time of the call."""

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData) -> None:
        self._model, self._data = model, data

    def in_cones(
        self,
        origin: NDArray[np.float64],
        rays: NDArray[np.float32],
        geoms: Iterable[int],
        *,
        margin_rad: float = 0.0,
        spread_m: float = 0.0,
        farthest_m: float = np.inf,
    ) -> NDArray[np.bool_]:
        """Which of the unit rays [3, R] from a point may hit one of these geoms: [R].

        margin_rad: widens the cones around the spheres.
        spread_m: widens them for rays that end at the same points, but start up to this far from
        `origin`.
        farthest_m: the largest distance of these points from `origin`.
        """
        inside = np.zeros(rays.shape[1], bool)
        for geom in geoms:
            towards = self._data.geom_xpos[geom] - origin
            distance = float(np.sqrt((towards * towards).sum()))
            # rays that end at the same point come closer to each other on their way
            stray_m = 0.0
            if spread_m:
                stray_m = spread_m * max(0.0, 1 - (distance - float(self._model.geom_rbound[geom])) / farthest_m)
            sine = (float(self._model.geom_rbound[geom]) + stray_m + 2e-3) / distance
            half_angle = np.arcsin(sine) + margin_rad if sine < 1 else np.pi
            if half_angle > 1.5:
                inside[:] = True
                continue
            x, y, z = (towards / distance).astype(np.float32)
            inside |= rays[0] * x + rays[1] * y + rays[2] * z > np.float32(np.cos(half_angle))
        return inside

    def in_shadow(
        self,
        lamp: NDArray[np.float64],
        direction: NDArray[np.float64],
        distance_m: NDArray[np.float64],
        groups: tuple[int, ...],
    ) -> NDArray[np.bool_]:
        """Whether a geom of these groups is between a lamp and points: [R].

        The points are given by unit directions [R, 3] from the lamp and distances [R].
        """
        geom, hit_m, _ = self.cast(lamp, direction, *groups, normals=False)
        return (geom >= 0) & (hit_m < distance_m - REACHED_M)

    def cast(
        self, origin: NDArray[np.float64], rays: NDArray[np.float64], *groups: int, normals: bool = True
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """Cast unit rays [R, 3] from a point against the geoms of these groups.

        Returns the first geom [R] or -1, its distance [R] and its normal [R, 3].
        """
        count = len(rays)
        geom = np.full(count, -1, np.int32)
        distance = np.zeros(count)
        normal = np.zeros((count if normals else 0, 3))
        if count:
            mask = np.zeros(mujoco.mjNGROUP, np.uint8)
            mask[list(groups)] = 1
            flat = np.ascontiguousarray(rays).reshape(-1)
            mujoco.mj_multiRay(
                self._model,
                self._data,
                origin,
                flat,
                mask,
                True,
                -1,
                geom,
                distance,
                normal.reshape(-1) if normals else None,
                count,
                1e6,
            )
        return geom, distance, normal
