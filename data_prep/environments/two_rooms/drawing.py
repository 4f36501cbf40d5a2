"""Pictures of Two Rooms: the dot in the red channel, walls and borders in the green one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.two_rooms.geometry import BORDER_PX, DOOR_HALF_PX, SIZE_PX, WALL_HALF_PX, Array

DOT_STD_PX = 1.3


def draw(position: Array, wall_x: Array, door_y: Array) -> NDArray[np.uint8]:
    """Pictures of positions [..., 2] with walls [...]: [..., 65, 65, 3]. The dot is a Gaussian with peak 255."""
    pixels = np.arange(SIZE_PX, dtype=np.float64)
    profile_x, profile_y = (
        np.exp(-0.5 * ((pixels - position[..., axis, None]) / DOT_STD_PX) ** 2) for axis in (0, 1)
    )  # [..., 65]
    dot = profile_y[..., :, None] * profile_x[..., None, :]
    at_wall = np.abs(pixels - np.asarray(wall_x)[..., None]) < WALL_HALF_PX
    beside_door = np.abs(pixels - np.asarray(door_y)[..., None]) > DOOR_HALF_PX
    within = (pixels >= BORDER_PX[0]) & (pixels <= BORDER_PX[1])
    edge = (pixels == BORDER_PX[0]) | (pixels == BORDER_PX[1])
    borders = (edge[:, None] & within) | (edge & within[:, None])
    walls = borders | ((beside_door & within)[..., :, None] & at_wall[..., None, :])
    picture = np.zeros((*dot.shape, 3), np.uint8)
    picture[..., 0] = np.rint(255 * dot)
    picture[..., 1] = 255 * walls
    return picture
