"""Pictures of Two Rooms: the dot in the red channel, walls and borders in the green one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.two_rooms.geometry import BORDER_PX, SIZE_PX, USUAL, Array, Openings

DOT_STD_PX = 1.3


@dataclass(frozen=True)
class Look:
    """Sizes and grey levels of the picture. The defaults are those of EB-JEPA and PLDM."""

    dot_std_px: float = DOT_STD_PX
    wall_level: int = 255
    background_level: int = 0
    """of all three channels; walls and dot are drawn over it"""


USUAL_LOOK = Look()


def draw(
    position: Array, wall_x: Array, door_y: Array, openings: Openings = USUAL, look: Look = USUAL_LOOK
) -> NDArray[np.uint8]:
    """Pictures of positions [..., 2] with walls [...]: [..., 65, 65, 3]. The dot is a Gaussian with peak 255."""
    pixels = np.arange(SIZE_PX, dtype=np.float64)
    profile_x, profile_y = (
        np.exp(-0.5 * ((pixels - position[..., axis, None]) / look.dot_std_px) ** 2) for axis in (0, 1)
    )  # [..., 65]
    dot = profile_y[..., :, None] * profile_x[..., None, :]
    at_wall = np.abs(pixels - np.asarray(wall_x)[..., None]) < openings.wall_half_px
    beside_door = np.abs(pixels - np.asarray(door_y)[..., None]) > openings.door_half_px
    within = (pixels >= BORDER_PX[0]) & (pixels <= BORDER_PX[1])
    edge = (pixels == BORDER_PX[0]) | (pixels == BORDER_PX[1])
    borders = (edge[:, None] & within) | (edge & within[:, None])
    walls = borders | ((beside_door & within)[..., :, None] & at_wall[..., None, :])
    picture = np.full((*dot.shape, 3), look.background_level, np.uint8)
    picture[..., 0] = np.maximum(picture[..., 0], np.rint(255 * dot).astype(np.uint8))
    picture[..., 1] = np.where(walls, look.wall_level, picture[..., 1])
    return picture
