"""Solidity: what is solid stops what runs into it. The magnitude is the height of the wall over that of the ball."""

from __future__ import annotations

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import plate, screen, wood
from data_prep.physics.object_sampling import draw_look, mover
from data_prep.physics.quadruplets import Pair, Property, Template

HEIGHTS = (0.8, 1.1, 1.4)


def _wall(stage: Stage, *, hidden: bool = True) -> Pair:
    """A wall is seen, or none; a screen rises before it; a body comes: it gets through where nothing stands."""
    duration, tempo = stage.film.duration_s, stage.film.tempo
    ratio = stage.dice.pick(HEIGHTS)
    look, side = draw_look(stage), stage.dice.side()
    y_m = stage.dice.uniform(0.0, 0.2)
    width = stage.width_m(look.width_px, y_m)
    speed = stage.dice.uniform(1.95, 2.15) / tempo
    one = mover(stage, "one", look, side, y_m, speed, duration * stage.dice.uniform(0.57, 0.61))
    wall = plate(stage, "plate", side * stage.dice.uniform(-0.1, 0.1), y_m, ratio * width, wood(stage), half_depth_m=0.36)
    veil = [screen(stage, 0.21 * duration, half_width_m=0.68, half_height_m=0.62, takes_s=0.17 * duration)] if hidden else []
    base = stage.scene.with_things([*veil, one])
    return Pair(base, base.with_things([wall]), ratio)


def _wall_in_sight(stage: Stage) -> Pair:
    return _wall(stage, hidden=False)


SOLIDITY = Property(
    "solidity",
    (
        Template("wall", _wall, "neutral"),
        Template("wall_in_sight", _wall_in_sight, "neutral", "visible"),
    ),
)
