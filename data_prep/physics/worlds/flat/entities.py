"""Occluders, which stand still, screens, which move in front of the scene, and structures that bodies touch."""

from __future__ import annotations

import colorsys
from typing import Literal

import numpy as np

from data_prep.physics.motion import Path, Segment, resting
from data_prep.physics.worlds.flat.base_scene import OCCLUDERS, UNSEEN_OCCLUDERS, FlatBase
from data_prep.physics.worlds.flat.rasteriser import PICTURE_M, TOP_M
from data_prep.physics.worlds.flat.scenes import Colour, FlatEntity, OccluderShape, Pattern

ScreenSide = Literal["below", "above"]
SCREEN_SIDES: tuple[ScreenSide, ...] = ("below", "above")
FOOT_M = 0.16  # occluders reach this far below the floor's surface
WALL_HALF_WIDTH_M = 0.1
RAMP_HALF_LENGTH_M = 0.55
SHELF_HALF_THICKNESS_M = 0.05
GROWTH: dict[OccluderShape, tuple[float, float, float]] = {
    "box": (1.0, 1.0, 0.0),
    "rounded": (1.12, 1.15, 0.2),
    "ellipse": (1.25, 1.25, 0.5),
    "trapezoid": (1.2, 1.0, 0.0),
    "house": (1.05, 1.3, 0.0),
    "hill": (1.4, 1.25, 0.3),
}
"""How much wider and higher each shape is than a box that hides as much, and how much farther down it reaches, in metres."""


def occluder(base: FlatBase, half_width_m: float = 0.78, height_m: float = 1.2, x_m: float = 0.0) -> FlatEntity:
    """Something that stands in front of the middle, in one of several forms."""
    shape = base.rng.choice(UNSEEN_OCCLUDERS if base.unseen else OCCLUDERS)
    wider, higher, lower_m = GROWTH[shape]
    bottom_m, top_m = -FOOT_M - lower_m, height_m * higher
    half = (half_width_m * wider, (top_m - bottom_m) / 2)
    return _hiding(base, "occluder", shape, half, resting(x_m, (top_m + bottom_m) / 2))


def central_occluder(base: FlatBase, height_m: float | None = None) -> FlatEntity:
    """An occluder near the middle, about as wide as two bodies."""
    height_m = base.rng.uniform(1.1, 1.3) if height_m is None else height_m
    return occluder(base, base.rng.uniform(0.75, 0.82), height_m, base.rng.uniform(-0.05, 0.05))


def screen(
    base: FlatBase,
    shown_s: float,
    gone_s: float | None = None,
    *,
    half_width_m: float = 0.9,
    height_m: float = 1.35,
    move_s: float = 0.3,
    comes_from: ScreenSide | None = None,
) -> FlatEntity:
    """A panel that comes from below or from above and covers the middle from `shown_s` on.

    It leaves at `gone_s`, unless that is None. It takes `move_s` to come and to leave. A negative
    `shown_s` means that it is there from the first frame.
    """
    half = (half_width_m, (height_m + FOOT_M) / 2)
    shown = (0.0, (height_m - FOOT_M) / 2)
    below = (comes_from or base.rng.choice(SCREEN_SIDES)) == "below"
    away = (0.0, TOP_M - PICTURE_M - half[1] - 0.05 if below else TOP_M + half[1] + 0.05)
    speed = (shown[1] - away[1]) / move_s
    path: Path = (Segment(0.0, shown),)
    if shown_s > 0:
        path = (
            Segment(0.0, away),
            Segment(shown_s - move_s, away, (0.0, speed)),
            Segment(shown_s, shown),
        )
    if gone_s is not None:
        path = (*path, Segment(gone_s, shown, (0.0, -speed)), Segment(gone_s + move_s, away))
    return _hiding(base, "screen", "box", half, path)


def leaving_screen(base: FlatBase) -> FlatEntity:
    """A screen that is there from the first frame and leaves towards the end."""
    duration = base.video.duration_s
    gone_s = base.rng.uniform(0.68, 0.74) * duration
    return screen(base, -1.0, gone_s, half_width_m=base.rng.uniform(0.75, 0.82), move_s=0.14 * duration)


def _hiding(base: FlatBase, name: str, shape: OccluderShape, half: tuple[float, float], path: Path) -> FlatEntity:
    looks = base.rng.stream(name)
    colour = colorsys.hsv_to_rgb(base.occluder_hue, looks.uniform(0.25, 0.5), looks.uniform(0.6, 0.9))
    patterns: tuple[Pattern, ...] = ("rings",) if base.unseen else ("plain", "stripes", "bands")
    pattern = patterns[int(looks.integers(len(patterns)))]
    return FlatEntity(name, shape, half, colour, path, pattern, 0.15, is_object=False, is_occluder=True)


def wall(base: FlatBase, x_m: float, height_m: float) -> FlatEntity:
    """A thin upright wall."""
    half = (WALL_HALF_WIDTH_M, height_m / 2)
    return _structure("wall", "box", half, sample_wood_colour(base), resting(x_m, height_m / 2))


def shelf(base: FlatBase, height_m: float) -> FlatEntity:
    """A thin board across the whole picture, whose upper side is `height_m` high."""
    half = (PICTURE_M / 2 + 0.2, SHELF_HALF_THICKNESS_M)
    return _structure("shelf", "box", half, sample_wood_colour(base), resting(0.0, height_m - SHELF_HALF_THICKNESS_M))


def ramp(base: FlatBase, name: str, lower_side: int, slope_rad: float, colour: Colour) -> FlatEntity:
    """A wedge around x = 0 that falls to the left (-1) or to the right (1)."""
    half = (RAMP_HALF_LENGTH_M, RAMP_HALF_LENGTH_M * float(np.tan(slope_rad)))
    return _structure(name, "ramp", half, colour, resting(0.0, half[1]), mirrored=lower_side < 0)


def pillar(base: FlatBase, x_m: float, height_m: float) -> FlatEntity:
    """A block about as wide as a body."""
    half = (0.32, height_m / 2)
    return _structure("pillar", "box", half, sample_wood_colour(base), resting(x_m, height_m / 2))


def _structure(
    name: str, shape: Literal["box", "ramp"], half: tuple[float, float], colour: Colour, path: Path, *, mirrored: bool = False
) -> FlatEntity:
    return FlatEntity(name, shape, half, colour, path, is_fixed=True, mirrored=mirrored)


def sample_wood_colour(base: FlatBase) -> Colour:
    """A random brown for structures, less saturated than the colour of any body."""
    stream = base.rng.appearance
    return colorsys.hsv_to_rgb(stream.uniform(0.06, 0.11), stream.uniform(0.38, 0.5), stream.uniform(0.4, 0.6))
