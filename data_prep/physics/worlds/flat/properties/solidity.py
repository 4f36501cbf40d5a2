"""Solidity: a solid wall stops a body. The magnitude is the height of the wall over that of the body."""

from __future__ import annotations

from data_prep.physics.motion import passing, until_wall
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.entities import WALL_HALF_WIDTH_M, screen, wall
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatScene

HEIGHT_RATIOS = (0.9, 1.1, 1.3)


def _wall(base: FlatBase) -> ScenePair[FlatScene]:
    """A screen covers a wall, or nothing. Then a body arrives, which passes if there is no wall."""
    rng, duration = base.rng, base.video.duration_s
    ratio, side, appearance = rng.choice(HEIGHT_RATIOS), rng.side(), base.sample_appearance()
    speed, middle_s = rng.uniform(2.1, 2.3) / base.video.slowdown, duration * rng.uniform(0.54, 0.58)
    wall_m = side * rng.uniform(-0.08, 0.08)
    contact_m = wall_m + side * (WALL_HALF_WIDTH_M + appearance.half_m)
    contact_s = middle_s - abs(contact_m) / speed
    obstacle = wall(base, wall_m, max(ratio * appearance.height_m, 0.7))
    hiding = screen(base, 0.21 * duration, half_width_m=0.95, move_s=0.17 * duration)
    stopped = until_wall(side, speed, contact_s, contact_m, appearance.standing_m, "wall", bounces=False)
    free = appearance.body("one", passing(side, speed, middle_s, appearance.standing_m))
    return ScenePair(
        base.scene.with_entities([free, hiding]),
        base.scene.with_entities([obstacle, appearance.body("one", stopped), hiding]),
        ratio,
    )


SOLIDITY = FlatProperty("solidity", (FlatTemplate("wall", _wall, "neutral"),))
