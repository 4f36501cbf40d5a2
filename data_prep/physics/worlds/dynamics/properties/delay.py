"""Delay: a body passes behind an occluder early or late. When does it come out? The magnitude is the delay in s."""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.occluders import occluder
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty, DynamicsTemplate
from data_prep.physics.worlds.lookaway.base_scene import uniform
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

EARLY_S = 11 / 12  # when the early body is in the middle at 12 frames/s


def _early_or_late(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """The same passage, half a period later in one scene."""
    rng, side = base.rng, base.rng.side()
    y_m, speed = rng.uniform(0.0, 0.15), rng.uniform(2.35, 2.5) / base.stretch
    one = body(base.builtin, "one", sample_appearance(base.builtin), (0.0, y_m))
    entities = [occluder(base.builtin, 0.0, rng.uniform(0.93, 0.97), rng.uniform(0.54, 0.6)), one]
    delay_s = base.period_s / 2
    early_s = EARLY_S * base.stretch
    early, late = (base.finished(entities, {"one": uniform(-side * speed, early_s + later_s)}) for later_s in (0.0, delay_s))
    return ScenePair(early, late, delay_s)


DELAY = DynamicsProperty("delay", (DynamicsTemplate("early_or_late", _early_or_late, "neutral"),))
