"""Crossing: two bodies pass each other again and again. Which of them is on the left next?

The bodies differ in colour, shape or size. The magnitude is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.object_sampling import sample_appearance
from data_prep.physics.worlds.dynamics.base_scene import DynamicsBase
from data_prep.physics.worlds.dynamics.properties._hidden_times import with_hidden_times
from data_prep.physics.worlds.dynamics.properties._to_and_fro import between_walls, two_walls
from data_prep.physics.worlds.dynamics.quadruplets import DynamicsProperty
from data_prep.physics.worlds.lookaway.scenes import LookAwayScene

LANES_M = (-0.12, 0.32)  # of the near and of the far body
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
    rng, bodies = base.rng, sample(base)
    near = rng.side()  # -1: the first one is nearer to the camera
    lanes = LANES_M if near < 0 else LANES_M[::-1]
    half_path_m = rng.uniform(0.34, 0.4)
    names = ("one", "other")
    moving = [body(base.builtin, name, it, (0.0, y)) for name, it, y in zip(names, bodies, lanes, strict=True)]
    widths_m = [base.builtin.width_m(it.width_px, y) for it, y in zip(bodies, lanes, strict=True)]
    reach_m = half_path_m + max(widths_m) / 2
    entities = [*two_walls(base, -reach_m, reach_m, sum(LANES_M) / 2, 1.1 * min(widths_m)), base.sudden_screen(), *moving]
    a, b = (
        base.finished(entities, {"one": between_walls(base, half_path_m, way), "other": between_walls(base, half_path_m, -way)})
        for way in (1, -1)
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
