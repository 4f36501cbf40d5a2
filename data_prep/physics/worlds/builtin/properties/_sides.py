"""Pairs of scenes in which a body comes from the left or from the right.

In one template a body passes behind an occluder: what comes out on a side is not what went in
there. In its twin a wall, whose top shows above the occluder, turns the body back: what comes out
is what went in. In both the body is hidden equally long and moves at the same speed. So a scorer
that copies what it saw gains in one what it loses in the other.
"""

from __future__ import annotations

from collections.abc import Callable

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance
from data_prep.physics.worlds.builtin.object_sampling import frictionless_body
from data_prep.physics.worlds.builtin.occluders import occluder
from data_prep.physics.worlds.builtin.scenes import Entity, Scene
from data_prep.physics.worlds.builtin.structures import sample_wood_colour, wall

OPEN_HALF_WIDTH_M = 0.68
WALLED_HALF_WIDTH_M = 1.0


def either_side(
    sample_appearances: Callable[[BaseScene], tuple[Appearance, Appearance]], *, walled: bool
) -> Callable[[BaseScene], ScenePair[Scene]]:
    """A body slides in from the left in one scene, and one from the right in the other."""

    def sample(base: BaseScene) -> ScenePair[Scene]:
        left, right = sample_appearances(base)
        base = base.centred()
        speed, y_m = base.rng.uniform(1.75, 1.95) / base.video.slowdown, base.rng.uniform(-0.05, 0.15)
        half_width = WALLED_HALF_WIDTH_M if walled else OPEN_HALF_WIDTH_M
        panel = occluder(base, 0.0, half_width, base.rng.uniform(0.56, 0.6))
        walls = [wall(base, "wall between", 0.0, y_m, 1.55, sample_wood_colour(base))] if walled else []
        shared = base.scene.with_entities([panel, *walls])
        names = ("one", "one" if left == right else "other")
        a, b = (
            shared.with_entities([_sliding_body(base, name, appearance, side, y_m, speed, walled)])
            for name, appearance, side in zip(names, (left, right), (-1, 1), strict=True)
        )
        return ScenePair(a, b, 2 * half_width / base.width_m(left.width_px, y_m))

    return sample


def _sliding_body(
    base: BaseScene, name: str, appearance: Appearance, side: int, y_m: float, speed_m_s: float, walled: bool
) -> Entity:
    """A body that at half of the video is in the middle, or touches the wall there."""
    to_wall_m = 0.1 + base.width_m(appearance.width_px, y_m) / 2 if walled else 0.0
    start_m = side * (speed_m_s * base.video.duration_s / 2 + to_wall_m)
    return frictionless_body(base, name, appearance, side, (start_m, y_m), speed_m_s)
