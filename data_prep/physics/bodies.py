"""What is put on a stage: bodies that move, occluders that stand, screens that rise and fall, walls, ramps, tables.

Films to learn from and films to be tested on are furnished with these same props, at the same sizes and places.
"""

from __future__ import annotations

import colorsys

import numpy as np

from data_prep.physics.base_scene import SCREEN_Y_M, Stage
from data_prep.physics.scenes import Colour, Shape, Texture, Thing, Vec3

SLIPPERY = 0.003
GRIP = 0.8
LYING = (0.7071067811865476, 0.0, 0.7071067811865476, 0.0)  # along x: on its end a capsule would topple
HEIGHT_OF = {"sphere": 1.0, "box": 0.9, "cylinder": 1.0, "capsule": 0.64, "ellipsoid": 0.72}
"""Height of a body over its width."""


def body(
    stage: Stage,
    name: str,
    shape: Shape,
    width_m: float,
    at_m: tuple[float, float],
    colour: Colour,
    *,
    on_m: float = 0.0,
    velocity_m_s: Vec3 = (0.0, 0.0, 0.0),
    rolls: bool = True,
    friction: float | None = None,
    bouncy: bool = False,
    pattern: str | None = None,
) -> Thing:
    """A free body that rests at (x, y) on something `on_m` high. Balls roll as fast as they move; the rest slides."""
    half = width_m / 2
    round_ = shape == "sphere"
    spin = (0.0, 0.0, 0.0)
    if round_ and rolls:
        spin = (-velocity_m_s[1] / half, velocity_m_s[0] / half, 0.0)
    texture = Texture("octants", 1.0, 0.5) if round_ else None
    if not round_ and (pattern or stage.level > 1):
        texture = Texture(pattern or stage.pattern(), 2.0 / width_m, 0.35)
    return Thing(
        name=name,
        shape=shape,
        size_m=_half_sizes(shape, half),
        position_m=(at_m[0], at_m[1], on_m + HEIGHT_OF[shape] * half + 1e-3),
        colour_rgb=colour,
        motion="free",
        object=True,
        velocity_m_s=velocity_m_s,
        spin_rad_s=spin,
        quaternion=LYING if shape == "capsule" else (1.0, 0.0, 0.0, 0.0),
        texture=texture,
        friction=(GRIP if round_ else SLIPPERY) if friction is None else friction,
        bouncy=bouncy,
    )


def occluder(
    stage: Stage, x_m: float = 0.0, half_width_m: float = 0.66, half_height_m: float = 0.56, name: str = "occluder"
) -> Thing:
    """A panel that stands still; among the held-out kinds it is an oval disc."""
    place = (x_m, SCREEN_Y_M, half_height_m)
    colour = colorsys.hsv_to_rgb(stage.screen_hue, 0.3, 0.8)
    if stage.unseen:
        texture = Texture("dots", 4.0, 0.2)
        size = (
            1.25 * half_width_m,
            0.06,
            1.3 * half_height_m,
        )  # reaches into the floor; as wide as the panel where bodies pass
        place = (x_m, SCREEN_Y_M, 0.5 * half_height_m)
        return Thing(name, "ellipsoid", size, place, colour, occluder=True, texture=texture)
    size = (half_width_m, 0.05, half_height_m)
    return Thing(name, "box", size, place, colour, occluder=True, texture=Texture("stripes", 3.0, 0.14))


def screen(
    stage: Stage,
    up_s: float,
    down_s: float | None = None,
    *,
    x_m: float = 0.0,
    half_width_m: float = 0.75,
    half_height_m: float = 0.6,
    takes_s: float = 0.3,
    name: str = "screen",
) -> Thing:
    """A panel that rises out of the floor, is up from `up_s` on, and sinks again from `down_s` on, if ever."""
    up = (x_m, SCREEN_Y_M, half_height_m)
    down = (x_m, SCREEN_Y_M, -half_height_m - 0.02)
    path = [(up_s - takes_s, down), (up_s, up)]
    if down_s is not None:
        path += [(down_s, up), (down_s + takes_s, down)]
    pattern = "rings" if stage.unseen else "stripes"
    return Thing(
        name=name,
        shape="box",
        size_m=(half_width_m, 0.05, half_height_m),
        position_m=down,
        colour_rgb=colorsys.hsv_to_rgb(stage.screen_hue, 0.34, 0.8),
        motion="scripted",
        occluder=True,
        texture=Texture(pattern, 3.0, 0.16),
        path=tuple(path),
    )


