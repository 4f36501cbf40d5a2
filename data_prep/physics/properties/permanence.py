"""Permanence: what goes out of sight is still there, and nothing comes out that did not go in."""

from __future__ import annotations

from data_prep.physics.casting import draw_look, mover, pace, still
from data_prep.physics.props import covered, curtain
from data_prep.physics.quadruplets import Pair, Property, Template
from data_prep.physics.stage import Stage


def _passage(stage: Stage) -> Pair:
    """A body passes behind an occluder, or none does."""
    speed, middle_s = pace(stage)
    one = mover(stage, "one", draw_look(stage), stage.dice.side(), stage.dice.uniform(-0.1, 0.25), speed, middle_s)
    base = stage.scene.with_things([covered(stage)])
    return Pair(base.with_things([one]), base, 1.0)


def _waiting(stage: Stage) -> Pair:
    """A screen rises before a body that lies still, or before nothing, and sinks again."""
    at = (stage.dice.uniform(-0.15, 0.15), stage.dice.uniform(-0.1, 0.25))
    base = stage.scene.with_things([curtain(stage)])
    return Pair(base.with_things([still(stage, "one", draw_look(stage), at)]), base, 1.0)


def _either_side(stage: Stage) -> Pair:
    """One body passes from left to right, or another of another colour from right to left."""
    speed, _ = pace(stage)
    middle_s, y_m = stage.film.duration_s / 2, stage.dice.uniform(-0.1, 0.25)
    hue = stage.hue()
    base = stage.scene.with_things([covered(stage)])
    shape = stage.dice.pick(stage.shapes)
    left = mover(stage, "one", draw_look(stage, shape, hue), -1, y_m, speed, middle_s)
    right = mover(stage, "other", draw_look(stage, shape, stage.hue(hue, apart=0.15)), 1, y_m, speed, middle_s)
    return Pair(base.with_things([left]), base.with_things([right]), 1.0)


def _in_sight(stage: Stage) -> Pair:
    """A body rolls across, or none does; it vanishes or appears on the way."""
    speed, middle_s = pace(stage)
    one = mover(stage, "one", draw_look(stage), stage.dice.side(), stage.dice.uniform(-0.1, 0.25), speed, middle_s)
    return Pair(stage.scene.with_things([one]), stage.scene, 1.0, cut_s=middle_s)


PERMANENCE = Property(
    "permanence",
    (
        Template("waiting", _waiting, "easy"),
        Template("either_side", _either_side, "hard"),
        Template("passage", _passage, "neutral"),
        Template("passage", _passage, "neutral"),
        Template("in_sight", _in_sight, "easy", "visible"),
    ),
)
