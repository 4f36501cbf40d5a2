"""Size constancy: things neither grow nor shrink. The magnitude is the ratio of the two widths."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.base_scene import Stage
from data_prep.physics.object_sampling import draw_look
from data_prep.physics.properties.passing import Lookalikes, passage, revealed
from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.scenes import Shape

RATIOS = (1.25, 1.35, 1.45)


def _two_sizes(stage: Stage, shapes: tuple[Shape, ...]) -> Lookalikes:
    ratio = stage.dice.pick(RATIOS)
    small = replace(draw_look(stage, stage.dice.pick(shapes)), width_px=stage.dice.uniform(11.4, 11.8))
    return Lookalikes(small, replace(small, width_px=small.width_px * ratio), ratio)


SIZE = Property(
    "size",
    (
        Template("passage", passage(_two_sizes), "neutral"),
        Template("revealed", revealed(_two_sizes), "neutral"),
        Template("in_sight", passage(_two_sizes, hidden=False), "easy", "visible"),
    ),
)
