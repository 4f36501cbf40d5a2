"""Motion of many dots at once. Walls are solid along the whole segment of a move.

Arrays have any leading axes that broadcast, so that a planner steps [B, S] copies in one call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE_PX = 65
STATE = ("x", "y", "wall_x", "door_y")
"""The numbers of a state, in px."""

BORDER_PX = (4.0, 60.0)  # the dot stays between these coordinates, in x and y
WALL_HALF_PX = 1.5
DOOR_HALF_PX = 4.0
WALL_X_PX = (20, 44)  # positions of a random wall, both included
DOOR_Y_PX = (10, 54)
CLEARANCE_PX = 2.6  # of starts and goals from walls and borders: twice the standard deviation of the dot
BOUNCE_STD_PX = 0.5
MAX_STEP_PX = 2.45  # longest action of planners and policies; a longer one is executed as it is
SUCCESS_PX = 4.5  # EB-JEPA: distance to the goal at the last step
STRICT_SUCCESS_PX = 1.41  # PLDM: distance to the goal at any step

_TOUCHING = 1e-9  # fraction of a move: a dot that rounding put into a wall still counts as before it


@dataclass(frozen=True)
class Openings:
    """Half the thickness of the wall, and half the width of the door, in px."""

    wall_half_px: float = WALL_HALF_PX
    door_half_px: float = DOOR_HALF_PX


USUAL = Openings()


def move(
    position: Array, action: Array, wall_x: Array, door_y: Array, bounce: Array | None = None, openings: Openings = USUAL
) -> Array:
    """The positions after one action: [..., 2], [..., 2], [...], [...] -> [..., 2].

    A dot stops at the first wall, door edge or border. bounce: displacements [..., 2] of dots that
    were stopped. Their part along the normal of the wall points back, whatever its sign.
    """
    end, normal = _trace(position, action, wall_x, door_y, openings)
    stopped = (normal != 0).any(-1, keepdims=True)
    if bounce is None or not stopped.any():
        return end
    along = (bounce * normal).sum(-1, keepdims=True)
    away = bounce + (np.abs(along) - along) * normal
    return _trace(end, np.where(stopped, away, 0.0), wall_x, door_y, openings)[0]


def _trace(position: Array, action: Array, wall_x: Array, door_y: Array, openings: Openings) -> tuple[Array, Array]:
    """Where a move ends, and the normal of what stopped it (0 where nothing did): [..., 2] each."""
    position, action = np.broadcast_arrays(position, action)
    wall_x, door_y = np.broadcast_to(wall_x, position.shape[:-1]), np.broadcast_to(door_y, position.shape[:-1])
    fraction, axis, face = _border(position, action)
    wall_half, door_half = openings.wall_half_px, openings.door_half_px
    for low_y, high_y in ((-np.inf, door_y - door_half), (door_y + door_half, np.inf)):
        low = np.stack(np.broadcast_arrays(wall_x - wall_half, low_y), -1)
        high = np.stack(np.broadcast_arrays(wall_x + wall_half, high_y), -1)
        of_wall = _enter(position, action, low, high)
        nearer = of_wall[0] < fraction
        fraction, axis, face = (np.where(nearer, new, old) for new, old in zip(of_wall, (fraction, axis, face), strict=True))
    stopped = fraction < 1
    end = position + np.minimum(fraction, 1.0)[..., None] * action
    is_axis = stopped[..., None] & (axis[..., None] == np.arange(2))
    end = np.clip(
        np.where(is_axis, face[..., None], end), *BORDER_PX
    )  # exactly on the face, so that the next move begins there
    return end, np.where(is_axis, -np.sign(action), 0.0)


def _border(position: Array, action: Array) -> tuple[Array, Array, Array]:
    """The fraction of a move until it leaves the borders, the axis, and the coordinate of the border."""
    face = np.where(action > 0, BORDER_PX[1], BORDER_PX[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        fractions = np.where(action != 0, (face - position) / action, np.inf)
    fractions = np.maximum(fractions, 0.0)
    axis = fractions.argmin(-1)
    return _choose(fractions, axis), axis, _choose(face, axis)


def _enter(position: Array, action: Array, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """The same until it enters the open rectangle between two corners; infinite where it does not."""
    ahead = action > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        enters = np.where(ahead, low - position, high - position) / action
        leaves = np.where(ahead, high - position, low - position) / action
    still = action == 0
    inside = (low < position) & (position < high)
    enters = np.where(still, np.where(inside, -np.inf, np.inf), enters)
    leaves = np.where(still, np.where(inside, np.inf, -np.inf), leaves)
    axis = enters.argmax(-1)
    first = _choose(enters, axis)
    hits = (first < leaves.min(-1)) & (first >= -_TOUCHING)
    face = _choose(np.where(ahead, low, high), axis)
    return np.where(hits, np.maximum(first, 0.0), np.inf), axis, face


def _choose(values: Array, axis: NDArray[np.intp]) -> Array:
    """values[..., axis[...]]"""
    return np.take_along_axis(values, axis[..., None], -1)[..., 0]


def path_length(position: Array, goal: Array, wall_x: Array, door_y: Array) -> Array:
    """Length of a way to the goal: straight within a room, else through the middle of the door: [...]."""
    door = np.stack(np.broadcast_arrays(wall_x, door_y), -1)
    straight = np.linalg.norm(goal - position, axis=-1)
    by_door = np.linalg.norm(door - position, axis=-1) + np.linalg.norm(goal - door, axis=-1)
    return np.where((position[..., 0] < wall_x) == (goal[..., 0] < wall_x), straight, by_door)


def sample_wall(rng: np.random.Generator) -> tuple[float, float]:
    """x of a random wall, and y of its door."""
    return float(rng.integers(WALL_X_PX[0], WALL_X_PX[1] + 1)), float(rng.integers(DOOR_Y_PX[0], DOOR_Y_PX[1] + 1))


def sample_start_and_goal(rng: np.random.Generator, wall_x: float) -> tuple[Array, Array]:
    """Two positions in opposite rooms, uniform where the dot touches neither wall nor border: [2], [2]."""
    bottom, top = BORDER_PX[0] + CLEARANCE_PX, BORDER_PX[1] - CLEARANCE_PX
    left = np.array([rng.uniform(bottom, wall_x - WALL_HALF_PX - CLEARANCE_PX), rng.uniform(bottom, top)])
    right = np.array([rng.uniform(wall_x + WALL_HALF_PX + CLEARANCE_PX, top), rng.uniform(bottom, top)])
    return (left, right) if rng.random() < 0.5 else (right, left)


def is_free(position: Array, wall_x: Array, door_y: Array, openings: Openings = USUAL) -> NDArray[np.bool_]:
    """Whether positions [..., 2] lie within the borders and not inside a wall: [...]."""
    within = ((position >= BORDER_PX[0]) & (position <= BORDER_PX[1])).all(-1)
    beside = np.abs(position[..., 0] - wall_x) >= openings.wall_half_px
    return within & (beside | (np.abs(position[..., 1] - door_y) <= openings.door_half_px))
