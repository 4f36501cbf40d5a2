"""Permanence: a hidden body still exists, and nothing appears that was not there before."""

from __future__ import annotations

from functools import partial

from data_prep.physics.worlds.flat.base_scene import Appearance, FlatBase
from data_prep.physics.worlds.flat.properties._identity import TwoBodies, identity_templates
from data_prep.physics.worlds.flat.properties._sides import either_side
from data_prep.physics.worlds.flat.quadruplets import FlatProperty, FlatTemplate


def _one_or_none(base: FlatBase) -> TwoBodies:
    return TwoBodies(base.sample_appearance(), None, 1.0)


def _two_colours(base: FlatBase) -> tuple[Appearance, Appearance]:
    hue, shape = base.sample_hue(), base.rng.choice(base.shapes)
    return base.sample_appearance(shape, hue), base.sample_appearance(shape, base.sample_hue(hue, min_gap=0.12))


PERMANENCE = FlatProperty(
    "permanence",
    (
        FlatTemplate("turned_back", partial(either_side, sample=_two_colours, walled=True), "easy"),
        FlatTemplate("either_side", partial(either_side, sample=_two_colours, walled=False), "hard"),
        *identity_templates(_one_or_none),
    ),
)