def covered(stage: Stage) -> Thing:
    """An occluder in the middle, as wide as two bodies at most."""
    return occluder(stage, stage.dice.uniform(-0.06, 0.06), stage.dice.uniform(0.64, 0.7), stage.dice.uniform(0.54, 0.6))


def curtain(stage: Stage, x_m: float = 0.0, half_width_m: float = 0.6, name: str = "screen") -> Thing:
    """A screen that covers the middle third of the film and leaves time to see what is there before and after."""
    duration = stage.film.duration_s
    return screen(
        stage, 0.3 * duration, 0.68 * duration, x_m=x_m, half_width_m=half_width_m, takes_s=0.14 * duration, name=name
    )


def lowered(stage: Stage) -> Thing:
    """A screen that stands from the beginning and sinks towards the end."""
    duration = stage.film.duration_s
    down_s = stage.dice.uniform(0.68, 0.74) * duration
    return screen(stage, -1.0, down_s, half_width_m=stage.dice.uniform(0.62, 0.7), takes_s=0.14 * duration)


def plate(stage: Stage, name: str, x_m: float, y_m: float, height_m: float, colour: Colour, half_depth_m: float = 0.4) -> Thing:
    """A thin upright wall across the path of things that move sideways."""
    size = (0.1, half_depth_m, height_m / 2)
    return Thing(name, "box", size, (x_m, y_m, height_m / 2), colour, object=True, texture=_furniture(stage))


def table(
    stage: Stage, name: str, from_m: float, to_m: float, y_m: float, height_m: float, colour: Colour, half_depth_m: float = 0.4
) -> Thing:
    """A block from one x to another whose top can be stood upon."""
    size = (abs(to_m - from_m) / 2, half_depth_m, height_m / 2)
    place = ((from_m + to_m) / 2, y_m, height_m / 2)
    return Thing(name, "box", size, place, colour, object=True, texture=_furniture(stage))


def ramp(
    stage: Stage, name: str, falls_to: int, slope_deg: float, y_m: float, colour: Colour, half_length_m: float = 0.5
) -> Thing:
    """A slanted board around x = 0 whose lower end, to the left (-1) or right (1), meets the floor."""
    slope = np.deg2rad(slope_deg)
    thick = 0.05
    centre = half_length_m * np.sin(slope) + thick * np.cos(slope)
    turn = falls_to * slope / 2  # about y: positive lowers the right end
    return Thing(
        name=name,
        shape="box",
        size_m=(half_length_m, 0.4, thick),
        position_m=(0.0, y_m, float(centre)),
        colour_rgb=colour,
        object=True,
        quaternion=(float(np.cos(turn)), 0.0, float(np.sin(turn)), 0.0),
        texture=_furniture(stage),
    )


def wood(stage: Stage) -> Colour:
    """The colour of furniture: brown, duller than anything that moves."""
    looks = stage.dice.looks
    return colorsys.hsv_to_rgb(looks.uniform(0.06, 0.11), looks.uniform(0.38, 0.5), looks.uniform(0.5, 0.66))


def _furniture(stage: Stage) -> Texture | None:
    return Texture("marble", 3.0, 0.2) if stage.level > 1 else None


def _half_sizes(shape: Shape, half: float) -> tuple[float, ...]:
    if shape == "sphere":
        return (half,)
    if shape == "box":
        return (half * 0.9, half * 0.9, half * 0.9)
    if shape == "cylinder":
        return (half, half)
    if shape == "capsule":
        return (half * 0.64, half * 0.36)  # radius, half the straight part
    return (half, half, half * 0.72)
