"""Colour constancy: things keep their hue. The magnitude is the change of hue, of a circle of 1."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.base_scene import HUE_GAP, Stage, hue_gap
from data_prep.physics.object_sampling import draw_look
from data_prep.physics.properties.passing import Lookalikes, passage, revealed
from data_prep.physics.quadruplets import Invalid, Property, Template
from data_prep.physics.scenes import Shape

HUE_STEPS = (0.2, 0.33, 0.5)


def _two_hues(stage: Stage, shapes: tuple[Shape, ...]) -> Lookalikes:
    step = stage.dice.pick(HUE_STEPS)
    first = stage.hue()
    second = first + step * stage.dice.side()
    if min(hue_gap(second, stage.wall_hue), hue_gap(second, stage.screen_hue)) < HUE_GAP:
        raise Invalid("the second hue is too near to wall or screen")
    look = draw_look(stage, stage.dice.pick(shapes), first)
    return Lookalikes(look, replace(look, colour=stage.paint(second)), step)


COLOUR = Property(
    "colour",
    (
        Template("passage", passage(_two_hues), "neutral"),
        Template("revealed", revealed(_two_hues), "neutral"),
        Template("in_sight", passage(_two_hues, hidden=False), "easy", "visible"),
    ),
)
