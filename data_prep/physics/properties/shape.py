"""Shape constancy: a ball does not become a box."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.base_scene import Stage
from data_prep.physics.object_sampling import draw_look
from data_prep.physics.properties.passing import Lookalikes, passage, revealed
from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.scenes import Shape


def _two_shapes(stage: Stage, shapes: tuple[Shape, ...]) -> Lookalikes:
    first = stage.dice.pick(shapes)
    second = stage.dice.pick([shape for shape in shapes if shape != first])
    look = draw_look(stage, first)
    return Lookalikes(look, replace(look, shape=second), 1.0)


SHAPE = Property(
    "shape",
    (
        Template("passage", passage(_two_shapes), "neutral"),
        Template("revealed", revealed(_two_shapes), "neutral"),
        Template("in_sight", passage(_two_shapes, hidden=False), "easy", "visible"),
    ),
)
