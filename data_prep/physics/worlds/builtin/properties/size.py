"""Size constancy: bodies neither grow nor shrink. The magnitude is the ratio of the two widths."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.quadruplets import Property, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.properties._passing import AppearancePair, passage, revealed
from data_prep.physics.worlds.builtin.scenes import Shape

RATIOS = (1.25, 1.35, 1.45)


def _two_sizes(base: BaseScene, shapes: tuple[Shape, ...]) -> AppearancePair:
    ratio = base.rng.choice(RATIOS)
    small = replace(sample_appearance(base, base.rng.choice(shapes)), width_px=base.rng.uniform(11.4, 11.8))
    return AppearancePair(small, replace(small, width_px=small.width_px * ratio), ratio)


SIZE = Property(
    "size",
    (
        Template("passage", passage(_two_sizes), "neutral"),
        Template("revealed", revealed(_two_sizes), "neutral"),
        Template("in_sight", passage(_two_sizes, hidden=False), "easy", "visible"),
    ),
)
