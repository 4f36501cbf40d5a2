"""Colour constancy: bodies keep their hue. The magnitude is the change of hue, on a circle of 1."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.quadruplets import InvalidSample
from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.properties._identity import TwoBodies, identity_templates
from data_prep.physics.worlds.flat.quadruplets import FlatProperty

HUE_STEPS = (0.2, 0.33, 0.5)


def _two_hues(base: FlatBase) -> TwoBodies:
    step = base.rng.choice(HUE_STEPS)
    first = base.sample_hue()
    second = first + step * base.rng.side()
    if not base.is_clear(second):
        raise InvalidSample("the second hue is too close to that of the wall or the occluder")
    appearance = base.sample_appearance(hue=first)
    return TwoBodies(appearance, replace(appearance, colour=base.sample_colour(second)), step)


COLOUR = FlatProperty("colour", identity_templates(_two_hues))
