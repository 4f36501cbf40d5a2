"""Direction: a body moves to and fro between two walls. Does it come to the left or to the right next?

The magnitude is the length of the path, in widths.
"""

from __future__ import annotations

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import body, half_width_m
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.properties._to_and_fro import between_walls, two_walls
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene


def _walls(base: DynamicsBase) -> ScenePair[LookAwayScene]:
    """A body that was in the middle in the last frame, on its way to the right or to the left."""
    appearance, y_m, half_path_m = sample_appearance(base.builtin), base.rng.uniform(0.0, 0.2), base.rng.uniform(0.34, 0.4)
    one = body(base.builtin, "one", appearance, (0.0, y_m))
    width_m = base.builtin.width_m(appearance.width_px, y_m)
    reach_m = half_path_m + half_width_m(one)
    entities = [*two_walls(base, -reach_m, reach_m, y_m, 1.1 * width_m), base.sudden_screen(), one]
    right, left = (base.finished(entities, {"one": between_walls(base, half_path_m, towards)}) for towards in (1, -1))
    return ScenePair(right, left, 2 * half_path_m / width_m)


DIRECTION = DynamicsProperty("direction", with_hidden_times("walls", _walls))
