"""Random appearances and motions of bodies."""

from __future__ import annotations

from dataclasses import replace

from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.bodies import Appearance, body
from data_prep.physics.worlds.builtin.scenes import Entity, Shape

GRAVITY_M_S2 = 9.81
LANES_M = (-0.25, 0.6, 1.45)
PICTURE_EDGE_M = 2.0  # a body at this distance from the middle is half in the picture


def sample_appearance(base: BaseScene, shape: Shape | None = None, hue: float | None = None) -> Appearance:
    """A random appearance. Shape and hue are random too, unless they are given."""
    colour = base.sample_colour(base.sample_hue() if hue is None else hue)
    pattern = base.sample_pattern() if base.level > 1 else None
    chosen = base.rng.choice(base.shapes) if shape is None else shape
    return Appearance(chosen, base.rng.uniform(11.2, 13.2), colour, pattern)


def sliding_shapes(base: BaseScene) -> tuple[Shape, ...]:
    """The shapes that friction stops: all but the sphere, which rolls on."""
    return tuple(shape for shape in base.shapes if shape != "sphere")


def sample_speed_and_time(base: BaseScene) -> tuple[float, float]:
    """A speed in m/s, and the time in s at which a body passes the middle.

    It is seen before and after that.
    """
    return base.rng.uniform(1.7, 1.95) / base.video.slowdown, base.video.duration_s * base.rng.uniform(0.47, 0.53)


def passing_body(
    base: BaseScene, name: str, appearance: Appearance, side: int, y_m: float, speed_m_s: float, middle_s: float
) -> Entity:
    """A body that comes from a side (-1 left, 1 right) and is at x = 0 at time `middle_s`."""
    start = (side * speed_m_s * middle_s, y_m)
    return body(base, name, appearance, start, velocity_m_s=(-side * speed_m_s, 0.0, 0.0))


def stopping_body(
    base: BaseScene, name: str, appearance: Appearance, side: int, rest_m: tuple[float, float], stop_s: float
) -> Entity:
    """A body that slides in from a side and is stopped by friction. Not for spheres.

    It stops at (x, y) = `rest_m` and at time `stop_s`.
    """
    start_m = side * PICTURE_EDGE_M
    deceleration = 2 * abs(start_m - rest_m[0]) / stop_s**2
    velocity = (-side * deceleration * stop_s, 0.0, 0.0)
    friction = deceleration / GRAVITY_M_S2
    return body(base, name, appearance, (start_m, rest_m[1]), velocity_m_s=velocity, friction=friction)


def frictionless_body(
    base: BaseScene, name: str, appearance: Appearance, side: int, start_m: tuple[float, float], speed_m_s: float
) -> Entity:
    """A body from a side that slides without rolling or slowing down, and bounces off walls."""
    velocity = (-side * speed_m_s, 0.0, 0.0)
    return body(base, name, appearance, start_m, velocity_m_s=velocity, rolls=False, elastic=True, friction=1e-4)


def colliding_discs(
    base: BaseScene,
    appearances: tuple[Appearance, Appearance],
    width_m: float,
    rest_m: tuple[float, float],
    start_m: tuple[float, float],
    velocity_x_m_s: float,
) -> tuple[Entity, Entity]:
    """A disc at rest and one that moves towards it. They are equally heavy and bounce."""
    velocity = (velocity_x_m_s, 0.0, 0.0)
    struck = body(base, "struck", appearances[0], rest_m, width_m=width_m, elastic=True)
    striker = body(base, "striker", appearances[1], start_m, width_m=width_m, velocity_m_s=velocity, elastic=True)
    return struck, striker


def passing_bodies(base: BaseScene, count: int, *, centred: bool) -> list[Entity]:
    """Bodies that cross, each in its own lane.

    With `centred` they are in the middle at about half of the video.
    """
    rng, video = base.rng, base.video
    lanes = [rng.uniform(-0.25, 0.6)] if count == 1 else [LANES_M[i] for i in rng.geometry.permutation(len(LANES_M))[:count]]
    bodies: list[Entity] = []
    hues: list[float] = []
    for number, lane in enumerate(lanes):
        hues.append(base.sample_hue(*hues, min_gap=0.12))
        middle_s = video.duration_s * (rng.uniform(0.46, 0.54) if centred else rng.uniform(0.2, 0.8))
        speed = rng.uniform(1.4, 2.4) / video.slowdown
        appearance = sample_appearance(base, hue=hues[-1])
        bodies.append(passing_body(base, f"passer {number}", appearance, rng.side(), lane, speed, middle_s))
    return bodies


def falling_body(base: BaseScene, name: str, at_m: tuple[float, float], *, ball: bool = False) -> Entity:
    """A body that is thrown up gently above the picture and then falls into it."""
    rng, appearance, duration = base.rng, sample_appearance(base), base.video.duration_s
    if ball:
        appearance = replace(appearance, shape="sphere")
    rise_m_s = rng.uniform(0.0, 1.2) + (1.6 * (duration - 2) if duration > 2 else 0.0)
    bottom_m = rng.uniform(2.3, 2.5) - base.width_m(appearance.width_px, at_m[1]) / 2
    return body(base, name, appearance, at_m, on_m=bottom_m, velocity_m_s=(0.0, 0.0, rise_m_s), friction=0.8, rolls=False)
