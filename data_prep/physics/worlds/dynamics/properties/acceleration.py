"""Acceleration: a ball bounces. Is it at the top or on the floor next? The magnitude is the height, in widths.

The height follows from the period, which is a whole number of frames: 0.54 m at 12 frames/s, 1.23 m
at 8 frames/s. At lower rates the ball would leave the picture.
"""

from __future__ import annotations

from data_prep.physics.motion import GRAVITY_M_S2
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase, bouncing_ball
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

MIN_FPS = 8.0


def _bounce(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """A body at three quarters of its height in the last frame, on its way up or down."""
    rng, appearance = base.rng, sample_appearance(base.builtin)
    x_m, y_m = rng.uniform(-0.3, 0.3), rng.uniform(0.0, 0.2)
    one = body(base.builtin, "one", appearance, (x_m, y_m))
    height_m = GRAVITY_M_S2 * base.period_s**2 / 8
    entities = [base.sudden_screen(top_m=2 * one.position_m[2] + height_m, back_m=y_m + one.size_m[0]), one]
    quarter_s = base.period_s / 4
    rising, falling = (
        base.finished(entities, {"one": bouncing_ball(x_m, base.period_s, base.last_seen_s + when, base.video.duration_s)})
        for when in (-quarter_s, quarter_s)
    )
    return ScenePair(rising, falling, height_m / base.builtin.width_m(appearance.width_px, y_m))


ACCELERATION = DynamicsProperty("acceleration", with_hidden_times("bounce", _bounce, min_fps=MIN_FPS))
