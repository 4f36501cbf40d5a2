"""Continuity: things get from place to place by way of the places between. The magnitude is a jump in widths."""

from __future__ import annotations

from data_prep.physics.casting import draw_look, mover, pace, still
from data_prep.physics.props import covered, curtain
from data_prep.physics.quadruplets import Pair, Property, Template
from data_prep.physics.stage import Stage

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


def _exit_side(stage: Stage) -> Pair:
    """A body passes from left to right, or one that looks the same from right to left."""
    look = draw_look(stage)
    speed, _ = pace(stage)
    middle_s, y_m = stage.film.duration_s / 2, stage.dice.uniform(-0.1, 0.25)
    base = stage.scene.with_things([covered(stage)])
    a, b = (base.with_things([mover(stage, "one", look, side, y_m, speed, middle_s)]) for side in (-1, 1))
    return Pair(a, b, 2 * 1.1 / stage.width_m(look.width_px))


def _two_screens(stage: Stage) -> Pair:
    """A body lies on the left or on the right; two screens with a gap between them rise and sink again."""
    look = draw_look(stage)
    apart_m, y_m = stage.dice.uniform(0.7, 0.78), 0.1
    screens = [curtain(stage, side * apart_m, 0.5, name) for side, name in ((-1, "left screen"), (1, "right screen"))]
    base = stage.scene.with_things(screens)
    # behind the middle of a screen, as the camera sees it
    far = apart_m * 1.22
    a, b = (base.with_things([still(stage, "one", look, (side * far, y_m))]) for side in (-1, 1))
    return Pair(a, b, 2 * far / stage.width_m(look.width_px, y_m))


CONTINUITY = Property(
    "continuity",
    (
        Template("two_screens", _two_screens, "easy"),
        Template("exit_side", _exit_side, "hard"),
        Template("lanes", _lanes, "neutral"),
        Template("lanes", _lanes, "neutral"),
        Template("lanes_in_sight", _lanes_in_sight, "neutral", "visible"),
    ),
)
