"""Inertia: a body on which nothing acts keeps its direction and its speed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import passing_body, sample_appearance
from data_prep.physics.worlds.builtin.occluders import central_occluder
from data_prep.physics.worlds.builtin.scenes import Scene

ANGLES_DEG = (14.0, 18.0, 22.0)
SPEED_RATIOS = (1.3, 1.5, 1.7)
MIDDLE_Y_M = 0.2


def _bend(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A body passes obliquely, from far to near or from near to far.

    Spliced, its path bends. The magnitude is the angle.
    """
    angle = base.rng.choice(ANGLES_DEG)
    appearance, side = sample_appearance(base), base.rng.side()
    speed = base.rng.uniform(1.7, 1.9) / base.video.slowdown
    middle_s = base.video.duration_s * base.rng.uniform(0.47, 0.53)
    shared = base.scene.with_entities([central_occluder(base)] if hidden else [])

    def oblique(towards: int) -> Scene:
        velocity = np.array([-side, towards * np.tan(np.deg2rad(angle))]) * speed
        start = np.array([0.0, MIDDLE_Y_M]) - velocity * middle_s
        width = base.width_m(appearance.width_px, MIDDLE_Y_M)
        one = body(
            base,
            "one",
            appearance,
            (float(start[0]), float(start[1])),
            width_m=width,
            velocity_m_s=(float(velocity[0]), float(velocity[1]), 0.0),
        )
        return shared.with_entities([one])

    return ScenePair(oblique(1), oblique(-1), 2 * angle, cut_s=None if hidden else middle_s)


def _speed(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A body passes fast or slowly. The magnitude is the ratio of the speeds."""
    ratio = base.rng.choice(SPEED_RATIOS)
    appearance, side = sample_appearance(base), base.rng.side()
    appearance = replace(appearance, width_px=base.rng.uniform(11.4, 11.9))
    slow = base.rng.uniform(1.45, 1.55) / base.video.slowdown
    middle_s, y_m = base.video.duration_s * base.rng.uniform(0.48, 0.52), base.rng.uniform(-0.1, 0.25)
    shared = base.scene.with_entities([central_occluder(base)] if hidden else [])
    a, b = (
        shared.with_entities([passing_body(base, "one", appearance, side, y_m, slow * factor, middle_s)])
        for factor in (1.0, ratio)
    )
    return ScenePair(a, b, ratio, cut_s=None if hidden else middle_s)


INERTIA = Property(
    "inertia",
    (
        Template("bend", _bend, "neutral"),
        Template("pace", _speed, "neutral"),
        Template("bend_in_sight", partial(_bend, hidden=False), "neutral", "visible"),
        Template("pace_in_sight", partial(_speed, hidden=False), "neutral", "visible"),
    ),
)
