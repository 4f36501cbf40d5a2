"""Spin: a ball turns to and fro about its vertical axis. To which side is it turned next?

In the last frame it is in the middle of its turn. The magnitude is the angle from one side to the
other, in degrees.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from data_prep.physics.motion import resting
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene, Turning

AMPLITUDE_DEG = 45.0  # at both sides the pattern of a ball is symmetric, with light and dark exchanged
WIDTH_PX = (15.0, 17.0)


def _to_and_fro(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """The ball turns to the left or to the right in the last frame."""
    rng = base.rng
    appearance = replace(sample_appearance(base.builtin, "sphere"), width_px=rng.uniform(*WIDTH_PX))
    x_m = rng.uniform(-0.3, 0.3)
    entities = [base.sudden_screen(), body(base.builtin, "one", appearance, (x_m, rng.uniform(0.0, 0.2)))]
    left, right = (
        base.finished(
            entities,
            {"one": resting(x_m, 0.0)},
            {"one": Turning(np.deg2rad(direction * AMPLITUDE_DEG), base.period_s, base.last_seen_s)},
        )
        for direction in (-1, 1)
    )
    return ScenePair(left, right, 2 * AMPLITUDE_DEG)


SPIN = DynamicsProperty("spin", with_hidden_times("to_and_fro", _to_and_fro))
