"""Pairs of scenes in which a body comes from the left or from the right.

Without a wall, what comes out on a side is not what went in there. With a wall, whose top shows
above the occluder, the body is turned back: what comes out is what went in. So a scorer that copies
what it saw gains in one what it loses in the other.
"""

from __future__ import annotations

from collections.abc import Callable

from data_prep.physics.motion import Path, passing, until_wall
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import Appearance, FlatBase
from data_prep.physics.worlds.flat.entities import WALL_HALF_WIDTH_M, occluder, wall
from data_prep.physics.worlds.flat.scenes import FlatScene

OPEN_HALF_WIDTH_M = 0.78
WALLED_HALF_WIDTH_M = 1.1
WALL_HEIGHT_M = 2.3


def either_side(
    base: FlatBase, *, sample: Callable[[FlatBase], tuple[Appearance, Appearance]], walled: bool
) -> ScenePair[FlatScene]:
    """A body comes from the left in one scene, and one from the right in the other."""
    appearances = sample(base)
    speed, middle_s = base.rng.uniform(1.75, 1.95) / base.video.slowdown, base.video.duration_s / 2
    half_width = WALLED_HALF_WIDTH_M if walled else OPEN_HALF_WIDTH_M
    hiding = occluder(base, half_width, base.rng.uniform(1.15, 1.25))
    walls = [wall(base, 0.0, WALL_HEIGHT_M)] if walled else []
    names = ("one", "one" if appearances[0] == appearances[1] else "other")

    def path(appearance: Appearance, side: int) -> Path:
        if not walled:
            return passing(side, speed, middle_s, appearance.standing_m)
        contact_m = side * (WALL_HALF_WIDTH_M + appearance.half_m)
        return until_wall(side, speed, middle_s, contact_m, appearance.standing_m, "wall", bounces=True)

    left, right = (
        base.scene.with_entities([*walls, appearance.body(name, path(appearance, side)), hiding])
        for name, appearance, side in zip(names, appearances, (-1, 1), strict=True)
    )
    return ScenePair(left, right, half_width / appearances[0].half_m)
