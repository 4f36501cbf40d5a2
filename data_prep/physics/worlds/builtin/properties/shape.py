"""Shape constancy: bodies keep their shape. A ball does not become a box."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.properties._passing import AppearancePair, passage, revealed
from data_prep.physics.worlds.builtin.scenes import Shape


def _two_shapes(base: BaseScene, shapes: tuple[Shape, ...]) -> AppearancePair:
    first = base.rng.choice(shapes)
    second = base.rng.choice([shape for shape in shapes if shape != first])
    appearance = sample_appearance(base, first)
    return AppearancePair(appearance, replace(appearance, shape=second), 1.0)


SHAPE = Property(
    "shape",
    (
        Template("passage", passage(_two_shapes), "neutral"),
        Template("revealed", revealed(_two_shapes), "neutral"),
        Template("in_sight", passage(_two_shapes, hidden=False), "easy", "visible"),
    ),
)
