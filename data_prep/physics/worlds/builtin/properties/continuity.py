"""Continuity: bodies move on connected paths.

The magnitude is the length of a jump, in widths of the body.
"""

from __future__ import annotations

from functools import partial

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance
from data_prep.physics.worlds.builtin.object_sampling import passing_body, sample_appearance, sample_speed_and_time
from data_prep.physics.worlds.builtin.occluders import central_occluder
from data_prep.physics.worlds.builtin.properties._sides import either_side
from data_prep.physics.worlds.builtin.scenes import Scene

JUMPS = (1.5, 2.0, 2.5)
NEAR_Y_M = -0.25


def _lanes(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A body passes in a near lane or in a far one."""
    jump = base.rng.choice(JUMPS)
    appearance, side = sample_appearance(base), base.rng.side()
    speed, middle_s = sample_speed_and_time(base)
    far_y_m = NEAR_Y_M + jump * base.width_m(appearance.width_px, NEAR_Y_M)
    shared = base.scene.with_entities([central_occluder(base)] if hidden else [])
    near, far = (
        shared.with_entities([passing_body(base, "one", appearance, side, y_m, speed, middle_s)]) for y_m in (NEAR_Y_M, far_y_m)
    )
    return ScenePair(near, far, jump, cut_s=None if hidden else middle_s)


def _same_appearance(base: BaseScene) -> tuple[Appearance, Appearance]:
    appearance = sample_appearance(base)
    return appearance, appearance


CONTINUITY = Property(
    "continuity",
    (
        Template("turned_back", either_side(_same_appearance, walled=True), "easy"),
        Template("exit_side", either_side(_same_appearance, walled=False), "hard"),
        Template("lanes", _lanes, "neutral"),
        Template("lanes", _lanes, "neutral"),  # twice, so that half of the quadruplets are neutral
        Template("lanes_in_sight", partial(_lanes, hidden=False), "neutral", "visible"),
    ),
)
