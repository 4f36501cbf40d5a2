"""Policies of Two Rooms. Functions of arrays [..., 2], so that many dots walk at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.environments.two_rooms.geometry import BORDER_PX, CLEARANCE_PX, MAX_STEP_PX, WALL_HALF_PX, Array

STEP_PX = (1.0, 0.4, 0.2, 1.8)  # mean, standard deviation and limits of the steps of a random walk
TURN_KAPPA = 5.0  # concentration of the turns of a random walk
DOOR_CLEARANCE_PX = 2.0  # of the two points before and behind the door
CROSSING_FRACTION = 0.35  # of the episodes of the training data of EB-JEPA and PLDM
LONGEST_WALK = 45  # steps until a walk for planning is given up
_AT_DOOR_PX = 1.0
_AT_WALL_PX = 1.5  # from the surface of the wall

Act = Callable[[Any, dict[str, Any]], Array]


def straight_to(position: Array, target: Array) -> Array:
    """The action that leads straight to a target, at most MAX_STEP_PX long: [..., 2]."""
    difference = target - position
    length = np.linalg.norm(difference, axis=-1, keepdims=True)
    return difference * np.minimum(1.0, MAX_STEP_PX / np.maximum(length, 1e-12))


def through_the_door(position: Array, goal: Array, wall_x: Array, door_y: Array) -> Array:
    """The action of a walk to the goal: in front of the door, through it, and straight to the goal: [..., 2]."""
    side = np.where(goal[..., 0] > wall_x, 1.0, -1.0)  # where the goal lies
    from_wall = (position[..., 0] - wall_x) * side
    reach = WALL_HALF_PX + DOOR_CLEARANCE_PX
    at_door = (np.abs(position[..., 1] - door_y) <= _AT_DOOR_PX) & (from_wall >= -reach - _AT_DOOR_PX)
    in_front = np.stack(np.broadcast_arrays(wall_x - side * reach, door_y), -1)
    behind = np.stack(np.broadcast_arrays(wall_x + side * reach, door_y), -1)
    waypoint = np.where(at_door[..., None], behind, in_front)
    is_across = from_wall >= WALL_HALF_PX
    return straight_to(position, np.where(is_across[..., None], goal, waypoint))


def training_data(environment: Any, rng: np.random.Generator) -> Act:
    """Episodes as in the data of EB-JEPA and PLDM: some cross the door to the goal, the others are random walks."""
    return (scripted if rng.random() < CROSSING_FRACTION else random_walk)(environment, rng)


@dataclass(frozen=True)
class Walks:
    """How a dot walks from one random place to the next, in an episode for planning."""

    speed_px: tuple[float, float]  # range of the length of a step
    turn_kappa: float  # concentration of the angles by which steps deviate
    straight_fraction: float  # of the walks that ignore the wall
    steps_at_wall: int  # after which such a walk takes the door


DIRECT = Walks((2.2, MAX_STEP_PX), 40.0, 0.3, 3)  # the ways are nearly as short as they can be, also from the wall
EXPLORING = Walks((0.3, MAX_STEP_PX), 2.0, 0.7, LONGEST_WALK)  # all kinds of steps, many of which the wall stops
EXPLORING_FRACTION = 0.3  # of the episodes for planning


def training_data_for_planning(environment: Any, rng: np.random.Generator) -> Act:
    """Episodes of direct walks, from which a distance in steps is learned, and of exploring walks, for the dynamics.

    A planner needs four things that the published training data hold little of: pairs of places whose way is much longer
    than the straight line, steps as long as those of plans, steps that the wall stops, and short ways from places at the wall.
    """
    return _walks(EXPLORING if rng.random() < EXPLORING_FRACTION else DIRECT, rng)


def _walks(walks: Walks, rng: np.random.Generator) -> Act:
    target, is_straight, left, at_wall = np.zeros(2), False, 0, 0

    def act(observation: Any, info: dict[str, Any]) -> Array:
        nonlocal target, is_straight, left, at_wall
        x, y, wall_x, door_y = observation
        position = np.array([x, y])
        if left <= 0 or np.linalg.norm(target - position) < 1:
            target, is_straight, left = _place(wall_x, rng), rng.random() < walks.straight_fraction, LONGEST_WALK
            at_wall = 0
        left -= 1
        at_wall += abs(x - wall_x) < WALL_HALF_PX + _AT_WALL_PX
        if is_straight and at_wall > walks.steps_at_wall:
            is_straight, left = False, LONGEST_WALK
        action = straight_to(position, target) if is_straight else through_the_door(position, target, wall_x, door_y)
        turned = _turned(action, rng.vonmises(0.0, walks.turn_kappa))
        return turned * min(1.0, rng.uniform(*walks.speed_px) / max(float(np.linalg.norm(action)), 1e-12))

    return act


def _place(wall_x: float, rng: np.random.Generator) -> Array:
    """A random place that touches neither wall nor border: [2]."""
    while True:
        place = rng.uniform(BORDER_PX[0] + CLEARANCE_PX, BORDER_PX[1] - CLEARANCE_PX, 2)
        if abs(place[0] - wall_x) >= WALL_HALF_PX + CLEARANCE_PX:
            return np.asarray(place)


def _turned(action: Array, angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([cos * action[0] - sin * action[1], sin * action[0] + cos * action[1]])


def random_walk(environment: Any, rng: np.random.Generator) -> Act:
    """Steps with truncated normal length, whose direction turns by von Mises angles."""
    direction = rng.uniform(-np.pi, np.pi)

    def act(observation: Any, info: dict[str, Any]) -> Array:
        nonlocal direction
        direction += rng.vonmises(0.0, TURN_KAPPA)
        return _step_length(rng) * np.array([np.cos(direction), np.sin(direction)])

    return act


def scripted(environment: Any, rng: np.random.Generator) -> Act:
    """A walk through the door to the goal, with steps as long as those of the random walk. It stays at the goal."""

    def act(observation: Any, info: dict[str, Any]) -> Array:
        x, y, wall_x, door_y = observation
        action = through_the_door(np.array([x, y]), np.asarray(info["goal"]), wall_x, door_y)
        length = float(np.linalg.norm(action))
        return action * min(1.0, _step_length(rng) / max(length, 1e-12))

    return act


def _step_length(rng: np.random.Generator) -> float:
    mean, std, low, high = STEP_PX
    while not low <= (length := rng.normal(mean, std)) <= high:
        pass
    return float(length)
