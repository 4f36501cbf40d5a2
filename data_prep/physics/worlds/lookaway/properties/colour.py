"""Colour constancy: bodies keep their hue while nobody looks. The magnitude is the change of hue, on a circle of 1."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.hues import hue_gap
from data_prep.physics.quadruplets import InvalidSample, ScenePair
from data_prep.physics.worlds.builtin.base_scene import HUE_GAP
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase
from data_prep.physics.worlds.lookaway.properties._identity import Bodies, moves_on
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

HUE_STEPS = (0.2, 0.33, 0.5)


def _two_hues(base: LookAwayBase) -> tuple[Bodies, float]:
    step = base.rng.choice(HUE_STEPS)
    first = base.builtin.sample_hue()
    second = first + step * base.rng.side()
    if hue_gap(second, base.builtin.wall_hue) < HUE_GAP:
        raise InvalidSample("the second hue is too close to that of the wall")
    appearance = sample_appearance(base.builtin, hue=first)
    return (appearance, replace(appearance, colour=base.builtin.sample_colour(second))), step


def _in_the_dark(base: LookAwayBase) -> ScenePair[LookAwayScene]:
    """The light is the cause. Frames in which a camera turns made comparisons of distant frames score above chance."""
    return moves_on(_two_hues)(base.with_light_out())


COLOUR = LookAwayProperty("colour", (LookAwayTemplate("moves_on", _in_the_dark, "neutral"),))
