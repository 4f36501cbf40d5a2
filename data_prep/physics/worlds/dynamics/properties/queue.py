"""Queue: two bodies of different colour go behind an occluder one after the other. Which comes out first?

They are never seen together. The magnitude is the difference of hue, on a circle of 1.
"""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.hues import hue_gap
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.builtin.occluders import occluder
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty, DynamicsTemplate
from data_prep.physics.worlds.lookaway.base_scene import uniform
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

FIRST_S = 8 / 12  # when the first body is in the middle at 12 frames/s


def _first_in_first_out(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """Two bodies of one shape cross at the same speed, half a period apart."""
    rng, side = base.rng, base.rng.side()
    y_m, speed = rng.uniform(0.0, 0.1), rng.uniform(3.5, 3.65) / base.stretch
    hue = base.builtin.sample_hue()
    other_hue = base.builtin.sample_hue(hue)
    one = sample_appearance(base.builtin, hue=hue)
    other = replace(one, colour=base.builtin.sample_colour(other_hue))
    bodies = [body(base.builtin, name, it, (0.0, y_m)) for name, it in (("one", one), ("other", other))]
    entities = [occluder(base.builtin, 0.0, rng.uniform(1.26, 1.3), rng.uniform(0.54, 0.6)), *bodies]
    first_s = FIRST_S * base.stretch
    first, second = (uniform(-side * speed, first_s + later_s) for later_s in (0.0, base.period_s / 2))
    a, b = base.finished(entities, {"one": first, "other": second}), base.finished(entities, {"one": second, "other": first})
    return ScenePair(a, b, hue_gap(hue, other_hue))


QUEUE = DynamicsProperty("queue", (DynamicsTemplate("first_in_first_out", _first_in_first_out, "neutral"),))
