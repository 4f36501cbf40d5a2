"""From one side or from the other: pairs in which to repeat what was seen is right, or wrong, by the same amount.

In one template two bodies come from either side and pass behind an occluder: what comes out on a side is not what went
in there. In its twin a wall, whose top shows above the occluder, turns them back: what comes out is what went in. Both
are as long out of sight and move at the same pace, so what a scorer gains in one by copying it loses in the other.
"""

from __future__ import annotations

from collections.abc import Callable

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body, occluder, plate, wood
from data_prep.physics.object_sampling import Look
from data_prep.physics.quadruplets import Pair
from data_prep.physics.scenes import Thing

PASSED_HALF_WIDTH_M = 0.68
WALLED_HALF_WIDTH_M = 1.0


def either_side(looks: Callable[[Stage], tuple[Look, Look]], *, walled: bool) -> Callable[[Stage], Pair]:
    """A body from the left, or another from the right, that slides without turning or losing pace."""

    def draw(stage: Stage) -> Pair:
        left, right = looks(stage)
        stage = stage.seen_straight_on()
        speed, y_m = stage.dice.uniform(1.75, 1.95) / stage.film.tempo, stage.dice.uniform(-0.05, 0.15)
        half_width = WALLED_HALF_WIDTH_M if walled else PASSED_HALF_WIDTH_M
        panel = occluder(stage, 0.0, half_width, stage.dice.uniform(0.56, 0.6))
        wall = [plate(stage, "wall between", 0.0, y_m, 1.55, wood(stage), 0.36)] if walled else []
        base = stage.scene.with_things([panel, *wall])
        names = ("one", "one" if left == right else "other")
        movers = [
            _slider(stage, name, look, side, y_m, speed, walled)
            for name, look, side in zip(names, (left, right), (-1, 1), strict=True)
        ]
        a, b = (base.with_things([mover]) for mover in movers)
        return Pair(a, b, 2 * half_width / stage.width_m(left.width_px, y_m))

    return draw


def _slider(stage: Stage, name: str, look: Look, side: int, y_m: float, speed_m_s: float, walled: bool) -> Thing:
    """It is at the middle, or at the wall there, when half the film is over."""
    width = stage.width_m(look.width_px, y_m)
    short_m = 0.1 + width / 2 if walled else 0.0
    start_m = side * (speed_m_s * stage.film.duration_s / 2 + short_m)
    velocity = (-side * speed_m_s, 0.0, 0.0)
    return body(
        stage,
        name,
        look.shape,
        width,
        (start_m, y_m),
        look.colour,
        velocity_m_s=velocity,
        rolls=False,
        bouncy=True,
        friction=1e-4,
        pattern=look.pattern,
    )
