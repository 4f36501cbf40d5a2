"""Permanence: a hidden body still exists, and nothing appears that was not there before."""

from __future__ import annotations

from functools import partial

from data_prep.physics.quadruplets import Property, ScenePair, Template
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance
from data_prep.physics.worlds.builtin.object_sampling import (
    passing_body,
    sample_appearance,
    sample_speed_and_time,
    sliding_shapes,
    stopping_body,
)
from data_prep.physics.worlds.builtin.occluders import central_occluder, sinking_screen
from data_prep.physics.worlds.builtin.properties._sides import either_side
from data_prep.physics.worlds.builtin.scenes import Scene


def _passage(base: BaseScene, *, hidden: bool = True) -> ScenePair[Scene]:
    """A body passes behind an occluder, or none does."""
    speed, middle_s = sample_speed_and_time(base)
    appearance, side, y_m = sample_appearance(base), base.rng.side(), base.rng.uniform(-0.1, 0.25)
    one = passing_body(base, "one", appearance, side, y_m, speed, middle_s)
    shared = base.scene.with_entities([central_occluder(base)] if hidden else [])
    return ScenePair(shared.with_entities([one]), shared, 1.0, cut_s=None if hidden else middle_s)


def _revealed(base: BaseScene) -> ScenePair[Scene]:
    """A body slides in and stops behind a screen, or none does. Then the screen sinks."""
    stop_s = base.video.duration_s * base.rng.uniform(0.5, 0.56)
    rest = (base.rng.uniform(-0.12, 0.12), base.rng.uniform(-0.05, 0.2))
    shared = base.scene.with_entities([sinking_screen(base)])
    appearance = sample_appearance(base, base.rng.choice(sliding_shapes(base)))
    one = stopping_body(base, "one", appearance, base.rng.side(), rest, stop_s)
    return ScenePair(shared.with_entities([one]), shared, 1.0)


def _two_colours(base: BaseScene) -> tuple[Appearance, Appearance]:
    hue, shape = base.sample_hue(), base.rng.choice(base.shapes)
    return sample_appearance(base, shape, hue), sample_appearance(base, shape, base.sample_hue(hue, min_gap=0.12))


PERMANENCE = Property(
    "permanence",
    (
        Template("turned_back", either_side(_two_colours, walled=True), "easy"),
        Template("either_side", either_side(_two_colours, walled=False), "hard"),
        Template("passage", _passage, "neutral"),
        Template("revealed", _revealed, "neutral"),
        Template("in_sight", partial(_passage, hidden=False), "easy", "visible"),
    ),
)
