"""Bodies that move to and fro between two walls, and how far apart the walls stand."""

from __future__ import annotations

from data_prep.physics.motion import Path
from data_prep.physics.worlds.builtin.scenes import Entity
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.lookaway.base_scene import to_and_fro

WALLS = ("left plate", "right plate")
WALL_HALF_WIDTH_M = 0.1


def between_walls(base: DynamicsBase, half_path_m: float, direction: int) -> Path:
    """To and fro in one period. At x = 0 in the first and in the last seen frame."""
    speed = half_path_m / (base.period_s / 4)
    return to_and_fro(direction * speed, base.last_seen_s, half_path_m, base.video.duration_s, WALLS)


def two_walls(
    base: DynamicsBase, left_m: float, right_m: float, y_m: float, height_m: float, half_depth_m: float = 0.5
) -> list[Entity]:
    """Two walls whose inner faces are at these x."""
    colour = sample_wood_colour(base.builtin)
    at_m = (left_m - WALL_HALF_WIDTH_M, right_m + WALL_HALF_WIDTH_M)
    return [wall(base.builtin, name, x_m, y_m, height_m, colour, half_depth_m) for name, x_m in zip(WALLS, at_m, strict=True)]
