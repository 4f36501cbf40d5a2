"""Shape constancy: bodies keep their shape. A disc does not become a square."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.worlds.flat.base_scene import FlatBase
from data_prep.physics.worlds.flat.properties._identity import TwoBodies, identity_templates
from data_prep.physics.worlds.flat.quadruplets import FlatProperty


def _two_shapes(base: FlatBase) -> TwoBodies:
    first = base.rng.choice(base.shapes)
    second = base.rng.choice([shape for shape in base.shapes if shape != first])
    appearance = base.sample_appearance(first)
    return TwoBodies(appearance, replace(appearance, shape=second), 1.0)


SHAPE = FlatProperty("shape", identity_templates(_two_shapes))
