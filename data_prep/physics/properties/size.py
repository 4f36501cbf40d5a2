"""Size constancy: things neither grow nor shrink. The magnitude is the ratio of the two widths."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.casting import draw_look
from data_prep.physics.properties.passing import Lookalikes, crossing, passage, waiting
from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.stage import Stage

RATIOS = (1.25, 1.35, 1.45)


def _two_sizes(stage: Stage) -> Lookalikes:
    ratio = stage.dice.pick(RATIOS)
    small = replace(draw_look(stage), width_px=stage.dice.uniform(10.8, 11.2))
    return Lookalikes(small, replace(small, width_px=small.width_px * ratio), ratio)


SIZE = Property(
    "size",
    (
        Template("waiting", waiting(_two_sizes), "easy"),
        Template("crossing", crossing(_two_sizes), "hard"),
        Template("passage", passage(_two_sizes), "neutral"),
        Template("passage", passage(_two_sizes), "neutral"),
        Template("in_sight", passage(_two_sizes, hidden=False), "easy", "visible"),
    ),
)
