"""States of Push-T: the shape of the T, distances between states, and distances from the T."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STATE = ("agent_x", "agent_y", "block_x", "block_y", "block_angle", "agent_vx", "agent_vy")
STATE_UNITS = ("px", "px", "px", "px", "rad", "px/s", "px/s")

ARENA_PX = 512.0
AGENT_RADIUS_PX = 15.0
WALL_PX = (3.0, 508.0)  # outer edges of the walls, in x and y
WALL_THICKNESS_PX = 4.0
TARGET_PX = (22.0, 489.0)  # of the centre of the agent: it then touches no wall
MAX_ACTION_PX = 40.0  # a longer action is shortened; a constant one of 40 px moves the agent by 16 px per step
BOXES_PX = ((0.0, 15.0, 60.0, 15.0), (0.0, 60.0, 15.0, 60.0))
"""Bar and stem of the T in its own coordinates: x and y of the centre, half width, half height. The stem overlaps the bar."""
CENTRE_OF_MASS_PX = (0.0, 45.0)  # in the same coordinates
BLOCK_RADIUS_PX = 77.0  # of the circle about the centre of mass that holds the T


def angle_difference(one: Array, other: Array) -> Array:
    """The smallest difference of two angles, without sign: [...], in [0, pi]."""
    difference: Array = np.abs((one - other + np.pi) % (2 * np.pi) - np.pi)
    return difference


def agent_error_px(states: Array, goals: Array) -> Array:
    """Distance of the agents: [..., S], [..., S] -> [...]."""
    found: Array = np.linalg.norm(states[..., :2] - goals[..., :2], axis=-1)
    return found


def block_error_px(states: Array, goals: Array) -> Array:
    """Distance of the places of the T, without its angle: [..., S], [..., S] -> [...]."""
    found: Array = np.linalg.norm(states[..., 2:4] - goals[..., 2:4], axis=-1)
    return found


def block_error_deg(states: Array, goals: Array) -> Array:
    """Difference of the angles of the T, in degrees: [..., S], [..., S] -> [...]."""
    return np.degrees(angle_difference(states[..., 4], goals[..., 4]))


def rotated(vectors: Array, angle: Array) -> Array:
    """Vectors [..., 2] turned by angles [...] (from x to y)."""
    cos, sin = np.cos(angle), np.sin(angle)
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], -1)


def to_world(points: Array, states: Array) -> Array:
    """Points in the coordinates of the T [..., 2] -> those of the arena, for states [..., S]."""
    return states[..., 2:4] + rotated(points, states[..., 4])


def to_block(points: Array, states: Array) -> Array:
    """The inverse of `to_world`."""
    return rotated(points - states[..., 2:4], -states[..., 4])


def centre_of_mass(states: Array) -> Array:
    """[..., S] -> [..., 2]"""
    return to_world(np.array(CENTRE_OF_MASS_PX), states)


def distance_from_block(points: Array) -> Array:
    """Distance of points [..., 2] in the coordinates of the T from its outline, below 0 inside: [...]."""
    return distance_from_boxes(points[..., 0], points[..., 1])


def distance_from_boxes(x: Array, y: Array) -> Array:
    """The same for coordinates [...] and [...]."""
    found: Array | None = None
    for middle_x, middle_y, half_width, half_height in BOXES_PX:
        outside_x, outside_y = np.abs(x - middle_x) - half_width, np.abs(y - middle_y) - half_height
        beyond_x, beyond_y = np.maximum(outside_x, 0), np.maximum(outside_y, 0)
        distance = np.sqrt(beyond_x * beyond_x + beyond_y * beyond_y) + np.minimum(np.maximum(outside_x, outside_y), 0)
        found = distance if found is None else np.minimum(found, distance)
    assert found is not None
    return found
