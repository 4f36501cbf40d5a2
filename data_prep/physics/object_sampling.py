"""Who appears: what bodies look like, and how they come in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from data_prep.physics.base_scene import Stage
from data_prep.physics.bodies import body
from data_prep.physics.scenes import Colour, Shape, Thing

GRAVITY_M_S2 = 9.81
OFFSTAGE_M = 2.0  # half a body is in the picture there


@dataclass(frozen=True)
class Look:
    """What a body looks like."""

    shape: Shape
    width_px: float  # in a film of 64 pixels
    colour: Colour
    pattern: str | None = None


def draw_look(stage: Stage, shape: Shape | None = None, hue: float | None = None) -> Look:
    """Any body."""
    colour = stage.paint(stage.hue() if hue is None else hue)
    pattern = stage.pattern() if stage.level > 1 else None
    chosen = stage.dice.pick(stage.shapes) if shape is None else shape
    return Look(chosen, stage.dice.uniform(11.2, 13.2), colour, pattern)


def sliding_shapes(stage: Stage) -> tuple[Shape, ...]:
    """Shapes that friction stops."""
    return tuple(shape for shape in stage.shapes if shape != "sphere")


def mover(stage: Stage, name: str, look: Look, side: int, y_m: float, speed_m_s: float, middle_s: float) -> Thing:
    """A body that comes in from a side (-1 left, 1 right) and is in the middle of the stage at a certain time."""
    width = stage.width_m(look.width_px, y_m)
    start_m = side * speed_m_s * middle_s
    velocity = (-side * speed_m_s, 0.0, 0.0)
    return body(stage, name, look.shape, width, (start_m, y_m), look.colour, velocity_m_s=velocity, pattern=look.pattern)


def still(stage: Stage, name: str, look: Look, at_m: tuple[float, float]) -> Thing:
    """A body at rest."""
    return body(stage, name, look.shape, stage.width_m(look.width_px, at_m[1]), at_m, look.colour, pattern=look.pattern)


def arriving(stage: Stage, name: str, look: Look, side: int, rest_m: tuple[float, float], stops_s: float) -> Thing:
    """A body that slides in from a side (no ball: it would roll on) and comes to rest, by friction, at a place and time."""
    start_m = side * OFFSTAGE_M
    slowing = 2 * abs(start_m - rest_m[0]) / stops_s**2
    width = stage.width_m(look.width_px, rest_m[1])
    velocity = (-side * slowing * stops_s, 0.0, 0.0)
    at = (start_m, rest_m[1])
    thing = body(stage, name, look.shape, width, at, look.colour, velocity_m_s=velocity, pattern=look.pattern)
    return replace(thing, friction=slowing / GRAVITY_M_S2)


def pace(stage: Stage) -> tuple[float, float]:
    """A speed in m/s, and the time in s at which the middle is passed, so that coming and going are both seen."""
    tempo = stage.film.tempo
    return stage.dice.uniform(1.7, 1.95) / tempo, stage.film.duration_s * stage.dice.uniform(0.47, 0.53)
