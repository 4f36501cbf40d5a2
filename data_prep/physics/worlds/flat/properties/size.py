"""Size constancy: bodies neither grow nor shrink. The magnitude is the ratio of the two widths."""

from __future__ import annotations

from data_prep.physics.worlds.flat.base_scene import FlatBase, resized
from data_prep.physics.worlds.flat.properties._identity import TwoBodies, identity_templates
from data_prep.physics.worlds.flat.quadruplets import FlatProperty

RATIOS = (1.25, 1.35, 1.45)


def _two_sizes(base: FlatBase) -> TwoBodies:
    ratio = base.rng.choice(RATIOS)
    small = base.sample_appearance(width_px=base.rng.uniform(11.2, 11.6))
    return TwoBodies(small, resized(small, ratio), ratio)


SIZE = FlatProperty("size", identity_templates(_two_sizes))
