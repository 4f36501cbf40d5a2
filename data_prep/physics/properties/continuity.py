"""Continuity: things get from place to place by way of the places between. The magnitude is a jump in widths."""

from __future__ import annotations

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import covered
from data_prep.physics.object_sampling import Look, draw_look, mover, pace
from data_prep.physics.properties.sides import either_side
from data_prep.physics.quadruplets import Pair, Property, Template

JUMPS = (1.5, 2.0, 2.5)
NEAR_Y_M = -0.25


def _lanes(stage: Stage, *, hidden: bool = True) -> Pair:
    """A body passes in a near lane or in a far one."""
    jump = stage.dice.pick(JUMPS)
    look, side = draw_look(stage), stage.dice.side()
    speed, middle_s = pace(stage)
    far_y = NEAR_Y_M + jump * stage.width_m(look.width_px, NEAR_Y_M)
    base = stage.scene.with_things([covered(stage)] if hidden else [])
    a, b = (base.with_things([mover(stage, "one", look, side, y, speed, middle_s)]) for y in (NEAR_Y_M, far_y))
    return Pair(a, b, jump, cut_s=None if hidden else middle_s)


def _lanes_in_sight(stage: Stage) -> Pair:
    return _lanes(stage, hidden=False)


def _same_look(stage: Stage) -> tuple[Look, Look]:
    look = draw_look(stage)
    return look, look


CONTINUITY = Property(
    "continuity",
    (
        Template("turned_back", either_side(_same_look, walled=True), "easy"),
        Template("exit_side", either_side(_same_look, walled=False), "hard"),
        Template("lanes", _lanes, "neutral"),
        Template("lanes", _lanes, "neutral"),
        Template("lanes_in_sight", _lanes_in_sight, "neutral", "visible"),
    ),
)
