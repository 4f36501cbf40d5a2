"""Gravity: a body on a slope moves down. The magnitude is the slope in degrees."""

from __future__ import annotations

from functools import partial

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.occluders import screen
from data_prep.physics.worlds.builtin.scenes import Scene
from data_prep.physics.worlds.builtin.structures import ramp, sample_wood_colour

SLOPES_DEG = (25.0, 32.0, 40.0)


def _ramp(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A ramp falls to the left or to the right, and a screen hides it.

    A ball drops on it and rolls out on one side.
    """
    rng, duration = base.rng, base.video.duration_s
    slope, y_m = rng.choice(SLOPES_DEG), rng.uniform(0.0, 0.2)
    width_px, start_m = rng.uniform(10.8, 12.0), rng.uniform(2.4, 2.55)
    appearance = Appearance("sphere", width_px, base.sample_colour(base.sample_hue()))
    bottom_m = start_m - base.width_m(width_px, y_m) / 2
    rise_m_s = rng.uniform(0.3, 0.6) + 1.6 * (duration - 2) * (duration > 2)
    ball = body(base, "one", appearance, (0.0, y_m), on_m=bottom_m, velocity_m_s=(0.0, 0.0, rise_m_s))
    colour = sample_wood_colour(base)
    hiding = [screen(base, 0.19 * duration, half_width_m=0.72, half_height_m=0.64, move_s=0.14 * duration)] if hidden else []
    shared = base.scene.with_entities([*hiding, ball])
    left, right = (
        shared.with_entities([ramp(base, name, side, slope, y_m, colour)])
        for name, side in (("falls left", -1), ("falls right", 1))
    )
    return ScenePair(left, right, slope)


GRAVITY = Property(
    "gravity",
    (
        Template("ramp", _ramp, "neutral"),
        Template("ramp_in_sight", partial(_ramp, hidden=False), "neutral", "visible"),
    ),
)
