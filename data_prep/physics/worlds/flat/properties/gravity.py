"""Gravity: a disc on a ramp rolls down, and what flies falls.

The magnitude is the slope in degrees, or the speed of the rise in m/s.
"""

from __future__ import annotations

import numpy as np

from data_prep.physics.motion import down_ramp, flying
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.entities import RAMP_HALF_LENGTH_M, occluder, ramp, sample_wood_colour, screen
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatScene

SLOPES_DEG = (25.0, 32.0, 40.0)


def _ramp(base: FlatBase) -> ScenePair[FlatScene]:
    """A ramp falls to the left or to the right, and a screen covers it.

    A disc drops on it and rolls out on one side. Held-out videos have a disc too: only it rolls.
    """
    rng, duration = base.rng, base.video.duration_s
    slope_deg = rng.choice(SLOPES_DEG)
    slope = float(np.deg2rad(slope_deg))
    appearance = base.sample_appearance("disc", width_px=rng.uniform(11.2, 12.2))
    start_m, rise_m_s = rng.uniform(3.1, 3.3) - 2.2 * max(2 - duration, 0), rng.uniform(0.3, 0.6) + 1.6 * max(duration - 2, 0)
    colour = sample_wood_colour(base)
    hiding = screen(base, 0.2 * duration, half_width_m=0.95, height_m=1.5, move_s=0.15 * duration, comes_from="below")
    left, right = (
        base.scene.with_entities(
            [
                ramp(base, name, side, slope, colour),
                appearance.body("one", down_ramp(start_m, rise_m_s, appearance.half_m, side, slope, RAMP_HALF_LENGTH_M, name)),
                hiding,
            ]
        )
        for name, side in (("falls left", -1), ("falls right", 1))
    )
    return ScenePair(left, right, slope_deg)


def _arc(base: FlatBase) -> ScenePair[FlatScene]:
    """A body bounces along and flies behind a high occluder, in the middle of which it is on its way up or down."""
    rng, side, duration = base.rng, base.rng.side(), base.video.duration_s
    appearance = base.sample_appearance()
    rise_m_s, speed = rng.uniform(1.5, 2.1), rng.uniform(2.1, 2.4) / base.video.slowdown
    middle_s, middle_m = duration * rng.uniform(0.48, 0.52), rng.uniform(2.0, 2.2)
    hiding = occluder(base, rng.uniform(0.9, 1.0), 3.0, rng.uniform(-0.05, 0.05))
    rising, sinking = (
        base.scene.with_entities([appearance.body("one", path), hiding])
        for path in (
            flying(side, speed, middle_s, middle_m, rise, appearance.standing_m, duration) for rise in (rise_m_s, -rise_m_s)
        )
    )
    return ScenePair(rising, sinking, rise_m_s)


GRAVITY = FlatProperty("gravity", (FlatTemplate("ramp", _ramp, "neutral"), FlatTemplate("arc", _arc, "neutral")))
