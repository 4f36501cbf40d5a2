"""Structures: fixed walls, tables and ramps that bodies touch."""

from __future__ import annotations

import colorsys

import numpy as np

from data_prep.physics.worlds.builtin.base_scene import BaseScene
from data_prep.physics.worlds.builtin.scenes import Colour, Entity, Texture


def wall(
    base: BaseScene, name: str, x_m: float, y_m: float, height_m: float, colour: Colour, half_depth_m: float = 0.36
) -> Entity:
    """A thin upright wall across the path of bodies that move sideways."""
    size = (0.1, half_depth_m, height_m / 2)
    return Entity(name, "box", size, (x_m, y_m, height_m / 2), colour, is_object=True, texture=_texture(base))


def table(
    base: BaseScene, name: str, from_m: float, to_m: float, y_m: float, height_m: float, colour: Colour, half_depth_m: float
) -> Entity:
    """A block from one x to another. Bodies can rest and slide on top of it."""
    size = (abs(to_m - from_m) / 2, half_depth_m, height_m / 2)
    centre = ((from_m + to_m) / 2, y_m, height_m / 2)
    return Entity(name, "box", size, centre, colour, is_object=True, texture=_texture(base))


def pillar(base: BaseScene, x_m: float, y_m: float, height_m: float, colour: Colour) -> Entity:
    """A block as wide as a body."""
    return table(base, "pillar", x_m - 0.26, x_m + 0.26, y_m, height_m, colour, 0.26)


def tables_and_bridge(base: BaseScene, half_gap_m: float, y_m: float, height_m: float) -> tuple[Entity, Entity, Entity]:
    """Two tables beside a gap around x = 0, and a bridge that fills the gap, all equally high."""
    colour = sample_wood_colour(base)
    left = table(base, "left table", -half_gap_m - 2.6, -half_gap_m, y_m, height_m, colour, 0.3)
    right = table(base, "right table", half_gap_m, half_gap_m + 2.6, y_m, height_m, colour, 0.3)
    return left, right, table(base, "bridge", -half_gap_m, half_gap_m, y_m, height_m, colour, 0.3)


def ramp(base: BaseScene, name: str, lower_side: int, slope_deg: float, y_m: float, colour: Colour) -> Entity:
    """A slanted board around x = 0.

    Its lower end, on the left (-1) or the right (1), meets the floor.
    """
    slope, half_length, half_thickness = np.deg2rad(slope_deg), 0.5, 0.05
    centre = half_length * np.sin(slope) + half_thickness * np.cos(slope)
    half_angle = lower_side * slope / 2  # about y: a positive rotation lowers the right end
    return Entity(
        name=name,
        shape="box",
        size_m=(half_length, 0.4, half_thickness),
        position_m=(0.0, y_m, float(centre)),
        colour_rgb=colour,
        is_object=True,
        quaternion=(float(np.cos(half_angle)), 0.0, float(np.sin(half_angle)), 0.0),
        texture=_texture(base),
    )


def sample_wood_colour(base: BaseScene) -> Colour:
    """A random brown for structures, less saturated than the colour of any body."""
    stream = base.rng.appearance
    return colorsys.hsv_to_rgb(stream.uniform(0.06, 0.11), stream.uniform(0.38, 0.5), stream.uniform(0.5, 0.66))


def _texture(base: BaseScene) -> Texture | None:
    return Texture("marble", 3.0, 0.2) if base.level > 1 else None
