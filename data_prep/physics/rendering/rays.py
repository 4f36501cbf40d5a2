"""Asking MuJoCo's ray caster: first hits, shadows, and which rays need not be asked about at all."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np
from numpy.typing import NDArray

NEAR_M = 4e-3  # a shadow ray that stops this close to a point has reached it


class RayCaster:
    """Rays against the geoms of one model as its data now poses them."""

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
        """Which of the unit rays [3, R] from a point may meet one of these geoms, judged by bounding spheres.

        `margin_rad` widens the cones; `spread_m` too, for rays that truly start up to so far from `origin` and end
        where these end, at most `farthest_m` away.
        """
        inside = np.zeros(rays.shape[1], bool)
        for geom in geoms:
            towards = self._data.geom_xpos[geom] - origin
            reach = float(np.sqrt((towards * towards).sum()))
            # a ray that ends at a common point comes closer to its neighbour the further it has gone
            strayed_m = 0.0
            if spread_m:
                strayed_m = spread_m * max(0.0, 1 - (reach - float(self._model.geom_rbound[geom])) / farthest_m)
            sine = (float(self._model.geom_rbound[geom]) + strayed_m + 2e-3) / reach
            half_angle = np.arcsin(sine) + margin_rad if sine < 1 else np.pi
            if half_angle > 1.5:
                inside[:] = True
                continue
            x, y, z = (towards / reach).astype(np.float32)
            inside |= rays[0] * x + rays[1] * y + rays[2] * z > np.float32(np.cos(half_angle))
        return inside

    def in_shadow(
        self, lamp: NDArray[np.float64], direction: NDArray[np.float64], reach: NDArray[np.float64], groups: tuple[int, ...]
    ) -> NDArray[np.bool_]:
        """Whether something of these groups stands between a lamp and points [R] in these directions, so far away."""
        geom, distance, _ = self.cast(lamp, direction, *groups, normals=False)
        return (geom >= 0) & (distance < reach - NEAR_M)

    def cast(
        self, origin: NDArray[np.float64], rays: NDArray[np.float64], *groups: int, normals: bool = True
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
        """First geom (or -1), distance and normal along unit rays [R, 3] from one point, among geoms of these groups."""
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
