"""Gravity: what is on a slope goes down it. The magnitude is the slope in degrees."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body, ramp, screen, wood
from data_prep.physics.quadruplets import Pair, Property, Template

SLOPES = (25.0, 32.0, 40.0)


def _ramp(stage: Stage, *, hidden: bool = True) -> Pair:
    """A board falls to the left or to the right and goes out of sight; a ball drops on it and rolls out on one side."""
    duration = stage.film.duration_s
    slope, y_m = stage.dice.pick(SLOPES), stage.dice.uniform(0.0, 0.2)
    width = stage.width_m(stage.dice.uniform(10.8, 12.0), y_m)
    start_m = stage.dice.uniform(2.4, 2.55)
    ball = body(stage, "one", "sphere", width, (0.0, y_m), stage.paint(stage.hue()), on_m=start_m - width / 2)
    ball = replace(ball, velocity_m_s=(0.0, 0.0, stage.dice.uniform(0.3, 0.6) + 1.6 * (duration - 2) * (duration > 2)))
    colour = wood(stage)
    veil = [screen(stage, 0.19 * duration, half_width_m=0.72, half_height_m=0.64, takes_s=0.14 * duration)] if hidden else []
    base = stage.scene.with_things([*veil, ball])
    left, right = (
        base.with_things([ramp(stage, name, side, slope, y_m, colour)])
        for name, side in (("falls left", -1), ("falls right", 1))
    )
    return Pair(left, right, slope)


def _ramp_in_sight(stage: Stage) -> Pair:
    return _ramp(stage, hidden=False)


GRAVITY = Property(
    "gravity",
    (
        Template("ramp", _ramp, "neutral"),
        Template("ramp_in_sight", _ramp_in_sight, "neutral", "visible"),
    ),
)
