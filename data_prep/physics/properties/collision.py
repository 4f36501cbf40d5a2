"""Collision: what is struck moves, and what is not struck stays. The magnitude is the speed of the blow over 2 m/s."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body, plate, screen, wood
from data_prep.physics.object_sampling import draw_look
from data_prep.physics.quadruplets import Pair, Property, Template
from data_prep.physics.scenes import Thing

PACES = (0.95, 1.05, 1.15)


def _launch(stage: Stage) -> Pair:
    """A body lies still and goes out of sight; another runs into it, or none does. If one does, the first comes out."""
    duration = stage.film.duration_s
    factor, side = stage.dice.pick(PACES), stage.dice.side()
    target, striker = _two(stage, side, factor, arrives_s=0.56 * duration, beyond_m=0.3)
    veil = screen(stage, 0.21 * duration, half_width_m=0.92, half_height_m=0.62, takes_s=0.17 * duration)
    base = stage.scene.with_things([veil, target])
    return Pair(base.with_things([striker]), base, factor)


def _in_sight(stage: Stage) -> Pair:
    """A body runs into another, or into a wall between them."""
    factor, side = stage.dice.pick(PACES), stage.dice.side()
    target, striker = _two(stage, side, factor, arrives_s=0.5 * stage.film.duration_s)
    width = target.size_m[0] * 2
    wall = plate(stage, "plate", side * (width / 2 + 0.13), target.position_m[1], 1.1 * width, wood(stage), half_depth_m=0.3)
    base = stage.scene.with_things([target, striker])
    return Pair(base, base.with_things([wall]), factor)


def _two(stage: Stage, side: int, factor: float, arrives_s: float, beyond_m: float = 0.0) -> tuple[Thing, Thing]:
    """A body at rest in the middle, and one that comes from a side: discs that slide and bounce, equally heavy."""
    y_m, speed = stage.dice.uniform(0.0, 0.2), factor * 2.0 / stage.film.tempo
    hue = stage.hue()
    looks = [replace(draw_look(stage, "cylinder"), colour=stage.paint(shade), width_px=11.2) for shade in (hue, stage.hue(hue))]
    width = stage.width_m(looks[0].width_px, y_m)
    at_m = -side * beyond_m
    target = body(stage, "struck", "cylinder", width, (at_m, y_m), looks[0].colour, bouncy=True, pattern=looks[0].pattern)
    start_m = at_m + side * (speed * arrives_s + width)
    velocity = (-side * speed, 0.0, 0.0)
    striker = body(
        stage,
        "striker",
        "cylinder",
        width,
        (start_m, y_m),
        looks[1].colour,
        velocity_m_s=velocity,
        bouncy=True,
        pattern=looks[1].pattern,
    )
    return target, striker


COLLISION = Property(
    "collision",
    (
        Template("launch", _launch, "neutral"),
        Template("blow_in_sight", _in_sight, "neutral", "visible"),
    ),
)
