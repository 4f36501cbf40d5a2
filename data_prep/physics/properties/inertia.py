"""Inertia: what nothing acts upon keeps its way and its speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body, covered
from data_prep.physics.object_sampling import draw_look, mover
from data_prep.physics.quadruplets import Pair, Property, Template
from data_prep.physics.scenes import Scene

ANGLES_DEG = (14.0, 18.0, 22.0)
RATIOS = (1.3, 1.5, 1.7)
MIDDLE_Y_M = 0.2


def _bend(stage: Stage, *, hidden: bool = True) -> Pair:
    """A body passes aslant, from far to near or from near to far; swapped, its way is bent. Magnitude: degrees."""
    angle = stage.dice.pick(ANGLES_DEG)
    look, side = draw_look(stage), stage.dice.side()
    speed, middle_s = stage.dice.uniform(1.7, 1.9) / stage.film.tempo, stage.film.duration_s * stage.dice.uniform(0.47, 0.53)
    base = stage.scene.with_things([covered(stage)] if hidden else [])

    def aslant(towards: int) -> Scene:
        forward = np.array([-side, towards * np.tan(np.deg2rad(angle))]) * speed
        start = np.array([0.0, MIDDLE_Y_M]) - forward * middle_s
        width = stage.width_m(look.width_px, MIDDLE_Y_M)
        velocity = (float(forward[0]), float(forward[1]), 0.0)
        at = (float(start[0]), float(start[1]))
        thing = body(stage, "one", look.shape, width, at, look.colour, velocity_m_s=velocity, pattern=look.pattern)
        return base.with_things([thing])

    return Pair(aslant(1), aslant(-1), 2 * angle, cut_s=None if hidden else middle_s)


def _bend_in_sight(stage: Stage) -> Pair:
    return _bend(stage, hidden=False)


def _pace(stage: Stage, *, hidden: bool = True) -> Pair:
    """A body passes fast or slowly. Magnitude: the ratio of the speeds."""
    ratio = stage.dice.pick(RATIOS)
    look, side = draw_look(stage), stage.dice.side()
    look = replace(look, width_px=stage.dice.uniform(11.4, 11.9))
    slow = stage.dice.uniform(1.45, 1.55) / stage.film.tempo
    middle_s, y_m = stage.film.duration_s * stage.dice.uniform(0.48, 0.52), stage.dice.uniform(-0.1, 0.25)
    base = stage.scene.with_things([covered(stage)] if hidden else [])
    movers = [mover(stage, "one", look, side, y_m, slow * factor, middle_s) for factor in (1.0, ratio)]
    a, b = (base.with_things([thing]) for thing in movers)
    return Pair(a, b, ratio, cut_s=None if hidden else middle_s)


def _pace_in_sight(stage: Stage) -> Pair:
    return _pace(stage, hidden=False)


INERTIA = Property(
    "inertia",
    (
        Template("bend", _bend, "neutral"),
        Template("pace", _pace, "neutral"),
        Template("bend_in_sight", _bend_in_sight, "neutral", "visible"),
        Template("pace_in_sight", _pace_in_sight, "neutral", "visible"),
    ),
)
