"""Pictures of the hidden object, drawn with the shapes and the backgrounds of the flat world.

From back to front: background, object, hand, screens. What a fully covered pixel hides changes no
bit of a picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.hidden_object.geometry import (
    HAND,
    LEFT,
    OBJECT,
    OBJECT_RADIUS_PX,
    RIGHT,
    SCREEN_HALF_PX,
    SIZE_PX,
    Array,
)
from data_prep.physics.worlds.flat.backgrounds import FLOOR_FRACTION, draw_background
from data_prep.physics.worlds.flat.scenes import Background, BodyShape, Colour, Shape
from data_prep.physics.worlds.flat.shapes import BELOW, signed_distance

Floats = NDArray[np.float32]
FLOOR_Y_PX = SIZE_PX * (1 - FLOOR_FRACTION)
FLOOR_RGB: Colour = (0.5, 0.46, 0.42)
SCREEN_HEIGHT_PX, SCREEN_FOOT_PX = 22.0, 3.0  # above and below the floor's edge
CLAW_PX = 2 * OBJECT_RADIUS_PX + 1.5  # height of the bar of the hand above the floor; the object fits under it
ROD_HALF_PX, BAR_HALF_PX, FINGER_PX = 1.0, 4.5, 4.0


@dataclass(frozen=True)
class Look:
    """What may differ in the picture without a change of the motion. Colours are fractions of red, green and blue."""

    object: Colour = (0.9, 0.2, 0.1)
    hand: Colour = (0.1, 0.15, 0.55)
    screen: Colour = (0.2, 0.5, 0.35)
    background: Colour = (0.86, 0.86, 0.82)
    form: BodyShape = "disc"  # of the object
    radius_px: float = OBJECT_RADIUS_PX  # half the width of the object
    screen_half_px: float = SCREEN_HALF_PX


USUAL = Look()


def draw(state: Array, look: Look = USUAL) -> NDArray[np.uint8]:
    """The picture of a state [6]: [64, 64, 3]."""
    picture = _background(look.background)
    for colour, coverage in _layers(state, look):
        weight = coverage[..., None]
        picture = picture * (1 - weight) + np.asarray(colour, np.float32) * weight
    return (np.clip(picture, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)


def visible_px(state: Array, look: Look = USUAL) -> int:
    """Number of pixels in which something of the object is seen."""
    own, *others = (coverage for _, coverage in _layers(state, look))
    for coverage in others:
        own = own * (1 - coverage)
    return int(np.count_nonzero(own))


def _layers(state: Array, look: Look) -> list[tuple[Colour, Floats]]:
    """Colour and coverage [64, 64] of the object, the hand and both screens, from back to front."""
    hand, thing = float(state[HAND]), float(state[OBJECT])
    radius = look.radius_px
    body = _cover(look.form, thing, FLOOR_Y_PX - BELOW[look.form] * radius, radius, radius)
    bar_y = FLOOR_Y_PX - CLAW_PX
    rod = _cover("box", hand, bar_y / 2, ROD_HALF_PX, bar_y / 2)
    bar = _cover("box", hand, bar_y, BAR_HALF_PX, 1.0)
    finger_y, at = bar_y + FINGER_PX / 2, BAR_HALF_PX - 0.75
    fingers = [_cover("box", hand + side * at, finger_y, 0.75, FINGER_PX / 2) for side in (-1, 1)]
    claw = functools.reduce(np.maximum, [rod, bar, *fingers])
    half_height = (SCREEN_HEIGHT_PX + SCREEN_FOOT_PX) / 2
    screen_y = FLOOR_Y_PX + SCREEN_FOOT_PX - half_height
    screens = [_cover("box", float(state[index]), screen_y, look.screen_half_px, half_height) for index in (LEFT, RIGHT)]
    return [(look.object, body), (look.hand, claw), *((look.screen, screen) for screen in screens)]


def _cover(shape: Shape, x_px: float, y_px: float, half_width_px: float, half_height_px: float) -> Floats:
    """How much of each pixel a shape covers, 0 to 1: [64, 64]."""
    centres = np.arange(SIZE_PX) + 0.5
    x, z = (centres - x_px).astype(np.float32)[None, :], (y_px - centres).astype(np.float32)[:, None]
    distance = signed_distance(shape, x, z, (half_width_px, half_height_px))
    covered: Any = np.clip(np.float32(0.5) - distance, 0, 1)
    return np.asarray(covered, np.float32)


@functools.lru_cache(16)
def _background(colour: Colour) -> Floats:
    """The picture without hand, object and screens."""
    return draw_background(Background("plain", colour, colour, FLOOR_RGB, 0, 0), SIZE_PX)
