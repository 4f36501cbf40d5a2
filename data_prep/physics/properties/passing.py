"""How things pass behind an occluder or stop behind a screen: the pairs that several properties share.

Where a body goes out of sight and where it comes into sight lie apart in the picture. So whatever compares frames pixel
by pixel, over however long a lag, gains on one pair of a quadruplet exactly what it loses on the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import covered, lowered
from data_prep.physics.object_sampling import Look, arriving, mover, pace, sliding_shapes
from data_prep.physics.quadruplets import Pair
from data_prep.physics.scenes import Shape


@dataclass(frozen=True)
class Lookalikes:
    """Two looks that differ in one respect, and by how much."""

    one: Look
    other: Look
    magnitude: float


Alike = Callable[[Stage, tuple[Shape, ...]], Lookalikes]
"""A draw of two looks among bodies of these shapes."""


def passage(alike: Alike, *, hidden: bool = True) -> Callable[[Stage], Pair]:
    """One body passes in both scenes, with one of two looks."""

    def draw(stage: Stage) -> Pair:
        looks = alike(stage, stage.shapes)
        side, y_m = stage.dice.side(), stage.dice.uniform(-0.1, 0.25)
        speed, middle_s = pace(stage)
        base = stage.scene.with_things([covered(stage)] if hidden else [])
        movers = [mover(stage, name, look, side, y_m, speed, middle_s) for name, look in _named(looks)]
        late = stage.dice.uniform(-0.08, 0.08) * stage.film.duration_s
        a, b = (base.with_things([thing]) for thing in movers)
        return Pair(a, b, looks.magnitude, cut_s=None if hidden else middle_s + late)

    return draw


def revealed(alike: Alike) -> Callable[[Stage], Pair]:
    """A body with one of two looks slides in, slows down and stops behind a screen; the screen sinks."""

    def draw(stage: Stage) -> Pair:
        looks = alike(stage, sliding_shapes(stage))
        side, rest = stage.dice.side(), (stage.dice.uniform(-0.12, 0.12), stage.dice.uniform(-0.05, 0.2))
        stops_s = stage.film.duration_s * stage.dice.uniform(0.5, 0.56)
        base = stage.scene.with_things([lowered(stage)])
        a, b = (base.with_things([arriving(stage, name, look, side, rest, stops_s)]) for name, look in _named(looks))
        return Pair(a, b, looks.magnitude)

    return draw


def _named(looks: Lookalikes) -> tuple[tuple[str, Look], tuple[str, Look]]:
    return ("one", looks.one), ("other", looks.other)
