"""How things pass behind an occluder or wait behind a screen: the pairs that several properties share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from data_prep.physics.casting import Look, mover, pace, still
from data_prep.physics.props import covered, curtain, occluder
from data_prep.physics.quadruplets import Pair
from data_prep.physics.scenes import Scene
from data_prep.physics.stage import Stage


FAR_HASTE = 1.2


@dataclass(frozen=True)
class Lookalikes:
    """Two looks that differ in one respect, and by how much."""

    one: Look
    other: Look
    magnitude: float


def passage(alike: Callable[[Stage], Lookalikes], *, hidden: bool = True) -> Callable[[Stage], Pair]:
    """One body passes in both scenes, with one of two looks."""

    def draw(stage: Stage) -> Pair:
        looks = alike(stage)
        side, y_m = stage.dice.side(), stage.dice.uniform(-0.1, 0.25)
        speed, middle_s = pace(stage)
        base = stage.scene.with_things([covered(stage)] if hidden else [])
        movers = [mover(stage, name, look, side, y_m, speed, middle_s) for name, look in _named(looks)]
        late = stage.dice.uniform(-0.08, 0.08) * stage.film.duration_s
        a, b = (base.with_things([thing]) for thing in movers)
        return Pair(a, b, looks.magnitude, cut_s=None if hidden else middle_s + late)

    return draw


def waiting(alike: Callable[[Stage], Lookalikes]) -> Callable[[Stage], Pair]:
    """A body with one of two looks lies still; a screen rises before it and sinks again."""

    def draw(stage: Stage) -> Pair:
        looks = alike(stage)
        at = (stage.dice.uniform(-0.15, 0.15), stage.dice.uniform(-0.1, 0.25))
        base = stage.scene.with_things([curtain(stage)])
        a, b = (base.with_things([still(stage, name, look, at)]) for name, look in _named(looks))
        return Pair(a, b, looks.magnitude)

    return draw


def crossing(alike: Callable[[Stage], Lookalikes]) -> Callable[[Stage], Pair]:
    """Two bodies with two looks cross behind an occluder; in the other scene they have each other's look.

    What comes out on a side is then what did not go in there: to repeat what was seen is the wrong answer.
    """

    def draw(stage: Stage) -> Pair:
        looks = alike(stage)
        near_side = stage.dice.side()
        speed = stage.dice.uniform(1.5, 1.65) / stage.film.tempo
        middle_s = stage.film.duration_s * 0.5
        near_y, far_y = -0.25, 0.6
        base = stage.seen_straight_on().scene.with_things([occluder(stage, 0.0, 0.7, stage.dice.uniform(0.56, 0.62))])

        def scene(near: Look, far: Look, names: Sequence[str]) -> Scene:
            return base.with_things(
                [
                    mover(stage, names[0], near, near_side, near_y, speed, middle_s),
                    # further off it has more to cross: so both go out of sight together
                    mover(stage, names[1], far, -near_side, far_y, speed * FAR_HASTE, middle_s),
                ]
            )

        a = scene(looks.one, looks.other, ("near one", "far other"))
        b = scene(looks.other, looks.one, ("near other", "far one"))
        return Pair(a, b, looks.magnitude)

    return draw


def _named(looks: Lookalikes) -> tuple[tuple[str, Look], tuple[str, Look]]:
    return ("one", looks.one), ("other", looks.other)
