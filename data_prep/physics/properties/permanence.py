"""Permanence: what goes out of sight is still there, and nothing comes out that did not go in."""

from __future__ import annotations

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import covered, lowered
from data_prep.physics.object_sampling import Look, arriving, draw_look, mover, pace, sliding_shapes
from data_prep.physics.properties.sides import either_side
from data_prep.physics.quadruplets import Pair, Property, Template


def _passage(stage: Stage, *, hidden: bool = True) -> Pair:
    """A body passes behind an occluder, or none does."""
    speed, middle_s = pace(stage)
    one = mover(stage, "one", draw_look(stage), stage.dice.side(), stage.dice.uniform(-0.1, 0.25), speed, middle_s)
    base = stage.scene.with_things([covered(stage)] if hidden else [])
    return Pair(base.with_things([one]), base, 1.0, cut_s=None if hidden else middle_s)


def _in_sight(stage: Stage) -> Pair:
    return _passage(stage, hidden=False)


def _revealed(stage: Stage) -> Pair:
    """A body slides in and stops behind a screen, or none does; the screen sinks."""
    stops_s = stage.film.duration_s * stage.dice.uniform(0.5, 0.56)
    rest = (stage.dice.uniform(-0.12, 0.12), stage.dice.uniform(-0.05, 0.2))
    base = stage.scene.with_things([lowered(stage)])
    one = arriving(stage, "one", draw_look(stage, stage.dice.pick(sliding_shapes(stage))), stage.dice.side(), rest, stops_s)
    return Pair(base.with_things([one]), base, 1.0)


def _two_colours(stage: Stage) -> tuple[Look, Look]:
    hue, shape = stage.hue(), stage.dice.pick(stage.shapes)
    return draw_look(stage, shape, hue), draw_look(stage, shape, stage.hue(hue, apart=0.12))


PERMANENCE = Property(
    "permanence",
    (
        Template("turned_back", either_side(_two_colours, walled=True), "easy"),
        Template("either_side", either_side(_two_colours, walled=False), "hard"),
        Template("passage", _passage, "neutral"),
        Template("revealed", _revealed, "neutral"),
        Template("in_sight", _in_sight, "easy", "visible"),
    ),
)
