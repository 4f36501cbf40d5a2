"""Pairs of scenes in which a body passes an occluder, or stops behind a screen, with one of two appearances.

The pixels in which the two scenes differ before and after the occlusion do not overlap. So a scorer
that compares frames pixel by pixel, at any lag, gains on one pair of a quadruplet what it loses on
another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.physics.motion import Path, passing, stopping
from data_prep.physics.quadruplets import ScenePair
from data_prep.physics.worlds.flat.base_scene import Appearance, FlatBase
from data_prep.physics.worlds.flat.entities import central_occluder, leaving_screen
from data_prep.physics.worlds.flat.quadruplets import FlatTemplate
from data_prep.physics.worlds.flat.scenes import FlatEntity, FlatScene


@dataclass(frozen=True)
class TwoBodies:
    """Two appearances, or one and nothing, and by how much they differ."""

    one: Appearance
    other: Appearance | None
    magnitude: float


SampleBodies = Callable[[FlatBase], TwoBodies]


def identity_templates(sample: SampleBodies) -> tuple[FlatTemplate, ...]:
    """The templates that all questions about the identity of a body share."""
    return FlatTemplate("passage", _passage(sample), "neutral"), FlatTemplate("revealed", _revealed(sample), "neutral")


def sample_speed_and_time(base: FlatBase) -> tuple[float, float]:
    """A speed in m/s, and the time in s at which a body passes the middle."""
    return base.rng.uniform(1.7, 1.95) / base.video.slowdown, base.video.duration_s * base.rng.uniform(0.47, 0.53)


def _passage(sample: SampleBodies) -> Callable[[FlatBase], ScenePair[FlatScene]]:
    def pair(base: FlatBase) -> ScenePair[FlatScene]:
        bodies, side = sample(base), base.rng.side()
        speed, middle_s = sample_speed_and_time(base)
        return _scenes(base, bodies, central_occluder(base), lambda it: passing(side, speed, middle_s, it.standing_m))

    return pair


def _revealed(sample: SampleBodies) -> Callable[[FlatBase], ScenePair[FlatScene]]:
    def pair(base: FlatBase) -> ScenePair[FlatScene]:
        bodies, side = sample(base), base.rng.side()
        rest_m, stop_s = base.rng.uniform(-0.12, 0.12), base.video.duration_s * base.rng.uniform(0.5, 0.56)
        return _scenes(base, bodies, leaving_screen(base), lambda it: stopping(side, rest_m, stop_s, it.standing_m))

    return pair


def _scenes(
    base: FlatBase, bodies: TwoBodies, hiding: FlatEntity, path_of: Callable[[Appearance], Path]
) -> ScenePair[FlatScene]:
    a, b = (
        base.scene.with_entities([*([it.body(name, path_of(it))] if it else []), hiding])
        for name, it in (("one", bodies.one), ("other", bodies.other))
    )
    return ScenePair(a, b, bodies.magnitude)
