"""A scripted pusher: it walks around the T, comes to a random place of its outline, and pushes in a random direction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.environments.push_t.geometry import (
    AGENT_RADIUS_PX,
    BLOCK_RADIUS_PX,
    MAX_ACTION_PX,
    TARGET_PX,
    Array,
    centre_of_mass,
    distance_from_block,
    rotated,
    to_block,
    to_world,
)

Act = Callable[[Any, dict[str, Any]], Array]

EDGES_PX = (
    ((-60.0, 0.0), (60.0, 0.0), (0.0, -1.0)),
    ((60.0, 0.0), (60.0, 30.0), (1.0, 0.0)),
    ((60.0, 30.0), (15.0, 30.0), (0.0, 1.0)),
    ((15.0, 30.0), (15.0, 120.0), (1.0, 0.0)),
    ((15.0, 120.0), (-15.0, 120.0), (0.0, 1.0)),
    ((-15.0, 120.0), (-15.0, 30.0), (-1.0, 0.0)),
    ((-15.0, 30.0), (-60.0, 30.0), (0.0, 1.0)),
    ((-60.0, 30.0), (-60.0, 0.0), (-1.0, 0.0)),
)
"""The outline of the T in its own coordinates: both ends of an edge, and its normal, which points away."""
_LENGTHS = np.array([np.hypot(b[0] - a[0], b[1] - a[1]) for a, b, _ in EDGES_PX])

GAIN = 2.0  # of an action that leads to a target: a constant action of 1 px moves the agent by 0.4 px per step
PUSH_SPEED_PX = (4.0, 11.0)  # per step
PUSH_STEPS = (7, 20)
TILT = 0.6  # of the direction of a push from the normal, at most, in radians
TURN = 0.08  # of this direction in a step, at most
NOISE_PX = 3.0  # of every step; it is correlated over time
_CORRELATION = 0.8
_STEADY = 0.4  # px per step and px of a constant action
_STAND_OFF_PX = 24.0  # of the centre of the agent from the outline, where a push begins
_ARRIVED_PX = 8.0
_CLEAR_PX = AGENT_RADIUS_PX + 4.0  # of a free way from the outline
_AROUND_PX = BLOCK_RADIUS_PX + AGENT_RADIUS_PX + 6.0  # radius of the way around the T
_ARC = 0.5  # of this way that is aimed at, in radians
_PATIENCE = 30  # steps of an approach
_ARENA_PX = (186.0, 326.0)  # where a push should leave the centre of mass
_TRIES = 40


def towards(place: Array, target: Array) -> Array:
    """The action that leads straight to a target: [..., 2]."""
    return _shortened(GAIN * (target - place))


def _shortened(action: Array) -> Array:
    length = np.linalg.norm(action, axis=-1, keepdims=True)
    return action * np.minimum(1.0, MAX_ACTION_PX / np.maximum(length, 1e-12))


@dataclass
class Push:
    """One approach and one push. The place and the normal are in the coordinates of the T."""

    place: Array
    normal: Array
    tilt: float
    turn: float
    speed_px: float
    steps: int
    patience: int = _PATIENCE
    direction: Array | None = None  # of the push; None while the agent comes near

    def action(self, state: Array) -> Array:
        """The next action, without noise."""
        if self.direction is None:
            waypoint = self.waypoint(state)
            if np.linalg.norm(state[:2] - waypoint) > _ARRIVED_PX:
                self.patience -= 1
                return towards(state[:2], _way_around(state, waypoint))
            self.direction = self.first_direction(state)
        self.steps -= 1
        self.direction = rotated(self.direction, np.float64(self.turn))
        return self.speed_px / _STEADY * self.direction

    @property
    def is_over(self) -> bool:
        return self.steps <= 0 or self.patience <= 0

    def waypoint(self, state: Array) -> Array:
        return to_world(self.place + _STAND_OFF_PX * self.normal, state)

    def first_direction(self, state: Array) -> Array:
        return rotated(-self.normal, state[4] + self.tilt)


def pushes(environment: Any, rng: np.random.Generator) -> Act:
    """Approaches and pushes one after another, with noise."""
    push: Push | None = None
    noise = np.zeros(2)

    def act(observation: Any, info: dict[str, Any]) -> Array:
        nonlocal push, noise
        state = np.asarray(observation, np.float64)
        if push is None or push.is_over:
            push = random_push(state, rng)
        noise = _CORRELATION * noise + rng.normal(0.0, NOISE_PX, 2)
        return _shortened(push.action(state) + noise)

    return act


def random_push(state: Array, rng: np.random.Generator) -> Push:
    """A push that the agent can begin, and that does not bring the T to a wall; any other one after many tries."""
    for _ in range(_TRIES):
        first, last, normal = (np.array(it) for it in EDGES_PX[rng.choice(len(EDGES_PX), p=_LENGTHS / _LENGTHS.sum())])
        place = first + rng.uniform(0.1, 0.9) * (last - first)
        push = Push(
            place,
            normal,
            tilt=rng.uniform(-TILT, TILT),
            turn=rng.uniform(-TURN, TURN),
            speed_px=rng.uniform(*PUSH_SPEED_PX),
            steps=int(rng.integers(*PUSH_STEPS)),
        )
        if _is_possible(push, state):
            break
    return push


def _is_possible(push: Push, state: Array) -> bool:
    if distance_from_block(push.place + _STAND_OFF_PX * push.normal) < _STAND_OFF_PX - 3.0:  # in an inner corner
        return False
    waypoint, centre = push.waypoint(state), centre_of_mass(state)
    if (waypoint < TARGET_PX[0]).any() or (waypoint > TARGET_PX[1]).any():
        return False
    end = centre + push.speed_px * push.steps * push.first_direction(state)
    middle = np.full(2, sum(_ARENA_PX) / 2)
    is_within = bool(((end > _ARENA_PX[0]) & (end < _ARENA_PX[1])).all())
    return is_within or bool(np.abs(end - middle).max() < np.abs(centre - middle).max())


def _way_around(state: Array, target: Array) -> Array:
    """The next place on a way to a target that does not touch the T: straight, else on a circle around it."""
    agent = state[:2]
    line = agent + np.linspace(0.0, 1.0, 12)[:, None] * (target - agent)
    # a way that begins at the T, after a push, is free where it leads away from it
    if (distance_from_block(to_block(line[3:], state)) > _CLEAR_PX).all():
        return target
    centre = centre_of_mass(state)
    outward = agent - centre
    angle = np.arctan2(outward[1], outward[0])
    if np.linalg.norm(outward) > _AROUND_PX - 10.0:
        aim = np.arctan2(target[1] - centre[1], target[0] - centre[0])
        angle = angle + np.clip((aim - angle + np.pi) % (2 * np.pi) - np.pi, -_ARC, _ARC)
    place: Array = np.clip(centre + _AROUND_PX * np.array([np.cos(angle), np.sin(angle)]), *TARGET_PX)
    return place
