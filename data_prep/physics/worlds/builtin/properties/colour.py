"""Colour constancy: bodies keep their hue. The magnitude is the change of hue, on a circle of 1."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.hues import hue_gap
from data_prep.physics.quadruplets import InvalidSample, Property, Template
from data_prep.physics.worlds.builtin.base_scene import HUE_GAP, BaseScene
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.properties._passing import AppearancePair, passage, revealed
from data_prep.physics.worlds.builtin.scenes import Shape

HUE_STEPS = (0.2, 0.33, 0.5)


def _two_hues(base: BaseScene, shapes: tuple[Shape, ...]) -> AppearancePair:
    step = base.rng.choice(HUE_STEPS)
    first = base.sample_hue()
    second = first + step * base.rng.side()
    if min(hue_gap(second, base.wall_hue), hue_gap(second, base.screen_hue)) < HUE_GAP:
        raise InvalidSample("the second hue is too close to that of the wall or the screen")
    appearance = sample_appearance(base, base.rng.choice(shapes), first)
    return AppearancePair(appearance, replace(appearance, colour=base.sample_colour(second)), step)


COLOUR = Property(
    "colour",
    (
        Template("passage", passage(_two_hues), "neutral"),
        Template("revealed", revealed(_two_hues), "neutral"),
        Template("in_sight", passage(_two_hues, hidden=False), "easy", "visible"),
    ),
)
