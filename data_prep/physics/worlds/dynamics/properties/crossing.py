"""Crossing: two bodies pass each other again and again. Which of them is on the left next?

The bodies differ in colour, shape or size. Each has a lane of its own. Both move from plate to plate,
so the larger one has the shorter path. The magnitude is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import Appearance, body, half_width_m
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.properties._to_and_fro import between_walls, two_walls
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

LANES_M = (-0.3, 0.5)  # about where the near and the far body move: widths are those of these depths
FRONT_M = -0.68  # front of the near body; the screen is behind -0.75
GAP_M = 0.05  # between the two bodies when they pass each other
Bodies = tuple[Appearance, Appearance]


def _two_colours(base: DynamicsBase) -> Bodies:
    hue = base.builtin.sample_hue()
    one = sample_appearance(base.builtin, hue=hue)
    return one, replace(one, colour=base.builtin.sample_colour(base.builtin.sample_hue(hue)))


def _two_shapes(base: DynamicsBase) -> Bodies:
    shape = base.rng.choice(base.builtin.shapes)
    one = sample_appearance(base.builtin, shape)
    return one, replace(one, shape=base.rng.choice([other for other in base.builtin.shapes if other != shape]))


def _two_sizes(base: DynamicsBase) -> Bodies:
    small = replace(sample_appearance(base.builtin), width_px=base.rng.uniform(10.6, 11.0))
    return small, replace(small, width_px=1.35 * small.width_px)


def _cross(base: DynamicsBase, sample: Callable[[DynamicsBase], Bodies]) -> ScenePair[LookAwayScene]:
    """The two bodies are in the middle in the last frame, the first on its way to the right or to the left."""
    named = list(zip(("one", "other"), sample(base), strict=True))[:: base.rng.side()]  # the nearer one comes first
    half_path_m = base.rng.uniform(0.34, 0.4)  # of the wider one
    widths_m = [base.builtin.width_m(it.width_px, y_m) for (_, it), y_m in zip(named, LANES_M, strict=True)]
    near, far = (
        body(base.builtin, name, it, (0.0, 0.0), width_m=width_m) for (name, it), width_m in zip(named, widths_m, strict=True)
    )
    near_m = FRONT_M + near.size_m[0]  # half of the depth, in every shape
    far_m = near_m + near.size_m[0] + GAP_M + far.size_m[0]
    back_m = far_m + far.size_m[0]
    moving = [replace(it, position_m=(0.0, y_m, it.position_m[2])) for it, y_m in ((near, near_m), (far, far_m))]
    reach_m = half_path_m + max(map(half_width_m, moving))
    middle_m, half_depth_m = (back_m + FRONT_M) / 2, (back_m - FRONT_M) / 2
    walls = two_walls(base, -reach_m, reach_m, middle_m, 1.1 * min(widths_m), half_depth_m)
    entities = [*walls, base.sudden_screen(), *moving]
    paths_m = {it.name: reach_m - half_width_m(it) for it in moving}
    a, b = (
        base.finished(
            entities,
            {name: between_walls(base, paths_m[name], way) for name, way in (("one", one_way), ("other", -one_way))},
        )
        for one_way in (1, -1)
    )
    return ScenePair(a, b, 1.0)


CROSSING = DynamicsProperty(
    "crossing",
    tuple(
        template
        for name, sample in (("colour", _two_colours), ("shape", _two_shapes), ("size", _two_sizes))
        for template in with_hidden_times(name, partial(_cross, sample=sample))
    ),
)
