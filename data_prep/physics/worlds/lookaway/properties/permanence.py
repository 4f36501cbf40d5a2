"""Permanence: a body that nobody looks at still exists, and nothing appears that was not there before."""

from __future__ import annotations

from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase
from data_prep.physics.worlds.lookaway.properties._identity import Bodies, moves_on
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate


def _one_or_none(base: LookAwayBase) -> tuple[Bodies, float]:
    return (sample_appearance(base.builtin), None), 1.0


PERMANENCE = LookAwayProperty("permanence", (LookAwayTemplate("moves_on", moves_on(_one_or_none), "neutral"),))
