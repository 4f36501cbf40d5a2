"""Shape constancy: a ball does not become a box."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.casting import draw_look
from data_prep.physics.properties.passing import Lookalikes, crossing, passage, waiting
from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.stage import Stage


def _two_shapes(stage: Stage) -> Lookalikes:
    first = stage.dice.pick(stage.shapes)
    second = stage.dice.pick([shape for shape in stage.shapes if shape != first])
    look = draw_look(stage, first)
    return Lookalikes(look, replace(look, shape=second), 1.0)


SHAPE = Property(
    "shape",
    (
        Template("waiting", waiting(_two_shapes), "easy"),
        Template("crossing", crossing(_two_shapes), "hard"),
        Template("passage", passage(_two_shapes), "neutral"),
        Template("passage", passage(_two_shapes), "neutral"),
        Template("in_sight", passage(_two_shapes, hidden=False), "easy", "visible"),
    ),
)
