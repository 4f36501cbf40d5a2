"""Inertia: a body on which nothing acts keeps its speed while nobody looks. The magnitude is the ratio of the speeds.

The two scenes are equal, pixel for pixel, in the last frame before looking away.
"""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.lookaway.base_scene import LookAwayBase, uniform
from data_prep.physics.worlds.lookaway.quadruplets import LookAwayProperty, LookAwayTemplate
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

SPEED_RATIOS = (1.5, 1.65, 1.8)


def _pace(base: LookAwayBase) -> ScenePair[LookAwayScene]:
    """A body passes fast or slowly."""
    ratio, side = base.rng.choice(SPEED_RATIOS), base.rng.side()
    x_m, y_m, slow = side * base.rng.uniform(0.75, 0.9), base.rng.uniform(-0.1, 0.25), base.speed(1.1, 1.2)
    entity = base.body("one", sample_appearance(base.builtin), x_m, y_m)
    a, b = (base.finished((entity, uniform(-side * slow * factor, base.last_seen_s, x_m))) for factor in (1.0, ratio))
    return ScenePair(a, b, ratio)


INERTIA = LookAwayProperty("inertia", (LookAwayTemplate("pace", _pace, "neutral"),))
