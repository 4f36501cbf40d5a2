"""Pairs of scenes for several properties: a body passes an occluder or stops behind a screen.

The positions where a body disappears and where it appears again do not overlap. So a scorer
that compares frames pixel by pixel, at any lag, gains on one pair of a quadruplet exactly what it
loses on the other pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance
from data_prep.physics.worlds.builtin.object_sampling import passing_body, sample_speed_and_time, sliding_shapes, stopping_body
from data_prep.physics.worlds.builtin.occluders import central_occluder, sinking_screen
from data_prep.physics.worlds.builtin.scenes import Scene, Shape


@dataclass(frozen=True)
class AppearancePair:
    """Two appearances that differ in one respect, and by how much."""

    one: Appearance
    other: Appearance
    magnitude: float

    def named(self) -> tuple[tuple[str, Appearance], tuple[str, Appearance]]:
        """The names of the two bodies in the ground truth, with their appearances."""
        return ("one", self.one), ("other", self.other)


SamplePair = Callable[[BaseScene, tuple[Shape, ...]], AppearancePair]
"""A function that samples two appearances of bodies of these shapes."""


def passage(sample_pair: SamplePair, *, hidden: bool = True) -> Callable[[BaseScene], ScenePair[Scene]]:
    """A body passes.

    It has one appearance in one scene, and the other appearance in the other scene.
    """

    def sample(base: BaseScene) -> ScenePair[Scene]:
        pair = sample_pair(base, base.shapes)
        side, y_m = base.rng.side(), base.rng.uniform(-0.1, 0.25)
        speed, middle_s = sample_speed_and_time(base)
        shared = base.scene.with_entities([central_occluder(base)] if hidden else [])
        bodies = [passing_body(base, name, appearance, side, y_m, speed, middle_s) for name, appearance in pair.named()]
        delay_s = base.rng.uniform(-0.08, 0.08) * base.video.duration_s
        a, b = (shared.with_entities([passing]) for passing in bodies)
        return ScenePair(a, b, pair.magnitude, cut_s=None if hidden else middle_s + delay_s)

    return sample


def revealed(sample_pair: SamplePair) -> Callable[[BaseScene], ScenePair[Scene]]:
    """A body with one of two appearances slides in, slows down and stops behind a screen.

    Then the screen sinks.
    """

    def sample(base: BaseScene) -> ScenePair[Scene]:
        pair = sample_pair(base, sliding_shapes(base))
        side, rest = base.rng.side(), (base.rng.uniform(-0.12, 0.12), base.rng.uniform(-0.05, 0.2))
        stop_s = base.video.duration_s * base.rng.uniform(0.5, 0.56)
        shared = base.scene.with_entities([sinking_screen(base)])
        a, b = (
            shared.with_entities([stopping_body(base, name, appearance, side, rest, stop_s)])
            for name, appearance in pair.named()
        )
        return ScenePair(a, b, pair.magnitude)

    return sample
