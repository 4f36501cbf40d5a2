"""Solidity: a solid wall stops a body.

The magnitude is the height of the wall over the width of the body.
"""

from __future__ import annotations

from functools import partial

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.object_sampling import passing_body, sample_appearance
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall

HEIGHT_RATIOS = (0.8, 1.1, 1.4)


def _wall(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A screen rises. Behind it is a wall, or none. Then a body arrives.

    It passes if there is no wall.
    """
    rng, duration = base.rng, base.video.duration_s
    ratio = rng.choice(HEIGHT_RATIOS)
    appearance, side = sample_appearance(base), rng.side()
    y_m = rng.uniform(0.0, 0.2)
    width = base.width_m(appearance.width_px, y_m)
    speed = rng.uniform(1.95, 2.15) / base.video.slowdown
    one = passing_body(base, "one", appearance, side, y_m, speed, duration * rng.uniform(0.57, 0.61))
    obstacle = wall(base, "plate", side * rng.uniform(-0.1, 0.1), y_m, ratio * width, sample_wood_colour(base))
    hiding = [screen(base, 0.21 * duration, half_width_m=0.68, half_height_m=0.62, move_s=0.17 * duration)] if hidden else []
    shared = base.scene.with_entities([*hiding, one])
    return ScenePair(shared, shared.with_entities([obstacle]), ratio)


SOLIDITY = Property(
    "solidity",
    (
        Template("wall", _wall, "neutral"),
        Template("wall_in_sight", partial(_wall, hidden=False), "neutral", "visible"),
    ),
)
