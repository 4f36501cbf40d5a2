"""Pictures of Push-T. Shapes and colours are those of gym-pusht; edges are smooth, so that small motion is seen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.environments.push_t.geometry import (
    AGENT_RADIUS_PX,
    ARENA_PX,
    WALL_PX,
    WALL_THICKNESS_PX,
    Array,
    distance_from_boxes,
)

Colour = tuple[int, int, int]
Picture = NDArray[Any]
SIZE_PX = 64


@dataclass(frozen=True)
class Look:
    """Colours of the picture, RGB. goal: of a T at the pose that gym-pusht asks for; None: it is not drawn."""

    agent: Colour = (65, 105, 225)
    block: Colour = (119, 136, 153)
    background: Colour = (255, 255, 255)
    wall: Colour = (211, 211, 211)
    goal: Colour | None = None


USUAL_LOOK = Look()
GOAL_COLOUR: Colour = (144, 238, 144)
GOAL_STATE = (0.0, 0.0, 256.0, 256.0, np.pi / 4, 0.0, 0.0)  # the pose of the T that gym-pusht asks for


def draw(states: Array, size_px: int = SIZE_PX, look: Look = USUAL_LOOK) -> NDArray[np.uint8]:
    """Pictures of states [..., S]: [..., size_px, size_px, 3]. A pixel is covered as far as its centre lies inside a shape."""
    scale = ARENA_PX / size_px  # px of the arena per pixel
    single = np.asarray(states, np.float32)[..., None, None, :]
    axis = ((np.arange(size_px) + 0.5) * scale).astype(np.float32)
    x, y = axis - single[..., 0], axis[:, None] - single[..., 1]  # from the agent
    from_agent = np.sqrt(x * x + y * y) - np.float32(AGENT_RADIUS_PX)
    picture = np.broadcast_to(_scene(size_px, look), (*states.shape[:-1], size_px, size_px, 3))
    for distance, colour in ((_from_block(axis, single), look.block), (from_agent, look.agent)):
        picture = _covered(picture, distance, scale, colour)
    return np.rint(picture).astype(np.uint8)


@lru_cache(maxsize=8)
def _scene(size_px: int, look: Look) -> Picture:
    """What does not move: [size_px, size_px, 3]."""
    scale = ARENA_PX / size_px
    axis = ((np.arange(size_px) + 0.5) * scale).astype(np.float32)
    from_border = np.maximum(WALL_PX[0] - axis, axis - WALL_PX[1])  # 0 at the outer edge of a wall, below 0 within
    from_border = np.maximum(from_border, from_border[:, None])
    picture: Picture = np.full((size_px, size_px, 3), look.background, np.float32)
    picture = _covered(picture, np.maximum(from_border, -from_border - WALL_THICKNESS_PX), scale, look.wall)
    if look.goal is not None:
        goal = np.asarray(GOAL_STATE, np.float32)[None, None]
        picture = _covered(picture, _from_block(axis, goal), scale, look.goal)
    return picture


def _from_block(axis: Picture, single: Picture) -> Picture:
    """Distance of all pixels from the T of states [..., 1, 1, S], below 0 inside: [..., H, W]."""
    x, y = axis - single[..., 2], axis[:, None] - single[..., 3]
    cos, sin = np.cos(single[..., 4]), np.sin(single[..., 4])
    return distance_from_boxes(cos * x + sin * y, cos * y - sin * x)


def _covered(picture: Picture, distance: Picture, scale: float, colour: Colour) -> Picture:
    """The picture with a shape drawn over it, whose distance from each pixel is given."""
    share = np.clip(0.5 - distance / np.float32(scale), 0, 1)[..., None]
    return picture + share * (np.asarray(colour, np.float32) - picture)
