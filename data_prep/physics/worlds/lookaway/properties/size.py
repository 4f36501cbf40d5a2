"""Size constancy: bodies neither grow nor shrink while nobody looks. The magnitude is the ratio of the two widths."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase
from data_prep.physics.worlds.lookaway.properties._identity import Bodies, moves_on
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate

RATIOS = (1.25, 1.35, 1.45)


def _two_sizes(base: LookAwayBase) -> tuple[Bodies, float]:
    ratio = base.rng.choice(RATIOS)
    small = replace(sample_appearance(base.builtin), width_px=base.rng.uniform(11.4, 11.8))
    return (small, replace(small, width_px=small.width_px * ratio)), ratio


SIZE = LookAwayProperty("size", (LookAwayTemplate("moves_on", moves_on(_two_sizes), "neutral"),))
