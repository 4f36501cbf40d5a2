"""Shape constancy: bodies keep their shape while nobody looks."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase
from data_prep.physics.worlds.lookaway.properties._identity import Bodies, moves_on
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate


def _two_shapes(base: LookAwayBase) -> tuple[Bodies, float]:
    first = base.rng.choice(base.builtin.shapes)
    second = base.rng.choice([shape for shape in base.builtin.shapes if shape != first])
    appearance = sample_appearance(base.builtin, first)
    return (appearance, replace(appearance, shape=second)), 1.0


SHAPE = LookAwayProperty("shape", (LookAwayTemplate("moves_on", moves_on(_two_shapes), "neutral"),))
